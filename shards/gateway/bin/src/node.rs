//! The parts of a gateway node, put together in order, and the way down.
//!
//! Keys, peer port → database → shared state → event log → spool, whose rest is forwarded → gateway → peers. Each part
//! that is away is waited for; `/readyz` names it. A start that fails or is dropped half-way leaves nothing that the
//! next one would not find in order: what lies in the spool stays there.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use ringway_gateway::{Cluster, Gateway, Ports};
use ringway_parts::awaited::awaited;
use ringway_parts::board::Board;
use ringway_parts::measures::event_log;
use ringway_parts::probe::Probes;
use ringway_parts::process::{Process, Surroundings};
use ringway_parts::sections::Otlp;
use ringway_parts::stores::Stores;
use ringway_peer::{PeerKey, PeerLimits, PeerLinks, PeerServer};
use ringway_rocketmq::{RocketError, RocketLog};
use ringway_service::machine::{boot, port_free};
use ringway_service::sections::{Admin, Log};
use ringway_spool::SpooledLog;
use ringway_store::ports::{NodeRun, StoreError};
use ringway_store::token::TokenKey;
use tokio::time::timeout;

use crate::config::Config;
use crate::plan;
use crate::port::KeptPort;

/// What each part gets to close once the gateway has drained.
const CLOSE: Duration = Duration::from_millis(500);

/// A running node.
pub(crate) struct Node {
    gateway: Gateway,
    server: PeerServer,
    links: Arc<PeerLinks>,
    spool: Arc<SpooledLog>,
    log: Arc<RocketLog>,
    stores: Stores,
    probes: Probes,
    addresses: Vec<(&'static str, String)>,
}

/// What is read and bound before anything is waited for: it can never heal.
struct Own {
    run: NodeRun,
    tokens: Arc<TokenKey>,
    peers: PeerKey,
    peer_listener: TcpListener,
    ws: KeptPort,
}

impl Own {
    fn prepare(config: &Config) -> anyhow::Result<Self> {
        let address = config.peer_port.listen;
        let listening = || format!("cannot listen on {address} (peers.listen)");
        let kept = || format!("cannot listen on {} (gateway.listen)", config.gateway.listen);
        Ok(Self {
            run: NodeRun { node: plan::name(config), boot: boot()? },
            tokens: Arc::new(config.tokens.key()?),
            peers: config.peers.key()?,
            peer_listener: TcpListener::bind(address).with_context(listening)?,
            ws: KeptPort::of(config.gateway.listen).with_context(kept)?,
        })
    }
}

impl Process for Node {
    const NAME: &'static str = "ringway-gateway";
    const WORKERS: usize = 2;
    type Config = Config;
    type Orders = ();

    fn admin(config: &Config) -> &Admin {
        &config.admin
    }

    fn log(config: &Config) -> &Log {
        &config.log
    }

    fn otlp(config: &Config) -> &Otlp {
        &config.otlp
    }

    fn orders(_arguments: &ArgMatches) -> anyhow::Result<()> {
        Ok(())
    }

    fn check_machine(config: &Config) -> anyhow::Result<()> {
        ringway_ring::runtime::check_support()?;
        ringway_journal::check_support(&config.spool.folder)?;
        port_free("gateway.listen", config.gateway.listen)?;
        let echo = config.gateway.conformance_echo;
        echo.map_or(Ok(()), |address| port_free("gateway.conformance_echo", address))?;
        // Before any other thread is: they inherit it.
        ringway_ring::policy::take_short_turns().context("the kernel refuses a scheduling slice")
    }

    async fn start(config: &Config, (): (), around: &Surroundings) -> anyhow::Result<Self> {
        let board = &around.board;
        let own = Own::prepare(config)?;
        let (redis, mysql) = (config.redis.config()?, config.mysql.config()?);
        let stores = Stores::open(board, &mysql, &redis).await?;
        let mut probes = Probes::default();
        stores.watch(board, &mut probes);
        let _ = around.archive.set(Arc::clone(&stores.archive));
        let log = open_log(config, board, &mut probes).await?;
        let spool = open_spool(config, board, &log).await?;
        let floor = async || stores.archive.highest_msg_id().await;
        let id_floor = awaited(board, "mysql", |_: &StoreError| true, floor).await?;

        let Own { run, tokens, peers, peer_listener, ws } = own;
        let links = Arc::new(PeerLinks::with_amends(run.clone(), peers.clone(), PeerLimits::DEFAULT));
        // Not before the process has all of it.
        let healthy = Arc::new(AtomicBool::new(false));
        let cluster = Cluster {
            run: run.clone(),
            peer: plan::peer_address(config, peer_listener.local_addr()?),
            ws: plan::public_ws_url(config, ws.address),
            version: plan::version(config),
            healthy: Arc::clone(&healthy),
            reorder_wait_ms: config.clustered.reorder_wait_ms,
            routes: stores.routes.clone(),
            epochs: Arc::new(stores.database.clone()),
            links: Arc::clone(&links),
            hops: around.traces.of_messages(board, &run.node)?,
        };
        let mut addresses = vec![("peer", cluster.peer.clone()), ("ws", plan::local_ws_url(config, ws.address))];
        let ports = Ports {
            log: spool.clone(),
            state: stores.state.clone(),
            directory: stores.directory.clone(),
            tokens,
            cluster: Some(cluster),
        };
        let gateway = Gateway::start(&plan::gateway(config, ws.address)?, ports, id_floor, run.boot)?;
        drop(ws);
        addresses.extend(gateway.echo_address().map(|echo| ("conformance_echo", format!("ws://{echo}"))));
        let server = PeerServer::start(peer_listener, run, peers, PeerLimits::DEFAULT, gateway.peer_handler())?;
        show(around, &gateway, &links);
        let heard = Arc::clone(server.counters());
        board.add_measure(move || heard.text());
        probes.keep(board, healthy);
        gateway.set_ready();
        Ok(Self { gateway, server, links, spool, log, stores, probes, addresses })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        self.addresses.clone()
    }

