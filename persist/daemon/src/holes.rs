//! The watch over holes of the archive: one that stays is counted, and told with the node that has what is missing.
//!
//! ```text
//!   lease free ──taken──► every `look_ms`: the oldest holes ──older than `alarm_ms`, not told yet──► a line of the log
//! ```
//!
//! **Whose it is.** The message of a missing number was numbered, so the shared state holds it until it is archived, and
//! its id names the node that took it: that node's spool is where it waits. Where the state was lost too, nobody knows
//! which message it was; then the nodes that made those around it are told, as the one that is missing took part.
//!
//! One process of several looks, by the lease `holes`; another that takes over tells anew what still stands. Owns
//! nothing but counters; dropping `run` leaves the lease to run out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ringway_engine::ids::ConversationId;
use ringway_engine::snowflake::made_by;
use ringway_store::ports::{Archive, Hole, Holes, Leases, PageFrom, SharedState, StoreError};
use tokio::sync::watch;

use crate::backoff::pause;
use crate::limits::{HOLE_NEIGHBOURS, HOLES_LEASE_MS, HOLES_LISTED_MAX, HOLES_LOOK_MS};
use crate::metrics::{now_ms, write_holes};

const LEASE: &str = "holes";

/// Settings of [`HoleWatch`].
#[derive(Debug, Clone)]
pub struct HoleConfig {
    /// A hole this old is told.
    pub alarm_ms: u64,
    /// See [`HOLES_LOOK_MS`].
    pub look_ms: u64,
    /// See [`HOLES_LEASE_MS`]; at least four looks.
    pub lease_ms: u64,
}

impl HoleConfig {
    /// Defaults for holes of this age.
    #[must_use]
    pub fn older_than(alarm_ms: u64) -> Self {
        Self { alarm_ms, look_ms: HOLES_LOOK_MS, lease_ms: HOLES_LEASE_MS }
    }
}

/// What the watch works on.
#[derive(Clone)]
pub struct HolePorts {
    /// Where holes are found.
    pub holes: Arc<dyn Holes>,
    /// What lies around them.
    pub archive: Arc<dyn Archive>,
    /// Who has what is missing.
    pub state: Arc<dyn SharedState>,
    /// Who looks.
    pub leases: Arc<dyn Leases>,
}

/// The watch of one process.
pub struct HoleWatch {
    ports: HolePorts,
    owner: String,
    config: HoleConfig,
    /// Holes told.
    told: AtomicU64,
    /// Those that stand, past the bound.
    old: AtomicU64,
    /// Since when the oldest of all stands, Unix milliseconds; 0 when there is none or another process looks.
    oldest_ms: AtomicU64,
}

/// What is known of a hole.
#[derive(Debug, PartialEq, Eq)]
struct Story {
    /// The highest number that is missing without a gap.
    last: u64,
    /// The message that the lowest number is held for.
    msg_id: Option<u64>,
    /// Numbers of nodes: the one whose message it is, else those that may be it.
    nodes: BTreeSet<u64>,
}

/// Holes by conversation and lowest number.
type Told = BTreeSet<(String, u64)>;

impl HoleWatch {
    /// A watch on these ports. `owner` names the process; no two that live have the same.
    #[must_use]
    pub fn new(ports: HolePorts, owner: String, config: HoleConfig) -> Self {
        let [told, old, oldest_ms] = Default::default();
        Self { ports, owner, config, told, old, oldest_ms }
    }

    /// Its counters as Prometheus text.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let oldest_ms = self.oldest_ms.load(Relaxed);
        let age_ms = if oldest_ms == 0 { 0 } else { now_ms().saturating_sub(oldest_ms) };
        let mut text = String::new();
        write_holes(&mut text, self.told.load(Relaxed), self.old.load(Relaxed), age_ms);
        text
    }

    /// Looks while this process holds the lease, until `stop` turns true; then lets it go.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut told = Told::new();
        loop {
            if let Err(error) = self.look(&mut told).await {
                tracing::warn!(%error, "holes of the archive are not known; looking again later");
            }
            if !pause(Duration::from_millis(self.config.look_ms), &mut stop).await {
                break;
            }
        }
        if let Err(error) = self.ports.leases.let_go(LEASE, &self.owner).await {
            tracing::warn!(%error, "the lease of the watch over holes is not let go; it runs out by itself");
        }
    }

    async fn look(&self, told: &mut Told) -> Result<(), StoreError> {
        if !self.ports.leases.hold(LEASE, &self.owner, self.config.lease_ms).await? {
            told.clear();
            self.old.store(0, Relaxed);
            self.oldest_ms.store(0, Relaxed);
            return Ok(());
        }
        let found = self.ports.holes.oldest_holes(HOLES_LISTED_MAX).await?;
        let now_ms = now_ms();
        let is_old = |hole: &&Hole| now_ms.saturating_sub(hole.since_ms) >= self.config.alarm_ms;
        let old: Vec<&Hole> = found.iter().filter(is_old).collect();
        self.oldest_ms.store(found.first().map_or(0, |hole| hole.since_ms), Relaxed);
        self.old.store(old.len() as u64, Relaxed);
        let key = |hole: &Hole| (hole.conv.clone(), hole.first);
        let standing: Told = old.iter().map(|hole| key(hole)).collect();
        told.retain(|hole| standing.contains(hole));
        for hole in old {
            if told.contains(&key(hole)) {
                continue;
            }
            // One that was filled a moment ago is none.
            if let Some(story) = self.story(hole).await? {
                tell(hole, &story, now_ms);
                self.told.fetch_add(1, Relaxed);
                told.insert(key(hole));
            }
        }
        Ok(())
    }

    async fn story(&self, hole: &Hole) -> Result<Option<Story>, StoreError> {
        let conv = ConversationId::parse(&hole.conv).map_err(|error| StoreError::new("archive", error))?;
        let HolePorts { archive, state, .. } = &self.ports;
        let before = PageFrom::After(hole.first.saturating_sub(1));
        let above = archive.page(&conv, before, HOLE_NEIGHBOURS).await?;
        let Some(next) = above.first().map(|next| next.seq).filter(|next| *next > hole.first) else { return Ok(None) };
        let held = state.page(&conv, before, 1).await?.items;
        let msg_id = held.first().filter(|held| held.seq == hole.first).map(|held| held.msg_id);
        let nodes = match msg_id {
            Some(msg_id) => BTreeSet::from([made_by(msg_id)]),
            None => {
                let below = archive.page(&conv, PageFrom::Before(hole.first), HOLE_NEIGHBOURS).await?;
                below.iter().chain(&above).map(|item| made_by(item.msg_id)).collect()
            }
        };
        Ok(Some(Story { last: next - 1, msg_id, nodes }))
    }
}

fn tell(hole: &Hole, story: &Story, now_ms: u64) {
    let (Hole { conv, first, since_ms }, Story { last, msg_id, nodes }) = (hole, story);
    let age_ms = now_ms.saturating_sub(*since_ms);
    let why = if msg_id.is_some() { "its node has the message" } else { "nobody has it, readers stop below" };
    tracing::error!(conv, first, last, age_ms, ?nodes, msg_id, "a hole of the archive: {why}");
}
