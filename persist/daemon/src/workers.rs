//! Several processes over the queues of one log: each consumes its share, and one of them relays the outbox.
//!
//! Every turn a process says that it lives (lease `member/{owner}`), renews what it holds (`queue/{name}`, `relay`),
//! sees who else lives, lets a surplus go once its consumer has ended, and takes what is free up to its share. What a
//! killed process held runs out, and is taken by the others within a lease's time and one turn; one that stops in order
//! lets go at once.
//!
//! Leases spare work that would be done twice, and nothing more: two consumers of one queue do no harm, as the
//! archive lets one of them go on. A queue that cannot be read stops alone, loudly, and keeps its lease.
//!
//! Owns its tasks: dropping the future of `run` drops them, and loses nothing; leases then run out.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringway_hops::Hops;
use ringway_store::ports::{Archive, Directory, Gateways, Leases, LogQueue, SharedState, StoreError, Upkeep};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::backoff::pause;
use crate::config::WorkersConfig;
use crate::consumer::{Consumer, Watcher};
use crate::duty::{Duty, Ended};
use crate::metrics::{LeaseMetrics, ProcessMetrics, QueueReading, now_ms, write_leases, write_process, write_queues};
use crate::relay::Relay;
use crate::share::share;
use crate::trace::TraceRing;
use crate::upkeep::Keeper;

const MEMBER: &str = "member/";
const QUEUE: &str = "queue/";
const RELAY: &str = "relay";

/// Called each time that this process begins to relay the outbox, before it relays anything; must not take long.
pub type Takeover = Arc<dyn Fn() + Send + Sync>;

/// What workers work on, beside their queues.
#[derive(Clone)]
pub struct WorkerPorts {
    /// Numbers events.
    pub state: Arc<dyn SharedState>,
    /// Is told what is archived.
    pub upkeep: Arc<dyn Upkeep>,
    /// Its outbox is relayed.
    pub directory: Arc<dyn Directory>,
}

/// What the last turn has left, for those who ask.
#[derive(Debug, Default)]
struct Board {
    /// Leases held, with what is wrong where something is.
    held: BTreeMap<String, Option<String>>,
    /// Why the leases are not known.
    leases_away: Option<String>,
}

/// The workers of one process.
pub struct Workers {
    consumers: Vec<Arc<Consumer>>,
    trace: Arc<TraceRing>,
    ports: WorkerPorts,
    leases: Arc<dyn Leases>,
    owner: String,
    config: WorkersConfig,
    process: Arc<ProcessMetrics>,
    lease_metrics: LeaseMetrics,
    board: Mutex<Board>,
    takeover: Option<Takeover>,
}

impl Workers {
    /// Workers for these queues, each with the archive that has its offset. `owner` names the process; no two that
    /// live have the same.
    #[must_use]
    pub fn new(
        queues: Vec<(Arc<dyn LogQueue>, Arc<dyn Archive>)>,
        ports: WorkerPorts,
        leases: Arc<dyn Leases>,
        owner: String,
        config: WorkersConfig,
    ) -> Self {
        let trace = TraceRing::new(queues.iter().map(|(queue, _)| queue.name().to_owned()).collect());
        let recalling = Arc::default();
        let consumer = |(number, (queue, archive))| {
            let (state, upkeep, config) = (ports.state.clone(), ports.upkeep.clone(), config.daemon.clone());
            Arc::new(Consumer {
                queue,
                archive,
                state,
                upkeep,
                config,
                metrics: Arc::default(),
                drains: false,
                watcher: None,
                recall_ms: 0,
                recalling: Arc::clone(&recalling),
                trace: trace.of_queue(number),
            })
        };
        let consumers = (0..).zip(queues).map(consumer).collect();
        let (process, lease_metrics, board) = (Arc::default(), LeaseMetrics::default(), Mutex::default());
        Self { consumers, trace, ports, leases, owner, config, process, lease_metrics, board, takeover: None }
    }

