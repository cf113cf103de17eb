//! The parts of a node, put together in order.
//!
//! Data folder (locked, format known) → API and admin ports → admin listener, which says "not ready" →
//! recovery: what the log holds beyond the archive is numbered → gateway → daemon → API. Nothing is asked
//! of the sequencer before the recovery, so the API is not served before it either.
//! A start that fails or is dropped half-way leaves nothing that the next one would not find in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use anyhow::Context as _;
use axum::Router;
use ringway_api::{Admin, Api, Later, Nodes, Parts, RequestStats, ServeLimits, admin_router, router, serve};
use ringway_engine::event::Event;
use ringway_engine::limits::UNARCHIVED_BYTES_MAX;
use ringway_gateway::{Gateway, Ports};
use ringway_persist::{Daemon, DaemonConfig, DaemonError};
use ringway_service::machine::boot;
use ringway_store::embedded::{Embedded, open_embedded_with};
use ringway_store::ports::{Archive, Gateways, LogQueue, SharedState};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{metrics, plan};
use crate::address_file::Addresses;
use crate::config::Config;

/// Records and bytes of one read of the log at start.
const READ_RECORDS_MAX: usize = 4_096;
const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A running node. Dropping it stops nothing: see `stop`.
pub(super) struct Node {
    pub(super) gateway: Gateway,
    pub(super) embedded: Arc<Embedded>,
    pub(super) addresses: Addresses,
    /// Told `true` to end API and admin listener.
    pub(super) stop_servers: watch::Sender<bool>,
    /// Told `true` to end the daemon.
    pub(super) stop_daemon: watch::Sender<bool>,
    pub(super) api: JoinHandle<()>,
    pub(super) admin: JoinHandle<()>,
    pub(super) daemon: JoinHandle<Result<(), DaemonError>>,
}

/// Starts everything; the gateway serves but is not ready yet.
///
/// # Errors
/// What the first part that failed says.
pub(super) async fn start(config: &Config) -> anyhow::Result<Node> {
    let embedded = Arc::new(open_embedded_with(&config.data.folder, plan::journal(config)).await?);
    if embedded.recovery.cut_bytes > 0 {
        let bytes = embedded.recovery.cut_bytes;
        tracing::warn!(bytes, "cut a torn, never acknowledged commit off the event log");
    }
    let started = assemble(config, Arc::clone(&embedded)).await;
    if started.is_err() {
        embedded.close().await;
    }
    started
}

/// What one part needs of the others while they come up.
struct Wiring {
    embedded: Arc<Embedded>,
    daemon: Arc<Daemon>,
    gateways: Later<dyn Gateways>,
    recovered: Arc<AtomicBool>,
    requests: Arc<RequestStats>,
}

async fn assemble(config: &Config, embedded: Arc<Embedded>) -> anyhow::Result<Node> {
    let api_listener = listen("api.listen", config.api.listen).await?;
    let admin_listener = listen("api.admin_listen", config.reached.admin_listen).await?;
    let (api_address, admin_address) = (api_listener.local_addr()?, admin_listener.local_addr()?);
    let limits = plan::serve_limits(config)?;
    let (stop_servers, servers_stop) = watch::channel(false);
    let (stop_daemon, daemon_stop) = watch::channel(false);
    let wiring = Wiring::new(embedded);
    // It answers from now on.
    let admin = spawn_server(admin_listener, admin_router(&wiring.admin()), &limits, &servers_stop);

    let id_floor = wiring.recover().await?;
    let gateway = Gateway::start(&plan::gateway(config)?, wiring.gateway_ports(), id_floor, boot()?)?;
    // Filled once, here.
    let _ = wiring.gateways.set(gateway.port());
    let daemon = tokio::task::spawn_blocking({
        let (daemon, port, runtime) = (Arc::clone(&wiring.daemon), gateway.port(), Handle::current());
        move || {
            ringway_store::priority::stand_behind();
            runtime.block_on(daemon.run(port, daemon_stop))
        }
    });
    let api = Api::new(wiring.api_parts(gateway.port()), plan::api(config, gateway.address())?);
    let api = spawn_server(api_listener, router(&api), &limits, &servers_stop);
    let addresses = plan::addresses(config, gateway.address(), api_address, admin_address, gateway.echo_address());
    Ok(Node { gateway, embedded: wiring.embedded, addresses, stop_servers, stop_daemon, api, admin, daemon })
}

