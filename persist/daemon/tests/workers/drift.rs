//! The drift check: one process walks, round after round; and what its rounds do when a store or the process is away.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ringway_persist::{DriftCheck, DriftConfig, check_drift};
use ringway_store::ports::{Drift, DriftKind, DriftRound, Drifted, Leases as _, StoreError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::leases::MemoryLeases;
use crate::parts::until;

/// Pages of the first round of the state in these tests; later rounds find nothing, so that counters stand still.
const PAGES: u64 = 4;

/// A state with so many copies too many in every page of its first round, that fails on demand.
#[derive(Default)]
struct State {
    drifted: Arc<Mutex<u64>>,
    /// Calls that fail.
    away: Arc<AtomicU64>,
    rounds: AtomicU64,
}

struct Round {
    pages: u64,
    drifted: Arc<Mutex<u64>>,
    away: Arc<AtomicU64>,
}

impl Drift for State {
    fn round(&self) -> Box<dyn DriftRound> {
        let pages = if self.rounds.fetch_add(1, Relaxed) == 0 { PAGES } else { 0 };
        Box::new(Round { pages, drifted: self.drifted.clone(), away: self.away.clone() })
    }
}

#[async_trait]
impl DriftRound for Round {
    async fn next(&mut self) -> Result<Option<Drifted>, StoreError> {
        if self.away.fetch_update(Relaxed, Relaxed, |away| away.checked_sub(1)).is_ok() {
            return Err(StoreError::new("state", "away"));
        }
        if self.pages == 0 {
            return Ok(None);
        }
        self.pages -= 1;
        let mut page = Drifted::looked_at(10, 0);
        page.repair(DriftKind::Copy, std::mem::take(&mut *self.drifted.lock().unwrap()));
        Ok(Some(page))
    }
}

/// A process that checks.
struct Process {
    check: Arc<DriftCheck>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Process {
    fn start(name: &str, state: &Arc<State>, leases: &Arc<MemoryLeases>) -> Self {
        let config = DriftConfig { every_ms: 40, pause_ms: 1, turn_ms: 20, lease_ms: 200 };
        let check = Arc::new(DriftCheck::new(state.clone(), leases.clone(), name.to_owned(), config));
        let (stop, stopped) = watch::channel(false);
        let running = Arc::clone(&check);
        Self { check, stop, task: tokio::spawn(async move { running.run(stopped).await }) }
    }

    fn rounds(&self) -> u64 {
        self.check.metrics().rounds.load(Relaxed)
    }
}

#[tokio::test]
async fn one_process_walks_and_another_goes_on_when_it_is_gone() {
    let (state, leases) = (Arc::new(State::default()), Arc::new(MemoryLeases::default()));
    *state.drifted.lock().unwrap() = 3;
    let one = Process::start("one", &state, &leases);
    until("rounds", async || one.rounds() >= 1).await;
    let other = Process::start("other", &state, &leases);
    let before = one.rounds();
    until("more rounds", async || one.rounds() >= before + 3).await;
    assert_eq!(other.rounds(), 0);
    let text = one.check.metrics_text();
    for row in
        ["drift_repaired_total{kind=\"copies\"} 3", "drift_repaired_total{kind=\"heads\"} 0", "drift_check_held 1"]
    {
        assert!(text.contains(&format!("\nringway_persist_{row}\n")), "{row} is not in {text}");
    }
    assert!(other.check.metrics_text().contains("\nringway_persist_drift_check_held 0\n"));
    // Killed: its lease runs out.
    one.task.abort();
    until("rounds of the other", async || other.rounds() > 0).await;
    other.stop.send_replace(true);
    other.task.await.unwrap();
    assert_eq!(leases.held("").await.unwrap(), [], "let go in order");
}

#[tokio::test]
async fn a_round_goes_on_where_a_store_was_away() {
    let (state, leases) = (Arc::new(State::default()), Arc::new(MemoryLeases::default()));
    state.away.store(2, Relaxed);
    let process = Process::start("one", &state, &leases);
    until("a round", async || process.rounds() >= 1).await;
    let metrics = process.check.metrics();
    assert_eq!((metrics.failures.load(Relaxed), metrics.conversations.load(Relaxed)), (2, 10 * PAGES));
}

#[tokio::test]
async fn a_check_by_order_is_one_whole_round_or_an_error() {
    let state = State::default();
    *state.drifted.lock().unwrap() = 5;
    state.away.store(1, Relaxed);
    let checked = check_drift(&state).await.unwrap();
    assert_eq!((checked.conversations, checked.repaired(DriftKind::Copy), checked.repairs()), (10 * PAGES, 5, 5));
    assert_eq!(state.rounds.load(Relaxed), 1);
    state.away.store(u64::MAX, Relaxed);
    assert_eq!(check_drift(&state).await.unwrap_err().message, "away");
}