    /// Has a watcher told of every batch that is archived here. When this process begins to consume a queue, also of the
    /// newest message of each conversation that was archived in the last `recall_ms` before (0: none, and never of more
    /// than [`RECALLED_RECORDS_MAX`](crate::limits::RECALLED_RECORDS_MAX) records).
    #[must_use]
    pub fn watched_by(mut self, watcher: &Watcher, recall_ms: u64) -> Self {
        // Nobody else has them before `run`.
        for consumer in self.consumers.iter_mut().filter_map(Arc::get_mut) {
            consumer.watcher = Some(Arc::clone(watcher));
            consumer.recall_ms = recall_ms;
        }
        self
    }

    /// Hands over the hops of traced messages to whoever exports them.
    #[must_use]
    pub fn exported_to(mut self, hops: &Hops) -> Self {
        // Nobody else has them before `run`.
        for consumer in self.consumers.iter_mut().filter_map(Arc::get_mut) {
            consumer.trace.export_to(hops);
        }
        self
    }

    /// Has this called whenever the process begins to relay: what the one before it still owed to gateways that were
    /// away is known to nobody else.
    #[must_use]
    pub fn before_relaying(mut self, takeover: &Takeover) -> Self {
        self.takeover = Some(Arc::clone(takeover));
        self
    }

    /// Names of the queues that it holds.
    #[must_use]
    pub fn queues_held(&self) -> Vec<String> {
        let board = self.board();
        board.held.keys().filter_map(|lease| lease.strip_prefix(QUEUE)).map(str::to_owned).collect()
    }

    /// Whether it relays the outbox.
    #[must_use]
    pub fn relays(&self) -> bool {
        self.board().held.contains_key(RELAY)
    }

    /// Why this process does not do all that it should; empty when it does.
    #[must_use]
    pub fn not_ready(&self) -> Vec<String> {
        let board = self.board();
        let failed = board.held.iter().filter_map(|(lease, why)| why.as_ref().map(|why| format!("{lease}: {why}")));
        let away = board.leases_away.iter().map(|why| format!("leases are not known: {why}"));
        failed.chain(away).collect()
    }

    /// Its counters as Prometheus text; those of queues for the ones that it holds.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let (held, failed, relays) = {
            let board = self.board();
            let failed = board.held.values().flatten().count();
            (board.held.clone(), failed as u64, u64::from(board.held.contains_key(RELAY)))
        };
        let is_held = |consumer: &&Arc<Consumer>| held.contains_key(&lease_of(consumer.queue.name()));
        let readings: Vec<QueueReading<'_>> = self
            .consumers
            .iter()
            .filter(is_held)
            .map(|of| QueueReading { label: Some(of.queue.name()), metrics: &of.metrics, end: of.queue.end().0 })
            .collect();
        let retries = self.consumers.iter().map(|consumer| consumer.metrics.retries.load(Relaxed)).sum();
        let mut text = String::new();
        write_queues(&mut text, &readings, now_ms());
        write_process(&mut text, &self.process, retries, self.ports.state.unarchived_bytes());
        write_leases(&mut text, &self.lease_metrics, [readings.len() as u64, failed, relays]);
        text
    }

    /// A JSON array of the hops of a message that this process remembers, oldest first, each with the owner's name.
    #[must_use]
    pub fn trace(&self, msg_id: u64) -> String {
        self.trace.find(msg_id, Some(&self.owner))
    }

    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does its share until `stop` turns true; then ends the batches at hand, lets its leases go, writes the cursors and
    /// returns.
    pub async fn run(&self, gateways: Arc<dyn Gateways>, mut stop: watch::Receiver<bool>) {
        let relay = Relay { directory: self.ports.directory.clone(), gateways, metrics: self.process.clone() };
        let mut shift = Shift::new(self, relay);
        let keeper =
            Keeper { upkeep: &self.ports.upkeep, every_ms: self.config.daemon.upkeep_ms, metrics: &self.process };
        let (ended, keeper_stop) = watch::channel(false);
        let work = async {
            loop {
                shift.turn().await;
                if !pause(Duration::from_millis(self.config.turn_ms), &mut stop).await {
                    break;
                }
            }
            shift.end().await;
            let _ = ended.send(true);
        };
        tokio::join!(work, keeper.run(keeper_stop));
        keeper.finish().await;
    }
}