    fn reload(&self, config: &Config) -> anyhow::Result<()> {
        Ok(self.gateway.reload(plan::live(config)?)?)
    }

    async fn broken(&mut self) -> anyhow::Error {
        // Shards, uplink and journal end the process when they fail.
        std::future::pending().await
    }

    async fn stop(self) {
        let Self { gateway, server, links, spool, log, stores, probes, .. } = self;
        drop(probes);
        if let Err(error) = tokio::task::spawn_blocking(move || gateway.drain()).await {
            tracing::error!(%error, "the gateway's drain has failed");
        }
        let closing = async { tokio::join!(server.close(), links.close()) };
        let closed = [
            ("peers", timeout(CLOSE, closing).await.is_ok()),
            // What the spool holds is forwarded by the next run.
            ("spool", timeout(CLOSE, spool.close()).await.is_ok()),
            ("event log", timeout(CLOSE, log.close()).await.is_ok()),
            ("stores", timeout(CLOSE, stores.close()).await.is_ok()),
        ];
        for (part, _) in closed.into_iter().filter(|(_, closed)| !closed) {
            tracing::warn!(part, "took too long to close");
        }
    }
}

/// The event log; one that is away is opened all the same, and the spool stands in for it.
async fn open_log(config: &Config, board: &Arc<Board>, probes: &mut Probes) -> anyhow::Result<Arc<RocketLog>> {
    let settings = config.rocketmq.config()?;
    let heals = |error: &RocketError| matches!(error, RocketError::Unavailable(_));
    let log = Arc::new(awaited(board, "rocketmq", heals, async || RocketLog::open(settings.clone()).await).await?);
    let probed = Arc::clone(&log);
    probes.ask(board, "rocketmq", move || {
        let available = probed.is_available();
        async move { if available { Ok(()) } else { Err(anyhow!("a broker or the topic is away")) } }
    });
    let measured = Arc::clone(&log);
    board.add_measure(move || event_log(&measured.counts(), measured.is_available()));
    Ok(log)
}

/// The spool, empty: what an earlier run has left in it is in the event log before the node takes traffic.
async fn open_spool(config: &Config, board: &Board, log: &Arc<RocketLog>) -> anyhow::Result<Arc<SpooledLog>> {
    let spool = Arc::new(SpooledLog::open(log.clone(), plan::spool(config)).await?);
    let (judged, measured) = (Arc::clone(&spool), Arc::clone(&spool));
    board.add_judge(move || {
        let failed = judged.stats().has_failed();
        failed.then(|| "spool: its journal has failed: look at the disk, then restart".to_owned()).into_iter().collect()
    });
    board.add_measure(move || measured.stats().text());
    if spool.is_spooling() {
        board.miss("spool", "what an earlier run has left in it is forwarded first");
        spool.drained().await;
        board.found("spool");
    }
    Ok(spool)
}

/// Has the admin listener show the gateway: `/readyz` is red while it is not open, or its own messages do not get through.
fn show(around: &Surroundings, gateway: &Gateway, links: &Arc<PeerLinks>) {
    let (port, judged, measured) = (gateway.port(), gateway.port(), gateway.port());
    // Filled once, here.
    let _ = around.gateways.set(port);
    around.board.add_judge(move || {
        let away = !judged.ready();
        away.then(|| "gateway: is starting or draining".to_owned()).into_iter().collect()
    });
    let complaints = gateway.complaints();
    around.board.add_judge(move || complaints());
    around.board.add_measure(move || measured.metrics());
    let links = Arc::clone(links);
    around.board.add_measure(move || links.counters().text());
}
