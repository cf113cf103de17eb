//! The drift check: rounds that compare the shared state with SQL, and repair.
//!
//! ```text
//!   lease free ──taken──► holder ──every `every_ms`──► a round, page after page ──► holder
//!                           │ another's by now, or not renewed in its time: the round is dropped
//! ```
//!
//! One process of several walks, by the lease `drift`, which it keeps while it lives; another's first round begins
//! `every_ms` after it took over. The lease spares work and no more: two rounds at once do no harm. A round that a store
//! interrupts goes on where it was; one that it fails too often is given up, and the next one begins anew.
//!
//! Owns nothing but counters. Dropping `run` leaves the lease to run out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ringway_store::ports::{Drift, DriftKind, DriftRound, Drifted, Leases, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::{Backoff, pause, stopped};
use crate::limits::{DRIFT_FAILURES_MAX, DRIFT_LEASE_MS, DRIFT_PAUSE_MS, DRIFT_TURN_MS};
use crate::metrics::write_drift;

const LEASE: &str = "drift";

/// Settings of [`DriftCheck`].
#[derive(Debug, Clone)]
pub struct DriftConfig {
    /// A round begins this often.
    pub every_ms: u64,
    /// See [`DRIFT_PAUSE_MS`].
    pub pause_ms: u64,
    /// See [`DRIFT_TURN_MS`].
    pub turn_ms: u64,
    /// See [`DRIFT_LEASE_MS`]; at least four turns.
    pub lease_ms: u64,
}

impl DriftConfig {
    /// Defaults for rounds that begin this often.
    #[must_use]
    pub fn every(every_ms: u64) -> Self {
        Self { every_ms, pause_ms: DRIFT_PAUSE_MS, turn_ms: DRIFT_TURN_MS, lease_ms: DRIFT_LEASE_MS }
    }
}

/// Counters of the check.
#[derive(Debug, Default)]
pub struct DriftMetrics {
    /// Rounds that came to their end.
    pub rounds: AtomicU64,
    /// Conversations compared.
    pub conversations: AtomicU64,
    /// Calls that failed.
    pub failures: AtomicU64,
    /// Repairs of each kind, in the order of [`DriftKind::ALL`].
    pub repaired: [AtomicU64; DriftKind::ALL.len()],
    /// Whether this process is the one that walks.
    pub held: AtomicBool,
}

impl DriftMetrics {
    fn count(&self, page: &Drifted) {
        self.conversations.fetch_add(page.conversations, Relaxed);
        for (counter, kind) in self.repaired.iter().zip(DriftKind::ALL) {
            counter.fetch_add(page.repaired(kind), Relaxed);
        }
    }
}

/// The check of one process.
pub struct DriftCheck {
    drift: Arc<dyn Drift>,
    leases: Arc<dyn Leases>,
    owner: String,
    config: DriftConfig,
    metrics: DriftMetrics,
}

/// How a round came to its end.
enum Ended {
    Whole,
    GivenUp,
    Stopped,
    /// The lease is another's, or was not renewed in its time.
    LeaseLost,
}

impl DriftCheck {
    /// A check on these ports. `owner` names the process; no two that live have the same.
    #[must_use]
    pub fn new(drift: Arc<dyn Drift>, leases: Arc<dyn Leases>, owner: String, config: DriftConfig) -> Self {
        Self { drift, leases, owner, config, metrics: DriftMetrics::default() }
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &DriftMetrics {
        &self.metrics
    }

    /// Its counters as Prometheus text.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        write_drift(&mut text, &self.metrics);
        text
    }