fn lease_of(queue: &str) -> String {
    format!("{QUEUE}{queue}")
}

/// One run of the workers.
struct Shift<'a> {
    workers: &'a Workers,
    /// One for each consumer, in their order.
    queues: Vec<Duty>,
    relay: Relay,
    relaying: Duty,
}

impl<'a> Shift<'a> {
    fn new(workers: &'a Workers, relay: Relay) -> Self {
        let queues = workers.consumers.iter().map(|consumer| Duty::new(lease_of(consumer.queue.name()))).collect();
        Self { workers, queues, relay, relaying: Duty::new(RELAY.to_owned()) }
    }

    fn duties(&mut self) -> impl Iterator<Item = &mut Duty> {
        self.queues.iter_mut().chain([&mut self.relaying])
    }

    fn turn_time(&self) -> Duration {
        Duration::from_millis(self.workers.config.turn_ms)
    }

    fn lease_time(&self) -> Duration {
        Duration::from_millis(self.workers.config.lease_ms)
    }

    async fn turn(&mut self) {
        let away = match self.renew().await {
            Ok(()) => {
                self.look().await;
                self.balance().await.err()
            }
            Err(error) => {
                self.look().await;
                Some(error)
            }
        };
        let metrics = &self.workers.lease_metrics;
        if let Some(error) = &away {
            metrics.failures.fetch_add(1, Relaxed);
            tracing::warn!(%error, "leases are not known; what is held goes on until its time is over");
        }
        let mut board = self.workers.board();
        board.leases_away = away.map(|error| error.to_string());
        let held = self.queues.iter().chain([&self.relaying]).filter(|duty| duty.is_held());
        board.held = held.map(|duty| (duty.lease.clone(), duty.failure().map(str::to_owned))).collect();
    }

