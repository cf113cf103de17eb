//! The parts of a persist process, put together in order, and the way down.
//!
//! Keys → database → shared state → queues → what is ordered to be read again → links to the gateways → reminders →
//! workers. Each part that is away is waited for; `/readyz` names it. A start that fails or is dropped half-way leaves
//! nothing that the next one would not find in order.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use clap::ArgMatches;
use ringway_mysql::MySqlArchive;
use ringway_parts::awaited::awaited;
use ringway_parts::board::Board;
use ringway_parts::probe::Probes;
use ringway_parts::process::{Process, Surroundings};
use ringway_parts::sections::Otlp;
use ringway_parts::stores::Stores;
use ringway_peer::{PeerLimits, PeerLinks, RemoteGateways};
use ringway_persist::{Takeover, WorkerPorts, Workers, WorkersConfig};
use ringway_push::RemindersPorts;
use ringway_rocketmq::{RocketError, RocketQueues};
use ringway_service::machine::boot;
use ringway_service::sections::{Admin, Log};
use ringway_store::ports::{Archive, Gateways as _, LogQueue, NodeRun, VendorPush};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::background::Background;
use crate::config::{Config, is_name};
use crate::orders::{self, Orders};
use crate::{drift, holes, months, reminding};

/// What the workers get to end the batches at hand and to let their leases go.
const WORKERS_END: Duration = Duration::from_millis(7_000);
/// What each part gets to close after that.
const CLOSE: Duration = Duration::from_millis(500);

/// A running process.
pub(crate) struct Node {
    workers: JoinHandle<()>,
    stop_workers: watch::Sender<bool>,
    months: JoinHandle<()>,
    /// The drift check, if there is one, and the watch over holes.
    checks: Vec<Background>,
    reminding: Background,
    queues: Arc<RocketQueues>,
    gateways: Arc<RemoteGateways>,
    links: Arc<PeerLinks>,
    stores: Stores,
    probes: Probes,
}

impl Process for Node {
    const NAME: &'static str = "ringway-persist";
    const WORKERS: usize = 2;
    type Config = Config;
    type Orders = Orders;

    fn admin(config: &Config) -> &Admin {
        &config.admin
    }

    fn log(config: &Config) -> &Log {
        &config.log
    }

    fn otlp(config: &Config) -> &Otlp {
        &config.otlp
    }

    fn orders(arguments: &ArgMatches) -> anyhow::Result<Orders> {
        orders::orders(arguments)
    }

    fn check_machine(_config: &Config) -> anyhow::Result<()> {
        Ok(())
    }

    async fn errand(config: &Config, orders: &Orders) -> anyhow::Result<bool> {
        if orders.check_drift {
            drift::check_now(config).await?;
        }
        Ok(orders.check_drift)
    }

    async fn start(config: &Config, orders: Orders, around: &Surroundings) -> anyhow::Result<Self> {
        let board = &around.board;
        let boot = boot()?;
        let (owner, peers) = (owner(&config.persist.owner, boot), config.peers.key()?);
        let vendor = config.push.vendor()?.map(|vendor| Arc::new(vendor) as Arc<dyn VendorPush>);
        let mut redis = config.redis.config()?;
        redis.makes_room = true;
        let mut mysql = config.mysql.config()?;
        mysql.retention_months = u32::try_from(config.persist.retention_months).ok().filter(|months| *months > 0);
        let stores = Stores::open(board, &mysql, &redis).await?;
        let mut probes = Probes::default();
        stores.watch(board, &mut probes);
        let _ = around.archive.set(Arc::clone(&stores.archive));

        let (queues, pairs) = open_queues(config, board, &stores, &mut probes).await?;
        orders::carry_out(&orders.replays, &pairs).await?;
        let links = Arc::new(PeerLinks::new(NodeRun { node: owner.clone(), boot }, peers, PeerLimits::DEFAULT));
        let gateways = Arc::new(RemoteGateways::start(Arc::clone(&links), stores.routes.clone()));
        let reminded = RemindersPorts {
            state: stores.state.clone(),
            directory: stores.directory.clone(),
            nudges: gateways.clone(),
            vendor,
        };
        let (reminding, watcher) = reminding::start(reminded, config.push.reminders(), board);
        let ports = WorkerPorts {
            state: stores.state.clone(),
            upkeep: stores.state.clone(),
            directory: stores.directory.clone(),
        };
        let leases = Arc::new(stores.database.clone());
        let workers = Workers::new(pairs, ports, leases, owner.clone(), WorkersConfig::default());
        let workers = workers.watched_by(&watcher, config.push.push_after_ms).before_relaying(&resync(&gateways));
        let workers = Arc::new(match around.traces.of_messages(board, &owner)? {
            Some(hops) => workers.exported_to(&hops),
            None => workers,
        });
        show(around, &workers, &gateways);
        let (stop_workers, stop) = watch::channel(false);
        let asked = Arc::clone(&gateways);
        let workers = tokio::spawn(async move { workers.run(asked, stop).await });
        let drift = drift::start(config.persist.drift_check_s, &stores, owner.clone(), board);
        let holes = holes::start(config.persist.hole_alarm_ms, &stores, owner.clone(), board);
        let checks = drift.into_iter().chain([holes]).collect();
        let months = tokio::spawn(months::keep(stores.database.clone(), owner));
        Ok(Self { workers, stop_workers, months, checks, reminding, queues, gateways, links, stores, probes })
    }