impl Wiring {
    fn new(embedded: Arc<Embedded>) -> Self {
        let ports = ringway_persist::Ports {
            log: embedded.log.clone(),
            state: embedded.state.clone(),
            upkeep: embedded.state.clone(),
            archive: embedded.archive.clone(),
            directory: embedded.directory.clone(),
        };
        Self {
            embedded,
            daemon: Arc::new(Daemon::new(ports, DaemonConfig::default())),
            gateways: Later::default(),
            recovered: Arc::default(),
            requests: Arc::default(),
        }
    }

    /// Numbers what the log holds beyond the archive; answers the highest message id known to be used.
    async fn recover(&self) -> anyhow::Result<u64> {
        let begun = Instant::now();
        let found = self.daemon.recover().await.context("recovery")?;
        let archived = self.embedded.archive.highest_msg_id().await?;
        let logged = self.highest_in_log().await?;
        self.recovered.store(true, Relaxed);
        let (records, messages, dead_letters) = (found.records, found.messages, found.dead_letters);
        let took_ms = begun.elapsed().as_millis() as u64;
        tracing::info!(records, messages, dead_letters, took_ms, "recovered the unarchived rest of the event log");
        Ok(archived.max(logged))
    }

    /// The highest message id among the records that are not archived, 0 for none.
    async fn highest_in_log(&self) -> anyhow::Result<u64> {
        let log = &self.embedded.log;
        let mut next = self.embedded.archive.consumed_offset().await?;
        let mut highest = 0;
        loop {
            let records = log.read(next, READ_RECORDS_MAX, READ_BYTES_MAX).await?;
            let Some(last) = records.last() else { return Ok(highest) };
            next.0 = last.offset.0 + 1;
            for record in &records {
                if let Ok(Event::Message(message)) = Event::decode(&record.bytes) {
                    highest = highest.max(message.msg_id);
                }
            }
        }
    }

    fn gateway_ports(&self) -> Ports {
        Ports {
            log: self.embedded.log.clone(),
            state: self.embedded.state.clone(),
            directory: self.embedded.directory.clone(),
            tokens: Arc::clone(&self.embedded.token_key),
            cluster: None,
        }
    }

    fn api_parts(&self, gateways: Arc<dyn Gateways>) -> Parts {
        let state = self.embedded.state.clone();
        Parts {
            directory: self.embedded.directory.clone(),
            state: self.embedded.state.clone(),
            gateways,
            tokens: Arc::clone(&self.embedded.token_key),
            nodes: Nodes::Own(Arc::new(move || state.unarchived_bytes() as f64 / UNARCHIVED_BYTES_MAX as f64)),
            requests: Arc::clone(&self.requests),
        }
    }

    /// What the admin listener shows.
    fn admin(&self) -> Arc<Admin> {
        let (log, recovered, gateways) = (self.embedded.log.clone(), self.recovered.clone(), self.gateways.clone());
        let (journal, daemon, measured) = (self.embedded.log.clone(), self.daemon.clone(), self.gateways.clone());
        let archive: Arc<dyn Archive> = self.embedded.archive.clone();
        let remembers = self.daemon.clone();
        Arc::new(Admin {
            gateways: self.gateways.clone(),
            archive: Arc::new(archive.into()),
            not_ready: Box::new(move || {
                let stats = log.stats();
                let reasons = [
                    (!recovered.load(Relaxed), "the event log is being recovered"),
                    (stats.full, "the event log is full: free space on the disk"),
                    (stats.failed, "the event log has failed: look at the disk, then restart"),
                    (!gateways.get().is_some_and(|gateways| gateways.ready()), "gateway is starting or draining"),
                ];
                reasons.into_iter().filter(|reason| reason.0).map(|reason| reason.1.to_owned()).collect()
            }),
            hops: Box::new(move |msg_id| vec![remembers.trace(msg_id)]),
            metrics: Box::new(move || {
                let of_gateways = measured.get().map(|gateways| gateways.metrics());
                of_gateways.into_iter().chain([daemon.metrics_text(), metrics::journal(&journal.stats())]).collect()
            }),
            requests: Arc::clone(&self.requests),
            token: None,
        })
    }
}

async fn listen(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} ({key})"))
}

fn spawn_server(
    listener: TcpListener,
    router: Router,
    limits: &ServeLimits,
    stop: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let mut stop = stop.clone();
    let told = async move {
        // A sender that is gone can tell nobody to stop: that is a stop too.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    tokio::spawn(serve(listener, router, limits.clone(), told))
}
