//! A gateway node: its threads started, its handle for the rest of the process, its drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use ringway_engine::ids::Uid;
use ringway_engine::limits::{MAILBOX_MAX, SHARDS_MAX};
use ringway_engine::packet::schema::Sent;
use ringway_engine::snowflake::SHARD_BITS;
use ringway_peer::{Ask, PeerHandler, Reply, Word};
use ringway_ring::listener::bind_all;
use ringway_ring::mailbox::{self, Inbox, Sender};
use ringway_ring::runtime::{self, ShardHandle, ShardThread, StartError};
use ringway_ring::tls::{TlsConfig, TlsError};
use ringway_store::ports::{Gateways, NodeRun, ServerMessage, Signal, SubmitError};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::config::{GatewayConfig, LiveConfig};
use crate::live::Live;
use crate::mail::{ToShard, ToUplink};
use crate::metrics::{self, ShardMetrics, UplinkMetrics};
use crate::shard::{self, ShardParts};
use crate::uplink::{self, Ports, Request, UplinkParts};

/// Connections that the kernel keeps for each shard until they are accepted.
const BACKLOG: i32 = 4_096;
/// Requests of API and daemon that wait for the uplink; they wait with their senders beyond that.
const REQUESTS_MAX: usize = 1_024;
/// Words of other nodes that wait for the uplink; past it they are dropped, and the devices read what is missing.
const WORDS_MAX: usize = 16_384;

/// Why a gateway did not start.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// More shards than one node holds, or none.
    #[error("shards must be between 1 and {SHARDS_MAX}, not {0}")]
    Shards(usize),
    /// A shard's thread or ring was refused.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Certificate or key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The uplink's thread was refused.
    #[error("cannot start the uplink: {0}")]
    Uplink(std::io::Error),
}

/// A running node. Dropping it does not stop it: call [`Gateway::drain`].
pub struct Gateway {
    address: SocketAddr,
    echo: Option<SocketAddr>,
    handle: Arc<Handle>,
    tls: Option<(std::path::PathBuf, std::path::PathBuf)>,
    shards: Vec<ShardHandle<()>>,
    uplink: std::thread::JoinHandle<()>,
}

/// The gateway as the API and the daemon see it.
struct Handle {
    requests: mpsc::Sender<Request>,
    words: mpsc::Sender<Word>,
    live: Arc<Live>,
    shards: Vec<Arc<ShardMetrics>>,
    uplink: Arc<UplinkMetrics>,
}