    /// Walks whenever it is due and this process holds the lease, until `stop` turns true; then lets it go.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let every = Duration::from_millis(self.config.every_ms);
        let mut due = Instant::now() + every;
        let mut until = None;
        loop {
            until = self.hold(until).await;
            self.metrics.held.store(until.is_some(), Relaxed);
            match until {
                None => due = Instant::now() + every,
                Some(held) if Instant::now() >= due => {
                    due = Instant::now() + every;
                    if matches!(self.walk(held, &mut stop).await, Ended::LeaseLost) {
                        tracing::warn!("the drift check's lease was lost: whoever has it goes on");
                    }
                    // Asked for anew: the round has renewed it, or lost it.
                    until = None;
                }
                Some(_) => {}
            }
            if !pause(self.to_wait(due), &mut stop).await {
                break;
            }
        }
        if let Err(error) = self.leases.let_go(LEASE, &self.owner).await {
            tracing::warn!(%error, "the drift check's lease is not let go; it runs out by itself");
        }
    }

    fn to_wait(&self, due: Instant) -> Duration {
        Duration::from_millis(self.config.turn_ms).min(due.saturating_duration_since(Instant::now()))
    }

    /// Takes or renews the lease; answers until when it is held, at least. `until` is what was known before.
    async fn hold(&self, until: Option<Instant>) -> Option<Instant> {
        let asked = Instant::now();
        let call = self.leases.hold(LEASE, &self.owner, self.config.lease_ms);
        let answer = tokio::time::timeout(Duration::from_millis(self.config.turn_ms), call).await;
        match answer.unwrap_or_else(|_| Err(StoreError::new("leases", "no answer in time"))) {
            Ok(true) => Some(asked + Duration::from_millis(self.config.lease_ms)),
            Ok(false) => None,
            Err(error) => {
                self.metrics.failures.fetch_add(1, Relaxed);
                tracing::warn!(%error, "the drift check's lease is not known");
                until.filter(|until| *until > Instant::now())
            }
        }
    }

    /// One round, while the lease is held.
    async fn walk(&self, mut until: Instant, stop: &mut watch::Receiver<bool>) -> Ended {
        let mut walk = Walk::new(&*self.drift);
        let turn = Duration::from_millis(self.config.turn_ms);
        let mut renewed = Instant::now();
        loop {
            if renewed.elapsed() >= turn {
                match self.hold(Some(until)).await {
                    Some(held) => (until, renewed) = (held, Instant::now()),
                    None => return Ended::LeaseLost,
                }
            }
            // A page that takes longer than the lease lasts is dropped: another process walks by then.
            let stepped = tokio::select! {
                stepped = walk.step() => stepped,
                () = stopped(stop) => return Ended::Stopped,
                () = tokio::time::sleep_until(until) => return Ended::LeaseLost,
            };
            match stepped {
                Ok(Some(page)) => {
                    self.metrics.count(&page);
                    if !pause(Duration::from_millis(self.config.pause_ms), stop).await {
                        return Ended::Stopped;
                    }
                }
                Ok(None) => {
                    self.metrics.rounds.fetch_add(1, Relaxed);
                    walk.report();
                    return Ended::Whole;
                }
                Err(error) => {
                    self.metrics.failures.fetch_add(1, Relaxed);
                    if !walk.may_fail_again() {
                        tracing::warn!(%error, "a round of the drift check is given up; the next one begins anew");
                        return Ended::GivenUp;
                    }
                    tracing::debug!(%error, "a page of the drift check is tried again");
                    if !walk.backoff.wait(stop).await {
                        return Ended::Stopped;
                    }
                }
            }
        }
    }
}

/// A round on its way.
struct Walk {
    round: Box<dyn DriftRound>,
    all: Drifted,
    failures: u32,
    backoff: Backoff,
    began: Instant,
}

impl Walk {
    fn new(drift: &dyn Drift) -> Self {
        let (round, backoff) = (drift.round(), Backoff::new());
        Self { round, all: Drifted::default(), failures: 0, backoff, began: Instant::now() }
    }

    async fn step(&mut self) -> Result<Option<Drifted>, StoreError> {
        let page = self.round.next().await?;
        self.failures = 0;
        self.backoff.reset();
        self.all.add(&page.unwrap_or_default());
        Ok(page)
    }

    fn may_fail_again(&mut self) -> bool {
        self.failures += 1;
        self.failures < DRIFT_FAILURES_MAX
    }

    fn report(&self) {
        let Drifted { conversations, users, .. } = self.all;
        let of = |kind: DriftKind| (kind.name(), self.all.repaired(kind));
        let repaired: Vec<_> = DriftKind::ALL.into_iter().map(of).filter(|(_, count)| *count > 0).collect();
        let took_ms = self.began.elapsed().as_millis() as u64;
        tracing::info!(conversations, users, ?repaired, took_ms, "a round of the drift check is over");
    }
}

/// One whole round, now, without a lease and without pauses.
///
/// # Errors
/// A store failed too often; what was repaired until then stays so.
pub async fn check_drift(drift: &dyn Drift) -> Result<Drifted, StoreError> {
    let mut walk = Walk::new(drift);
    // Nobody asks it to stop but by dropping it.
    let (_stop, mut stopped) = watch::channel(false);
    loop {
        match walk.step().await {
            Ok(Some(_)) => {}
            Ok(None) => {
                walk.report();
                return Ok(walk.all);
            }
            Err(error) if !walk.may_fail_again() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a page of the drift check is tried again");
                walk.backoff.wait(&mut stopped).await;
            }
        }
    }
}