    /// Renews what is held, all at once; what cannot be renewed in time is dropped.
    async fn renew(&mut self) -> Result<(), StoreError> {
        let workers = self.workers;
        let (asked, turn, ttl_ms) = (Instant::now(), self.turn_time(), workers.config.lease_ms);
        let until = asked + self.lease_time();
        let names = self.duties().filter(|duty| duty.is_held()).map(|duty| duty.lease.clone());
        let names: Vec<String> = names.chain([format!("{MEMBER}{}", workers.owner)]).collect();
        let mut asking = JoinSet::new();
        for name in names {
            let (leases, owner) = (Arc::clone(&workers.leases), workers.owner.clone());
            asking.spawn(async move {
                let answer = in_time(turn, leases.hold(&name, &owner, ttl_ms)).await;
                (name, answer)
            });
        }
        let mut failure = None;
        for (name, answer) in asking.join_all().await {
            let duty = self.duties().find(|duty| duty.lease == name);
            match (answer, duty) {
                (Ok(true), Some(duty)) => duty.renewed(until),
                (Ok(true), None) => {}
                (Ok(false), Some(duty)) => {
                    tracing::warn!(lease = name, "another process has taken a lease that was in use here");
                    duty.lost();
                    workers.lease_metrics.lost.fetch_add(1, Relaxed);
                }
                (Ok(false), None) => {
                    let taken = format!("another process has the name {}", workers.owner);
                    failure = Some(StoreError::new("leases", taken));
                }
                (Err(error), _) => failure = Some(error),
            }
        }
        // By the next look it would be over.
        let next_look = Instant::now() + turn + turn;
        for duty in self.duties().filter(|duty| duty.runs_out_by(next_look)) {
            tracing::warn!(lease = duty.lease, "a lease could not be renewed in its time");
            duty.lost();
            workers.lease_metrics.lost.fetch_add(1, Relaxed);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Lets go what has ended as it was asked to, and reports what has ended by itself.
    async fn look(&mut self) {
        let workers = self.workers;
        let turn = self.turn_time();
        for duty in self.duties() {
            match duty.look().await {
                Ended::No => {}
                Ended::AsAsked => {
                    duty.ended().await;
                    let_go(workers, &duty.lease, turn).await;
                }
                Ended::Failed(why) => {
                    tracing::error!(lease = duty.lease, why, "stopped for good; the others go on");
                }
                Ended::Panicked => {
                    tracing::error!(lease = duty.lease, "a worker panicked; it is begun again");
                    let_go(workers, &duty.lease, turn).await;
                }
            }
        }
    }

    /// Brings what is held to this process's share.
    async fn balance(&mut self) -> Result<(), StoreError> {
        let (workers, turn) = (self.workers, self.turn_time());
        let held = in_time(turn, workers.leases.held("")).await?;
        let members: Vec<String> =
            held.iter().filter_map(|(lease, _)| lease.strip_prefix(MEMBER)).map(str::to_owned).collect();
        workers.lease_metrics.members.store(members.len() as u64, Relaxed);
        let share = share(self.queues.len(), &members, &workers.owner);
        let mut kept = self.queues.iter().filter(|duty| duty.is_kept()).count();
        // The last ones first: processes that begin at the front meet seldom.
        for duty in self.queues.iter_mut().rev().filter(|duty| duty.is_running()) {
            if kept <= share {
                break;
            }
            duty.end();
            kept -= 1;
        }
        let is_free = |lease: &str| !held.iter().any(|(name, owner)| name == lease && *owner != workers.owner);
        for (duty, consumer) in self.queues.iter_mut().zip(&workers.consumers) {
            if kept >= share {
                break;
            }
            if duty.is_held() || !is_free(&duty.lease) {
                continue;
            }
            if let Some(until) = take(workers, &duty.lease, turn).await? {
                tracing::info!(queue = consumer.queue.name(), "this process consumes the queue from now on");
                workers.lease_metrics.takeovers.fetch_add(1, Relaxed);
                let consumer = Arc::clone(consumer);
                duty.begin(until, |stop| async move { consumer.run(stop).await });
                kept += 1;
            }
        }
        if !self.relaying.is_held()
            && is_free(RELAY)
            && let Some(until) = take(workers, RELAY, turn).await?
        {
            tracing::info!("this process relays the outbox from now on");
            if let Some(takeover) = &workers.takeover {
                takeover();
            }
            let relay = self.relay.clone();
            self.relaying.begin(until, |stop| async move {
                relay.run(stop).await;
                Ok(())
            });
        }
        Ok(())
    }

    /// Ends everything, and lets go.
    async fn end(&mut self) {
        let (workers, turn) = (self.workers, self.turn_time());
        self.duties().for_each(Duty::end);
        let mut names = vec![format!("{MEMBER}{}", workers.owner)];
        for duty in self.duties().filter(|duty| duty.is_held()) {
            duty.ended().await;
            names.push(duty.lease.clone());
        }
        for name in names {
            let_go(workers, &name, turn).await;
        }
        *workers.board() = Board::default();
    }
}

/// Takes a lease; answers when it runs out.
async fn take(workers: &Workers, lease: &str, turn: Duration) -> Result<Option<Instant>, StoreError> {
    let asked = Instant::now();
    let ttl_ms = workers.config.lease_ms;
    let taken = in_time(turn, workers.leases.hold(lease, &workers.owner, ttl_ms)).await?;
    Ok(taken.then(|| asked + Duration::from_millis(ttl_ms)))
}

async fn let_go(workers: &Workers, lease: &str, turn: Duration) {
    if let Err(error) = in_time(turn, workers.leases.let_go(lease, &workers.owner)).await {
        tracing::warn!(lease, %error, "a lease is not let go; it runs out by itself");
    }
}

async fn in_time<T>(turn: Duration, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    tokio::time::timeout(turn, answer).await.unwrap_or_else(|_| Err(StoreError::new("leases", "no answer in time")))
}