impl Gateway {
    /// Binds, then starts every thread. Serves at once; readiness is for [`Gateway::set_ready`]. `id_floor`
    /// is the highest message id known to be used; `boot` tells this start from others.
    ///
    /// # Errors
    /// See [`GatewayError`]; nothing runs then.
    pub fn start(config: &GatewayConfig, ports: Ports, id_floor: u64, boot: u64) -> Result<Self, GatewayError> {
        if config.shards == 0 || config.shards > SHARDS_MAX {
            return Err(GatewayError::Shards(config.shards));
        }
        let listen = |address, count| {
            bind_all(address, count, BACKLOG).map_err(|source| GatewayError::Listen { address, source })
        };
        let listeners = listen(config.listen, config.shards)?;
        let address = listeners.first().and_then(|one| one.local_addr().ok()).unwrap_or(config.listen);
        let mut echo = config.conformance_echo.map(|address| listen(address, 1)).transpose()?.unwrap_or_default();
        let echo_address = echo.first().and_then(|one| one.local_addr().ok());
        let tls = load_tls(config.tls.as_ref())?;
        let live = Arc::new(Live::new(config.live.clone(), tls));
        let uplink_metrics = Arc::new(UplinkMetrics::default());
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let (words, heard) = mpsc::channel(WORDS_MAX);
        let (to_uplink, uplink_inbox) = mailbox::inbox::<ToUplink>(config.shards, MAILBOX_MAX);
        let ends = shard_ends(config.shards);
        let mut to_shards = Vec::new();
        let mut shards = Vec::new();
        let mut shard_metrics = Vec::new();
        let cores = if config.pin { usable_cores() } else { Vec::new() };
        for (index, ((listener, (mut peers, inbox)), to_uplink)) in
            listeners.into_iter().zip(ends).zip(to_uplink).enumerate()
        {
            let metrics = Arc::new(ShardMetrics::default());
            shard_metrics.push(Arc::clone(&metrics));
            // The last sender of the mesh is the uplink's; the shard's own place in it is empty.
            to_shards.extend(peers.from_uplink.take());
            let parts = ShardParts {
                index: index as u16,
                shards: config.shards,
                id_node: (config.node << SHARD_BITS) | index as u16,
                id_floor,
                listener,
                echo: if index == 0 { echo.pop() } else { None },
                inbox,
                peers: peers.to_peers,
                uplink: to_uplink,
                proxy_protocol: config.proxy_protocol,
                reorder_wait_ms: ports.cluster.as_ref().map_or(0, |cluster| cluster.reorder_wait_ms),
                hops: ports.cluster.as_ref().and_then(|cluster| cluster.hops.clone()),
                live: Arc::clone(&live),
                metrics,
            };
            let thread = ShardThread {
                index,
                core: cores.get(index % cores.len().max(1)).copied(),
                entries: runtime::ENTRIES_MIN,
            };
            shards.push(runtime::spawn(thread, move || shard::run(parts))?);
        }
        let parts = UplinkParts {
            ports,
            inbox: uplink_inbox,
            shards: to_shards,
            requests: asked,
            words: heard,
            live: Arc::clone(&live),
            metrics: Arc::clone(&uplink_metrics),
            boot,
        };
        let uplink = start_uplink(parts).map_err(GatewayError::Uplink)?;
        let handle = Arc::new(Handle { requests, words, live, shards: shard_metrics, uplink: uplink_metrics });
        Ok(Self { address, echo: echo_address, handle, tls: config.tls.clone(), shards, uplink })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the conformance echo listens.
    #[must_use]
    pub fn echo_address(&self) -> Option<SocketAddr> {
        self.echo
    }

    /// The port that the API and the daemon use.
    #[must_use]
    pub fn port(&self) -> Arc<dyn Gateways> {
        Arc::clone(&self.handle) as Arc<dyn Gateways>
    }

    /// What answers other nodes, the daemon and the API on the peer port.
    #[must_use]
    pub fn peer_handler(&self) -> Arc<dyn PeerHandler> {
        Arc::clone(&self.handle) as Arc<dyn PeerHandler>
    }

    /// What speaks against this node's health; nothing while messages get through.
    #[must_use]
    pub fn complaints(&self) -> Arc<dyn Fn() -> Vec<String> + Send + Sync> {
        let handle = Arc::clone(&self.handle);
        Arc::new(move || handle.uplink.canary.complaint().into_iter().collect())
    }

    /// Says that everything behind the gateway has recovered.
    pub fn set_ready(&self) {
        self.handle.live.ready.store(true, Ordering::Relaxed);
    }

    /// Applies what may change while running; certificate and key are read anew.
    ///
    /// # Errors
    /// Certificate or key cannot be used; then nothing has changed.
    pub fn reload(&self, config: LiveConfig) -> Result<(), GatewayError> {
        let tls = load_tls(self.tls.as_ref())?;
        self.handle.live.replace(config, tls);
        Ok(())
    }

    /// Stops accepting, tells clients when to come back, finishes what is in flight, ends every thread.
    /// Blocks for at most ten seconds.
    pub fn drain(self) {
        self.handle.live.draining.store(true, Ordering::Relaxed);
        self.handle.live.ready.store(false, Ordering::Relaxed);
        if self.handle.requests.blocking_send(Request::Drain).is_err() {
            tracing::error!("the uplink is gone before the drain");
            return;
        }
        for shard in self.shards {
            if shard.join().is_err() {
                tracing::error!("a shard ended by a panic");
            }
        }
        // With the shards gone the uplink's inbox is closed, and it ends by itself.
        if self.uplink.join().is_err() {
            tracing::error!("the uplink ended by a panic");
        }
    }
}

/// What one shard holds of the mailboxes.
struct Ends {
    to_peers: Vec<Option<Sender<ToShard>>>,
    from_uplink: Option<Sender<ToShard>>,
}

/// A mesh between the shards with the uplink as one more sender to each.
fn shard_ends(shards: usize) -> Vec<(Ends, Inbox<ToShard>)> {
    let mut mesh = mailbox::mesh::<ToShard>(shards + 1, MAILBOX_MAX);
    let uplink = mesh.pop().map(|(senders, _)| senders).unwrap_or_default();
    mesh.into_iter()
        .zip(uplink)
        .map(|((mut to_peers, inbox), from_uplink)| {
            to_peers.truncate(shards);
            (Ends { to_peers, from_uplink }, inbox)
        })
        .collect()
}

fn start_uplink(parts: UplinkParts) -> std::io::Result<std::thread::JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("ringway-uplink".into()).spawn(move || {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, uplink::run(parts));
    })
}