    fn addresses(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    fn reload(&self, _config: &Config) -> anyhow::Result<()> {
        Ok(())
    }

    async fn broken(&mut self) -> anyhow::Error {
        match (&mut self.workers).await {
            Ok(()) => anyhow!("the workers have ended by themselves"),
            Err(error) => anyhow!(error).context("the workers have failed"),
        }
    }

    async fn stop(self) {
        let Self { mut workers, stop_workers, months, checks, reminding, queues, gateways, links, stores, probes } =
            self;
        drop(probes);
        months.abort();
        stop_workers.send_replace(true);
        let ending = async {
            // One that has ended already has been reported.
            if !workers.is_finished() && timeout(WORKERS_END, &mut workers).await.is_err() {
                tracing::warn!("batches were cut off; the event log keeps them for whoever consumes next");
                workers.abort();
            }
        };
        let checks = async {
            let mut ended = Vec::new();
            for check in checks {
                ended.push(check.end(CLOSE).await);
            }
            ended
        };
        let ((), checks) = tokio::join!(ending, checks);
        let closed = [
            reminding.end(CLOSE).await,
            ("event log", timeout(CLOSE, queues.close()).await.is_ok()),
            ("gateways", timeout(CLOSE, gateways.close()).await.is_ok()),
            ("peers", timeout(CLOSE, links.close()).await.is_ok()),
            ("stores", timeout(CLOSE, stores.close()).await.is_ok()),
        ];
        for (part, _) in closed.into_iter().chain(checks).filter(|(_, closed)| !closed) {
            tracing::warn!(part, "took too long to close");
        }
    }
}

type Pairs = Vec<(Arc<dyn LogQueue>, Arc<dyn Archive>)>;

/// The queues, each with the archive that has its offset.
async fn open_queues(
    config: &Config,
    board: &Arc<Board>,
    stores: &Stores,
    probes: &mut Probes,
) -> anyhow::Result<(Arc<RocketQueues>, Pairs)> {
    let settings = config.rocketmq.config()?;
    let heals = |error: &RocketError| matches!(error, RocketError::Unavailable(_));
    let open = async || RocketQueues::open(settings.clone()).await.map(Arc::new);
    let queues = awaited(board, "rocketmq", heals, open).await?;
    let probed = Arc::clone(&queues);
    probes.ask(board, "rocketmq", move || {
        let queues = Arc::clone(&probed);
        async move { queues.committed().await.map(drop).map_err(|error| anyhow!(error)) }
    });
    let pair = |queue: Arc<dyn LogQueue>| {
        let archive: Arc<dyn Archive> = Arc::new(MySqlArchive::new(stores.database.clone(), queue.name()));
        (queue, archive)
    };
    let pairs = queues.queues().into_iter().map(pair).collect();
    Ok((queues, pairs))
}

/// Lets every gateway read anew what it caches: what the process that relayed before this one still owed them, nobody
/// knows any more.
fn resync(gateways: &Arc<RemoteGateways>) -> Takeover {
    let gateways = Arc::clone(gateways);
    Arc::new(move || gateways.resync_all())
}

/// Has the admin listener show workers and gateways.
fn show(around: &Surroundings, workers: &Arc<Workers>, gateways: &Arc<RemoteGateways>) {
    // Filled once, here.
    let _ = around.gateways.set(gateways.clone());
    let [judged, measured, asked] = [workers; 3].map(Arc::clone);
    let links = Arc::clone(gateways);
    around.board.add_judge(move || judged.not_ready());
    around.board.add_hops(move |msg_id| asked.trace(msg_id));
    around.board.add_measure(move || measured.metrics_text());
    around.board.add_measure(move || links.metrics());
}

/// The name of this process: as configured, else the host's and a number of this start.
fn owner(configured: &str, boot: u64) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    // Where the kernel tells it; without it the number alone has to do.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_lowercase();
    let host: String = host.split('.').next().unwrap_or_default().chars().take(20).collect();
    let host = if host.is_empty() || !is_name(&host) { "persist".to_owned() } else { host };
    format!("{host}-{:08x}", boot as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_without_a_name_gets_one_of_its_own() {
        assert_eq!(owner("persist-1", 7), "persist-1");
        let (one, other) = (owner("", 7), owner("", 8));
        assert!(is_name(&one) && one != other, "{one} {other}");
    }
}
