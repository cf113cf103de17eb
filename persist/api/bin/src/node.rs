//! The parts of an API process, put together in order, and the way down.
//!
//! Keys, port → database → shared state → links to the gateways → API. Each part that is away is waited for; `/readyz`
//! names it. A start that fails or is dropped half-way leaves nothing that the next one would not find in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::ArgMatches;
use ringway_api::{Api, Nodes, Parts, router, serve};
use ringway_parts::probe::Probes;
use ringway_parts::process::{Process, Surroundings};
use ringway_parts::sections::Otlp;
use ringway_parts::stores::Stores;
use ringway_peer::{PeerLimits, PeerLinks, RemoteGateways};
use ringway_service::machine::{boot, reachable};
use ringway_service::sections::{Admin, Log};
use ringway_store::ports::{Gateways as _, NodeRun};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::config::{self, Config};

/// What requests in flight get to be answered.
const FINISH: Duration = Duration::from_millis(7_000);
/// What each part gets to close after that.
const CLOSE: Duration = Duration::from_millis(500);

/// A running process.
pub(crate) struct Node {
    api: JoinHandle<()>,
    stop_api: watch::Sender<bool>,
    gateways: Arc<RemoteGateways>,
    links: Arc<PeerLinks>,
    stores: Stores,
    probes: Probes,
    url: String,
}

impl Process for Node {
    const NAME: &'static str = "ringway-api";
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

    fn check_machine(_config: &Config) -> anyhow::Result<()> {
        Ok(())
    }

    async fn start(config: &Config, (): (), around: &Surroundings) -> anyhow::Result<Self> {
        let board = &around.board;
        let boot = boot()?;
        let (tokens, peers) = (Arc::new(config.tokens.key()?), config.peers.key()?);
        let address = config.api.listen;
        let listening = || format!("cannot listen on {address} (api.listen)");
        let listener = TcpListener::bind(address).await.with_context(listening)?;
        let url = format!("http://{}", reachable(listener.local_addr()?));
        let stores = Stores::open(board, &config.mysql.config()?, &config.redis.config()?).await?;
        let mut probes = Probes::default();
        stores.watch(board, &mut probes);
        let _ = around.archive.set(Arc::clone(&stores.archive));

        let run = NodeRun { node: format!("api-{boot:016x}"), boot };
        let instance = run.node.clone();
        let links = Arc::new(PeerLinks::new(run, peers, PeerLimits::DEFAULT));
        let gateways = Arc::new(RemoteGateways::start(Arc::clone(&links), stores.routes.clone()));
        // Filled once, here.
        let _ = around.gateways.set(gateways.clone());
        let measured = Arc::clone(&gateways);
        board.add_measure(move || measured.metrics());
        let parts = Parts {
            directory: stores.directory.clone(),
            state: stores.state.clone(),
            gateways: gateways.clone(),
            tokens,
            nodes: Nodes::Listed(stores.routes.clone()),
            requests: Arc::clone(&around.requests),
        };
        let api = Api::new(parts, config::api(config)?);
        around.traces.of_requests(board, &instance, &api)?;
        let (stop_api, mut stop) = watch::channel(false);
        let told = async move {
            // A sender that is gone can tell nobody to stop: that is a stop too.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let api = tokio::spawn(serve(listener, router(&api), config::serve_limits(config)?, told));
        Ok(Self { api, stop_api, gateways, links, stores, probes, url })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        vec![("url", self.url.clone())]
    }

    fn reload(&self, _config: &Config) -> anyhow::Result<()> {
        Ok(())
    }

    async fn broken(&mut self) -> anyhow::Error {
        match (&mut self.api).await {
            Ok(()) => anyhow!("the API's listener has ended by itself"),
            Err(error) => anyhow!(error).context("the API's listener has failed"),
        }
    }

    async fn stop(self) {
        let Self { mut api, stop_api, gateways, links, stores, probes, .. } = self;
        drop(probes);
        stop_api.send_replace(true);
        // One that has ended already has been reported.
        if !api.is_finished() && timeout(FINISH, &mut api).await.is_err() {
            api.abort();
        }
        let closed = [
            ("gateways", timeout(CLOSE, gateways.close()).await.is_ok()),
            ("peers", timeout(CLOSE, links.close()).await.is_ok()),
            ("stores", timeout(CLOSE, stores.close()).await.is_ok()),
        ];
        for (part, _) in closed.into_iter().filter(|(_, closed)| !closed) {
            tracing::warn!(part, "took too long to close");
        }
    }
}