fn load_tls(paths: Option<&(std::path::PathBuf, std::path::PathBuf)>) -> Result<Option<Arc<TlsConfig>>, TlsError> {
    paths.map(|(certificate, key)| TlsConfig::load(certificate, key)).transpose()
}

/// Cores this process may run on, in order.
fn usable_cores() -> Vec<usize> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else { return Vec::new() };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

#[async_trait]
impl Gateways for Handle {
    async fn submit(&self, message: ServerMessage) -> Result<Sent, SubmitError> {
        self.ask(|reply| Request::Submit(message, reply)).await?
    }

    async fn signal(&self, signal: Signal) -> Result<(), SubmitError> {
        let applied = self.ask(|reply| Request::Signal(signal, reply)).await?;
        applied.map_err(|error| SubmitError::Temporary(error.to_string()))
    }

    async fn trace(&self, msg_id: u64) -> String {
        let hops = self.ask(|reply| Request::Trace(msg_id, reply)).await.unwrap_or_default();
        serde_json::to_string(&hops).unwrap_or_else(|_| "[]".into())
    }

    fn metrics(&self) -> String {
        metrics::render(&self.shards, &self.uplink)
    }

    fn ready(&self) -> bool {
        self.live.ready.load(Ordering::Relaxed) && !self.live.draining.load(Ordering::Relaxed)
    }

    async fn online(&self, uids: &[Uid]) -> Vec<Uid> {
        let uids = uids.to_vec();
        self.ask(|reply| Request::Online(uids, reply)).await.unwrap_or_default()
    }
}

#[async_trait]
impl PeerHandler for Handle {
    fn meet(&self, _peer: &NodeRun) {
        self.live.met.notify_one();
    }

    fn hear(&self, _from: &NodeRun, word: Word) {
        if self.words.try_send(word).is_err() {
            self.uplink.unheard.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn answer(&self, _from: &NodeRun, ask: Ask) -> Reply {
        let refused = |error: SubmitError| match error {
            SubmitError::Temporary(why) => Reply::Temporary(why),
            SubmitError::Refused(why) => Reply::Refused(why),
        };
        match ask {
            Ask::Ping => Reply::Done,
            Ask::Signal(signal) => self.signal(signal).await.map_or_else(refused, |()| Reply::Done),
            Ask::Resync => match self.ask(Request::Resync).await {
                Ok(Ok(())) => Reply::Done,
                Ok(Err(error)) => Reply::Temporary(error.to_string()),
                Err(error) => refused(error),
            },
            Ask::Submit(message) => self.submit(message).await.map_or_else(refused, Reply::Sent),
            Ask::Trace(msg_id) => Reply::Trace(self.trace(msg_id).await),
            Ask::Online(uids) => {
                let uids: Vec<Uid> = uids.iter().filter_map(|uid| Uid::parse(uid).ok()).collect();
                Reply::Online(self.online(&uids).await.iter().map(|uid| uid.as_str().to_owned()).collect())
            }
        }
    }
}

impl Handle {
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, SubmitError> {
        let gone = || SubmitError::Temporary("the gateway is going away".into());
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}
