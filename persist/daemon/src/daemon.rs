//! The daemon: its parts, its start, and the tasks it runs.
//!
//! ```text
//!  new ──recover──► ready (everything in the log has its number) ──run──► consuming ──stop──► drained
//! ```
//!
//! `recover` comes before anything is sent; it does not wait for the archive. `run` is three loops and the state's warm-up in one
//! future: consume, relay, upkeep. Dropping it loses nothing: what was not committed is done again by
//! the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_store::ports::{Archive, Directory, EventLog, Gateways, LogReadError, SharedState, StoreError, Upkeep};
use thiserror::Error;
use tokio::sync::watch;

use crate::backoff::pause;
use crate::metrics::Metrics;
use crate::{batch, consume, relay};

/// Settings of the daemon.
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// Records of one transaction (default 16,384).
    pub batch_records: usize,
    /// Bytes of records of one transaction (default 16 MiB).
    pub batch_bytes: usize,
    /// How long a transaction waits for more records (default 250 ms): messages of a conversation lie side by
    /// side, so the more of them come at once, the fewer pages are written, and a trickle does not cost a
    /// flush each. Readers see messages before they are archived, so nobody waits for it.
    pub gather_ms: u64,
    /// Cursors are written and idle memory let go this often (default 1,000 ms).
    pub upkeep_ms: u64,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self { batch_records: 16_384, batch_bytes: 16 * 1024 * 1024, gather_ms: 250, upkeep_ms: 1_000 }
    }
}

/// What the daemon works on.
#[derive(Clone)]
pub struct Ports {
    /// Events come from here.
    pub log: Arc<dyn EventLog>,
    /// Numbers them.
    pub state: Arc<dyn SharedState>,
    /// Is told what is archived.
    pub upkeep: Arc<dyn Upkeep>,
    /// Keeps them.
    pub archive: Arc<dyn Archive>,
    /// Its outbox is relayed.
    pub directory: Arc<dyn Directory>,
}

/// Why the daemon cannot go on. All of it is still in the log.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// A store failed during recovery.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What `recover` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovered {
    /// Records that were not archived.
    pub records: u64,
    /// Messages among them.
    pub messages: u64,
    /// Records that are no events; they become dead letters when they are consumed.
    pub dead_letters: u64,
}

/// The daemon.
pub struct Daemon {
    pub(crate) ports: Ports,
    pub(crate) config: DaemonConfig,
    pub(crate) metrics: Arc<Metrics>,
}

impl Daemon {
    /// A daemon on these ports.
    #[must_use]
    pub fn new(ports: Ports, config: DaemonConfig) -> Self {
        Self { ports, config, metrics: Arc::new(Metrics::default()) }
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Its counters as Prometheus text.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        self.metrics.text(self.ports.log.end().0, self.ports.state.unarchived_bytes(), now_ms())
    }

    /// Numbers everything in the log that is not archived, so that the node may serve.
    ///
    /// # Errors
    /// The log or a store failed; nothing may be served.
    pub async fn recover(&self) -> Result<Recovered, DaemonError> {
        let mut next = self.ports.archive.consumed_offset().await?;
        self.metrics.consumed_offset.store(next.0, Relaxed);
        let mut recovered = Recovered { records: 0, messages: 0, dead_letters: 0 };
        loop {
            let records = self.ports.log.read(next, self.config.batch_records, self.config.batch_bytes).await?;
            if records.is_empty() {
                return Ok(recovered);
            }
            let decoded = batch::decode(&records);
            batch::number(&*self.ports.state, &decoded).await?;
            recovered.records += records.len() as u64;
            recovered.messages += decoded.messages.len() as u64;
            recovered.dead_letters += decoded.dead_letters.len() as u64;
            next = decoded.next_offset;
        }
    }

    /// Consumes the log, relays the outbox and keeps the state until `stop` turns true; then archives
    /// what is left, writes the cursors and returns.
    ///
    /// # Errors
    /// The log cannot be read any more: damage must stop the node, not be skipped.
    pub async fn run(&self, gateways: Arc<dyn Gateways>, stop: watch::Receiver<bool>) -> Result<(), DaemonError> {
        // When consuming fails, the other loops end with it.
        let (failed, both_stop) = either(stop.clone());
        let consume = async {
            let consumed = consume::run(self, stop).await;
            let _ = failed.send(true);
            consumed
        };
        let (consumed, (), (), ()) = tokio::join!(
            consume,
            relay::run(self, &*gateways, both_stop.clone()),
            self.upkeep(both_stop.clone()),
            self.warm_up(both_stop),
        );
        if let Err(error) = self.ports.upkeep.flush_cursors().await {
            tracing::warn!(%error, "cursors of the last moment are not written; devices are sent what they have again");
        }
        consumed
    }

    async fn warm_up(&self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            warm = self.ports.upkeep.warm_up() => if let Err(error) = warm {
                tracing::warn!(%error, "what was sent lately is not read; repeats are looked up one by one");
            },
            () = crate::backoff::stopped(&mut stop) => {}
        }
    }

    async fn upkeep(&self, mut stop: watch::Receiver<bool>) {
        while pause(Duration::from_millis(self.config.upkeep_ms), &mut stop).await {
            if let Err(error) = self.ports.upkeep.flush_cursors().await {
                self.metrics.retries.fetch_add(1, Relaxed);
                tracing::warn!(%error, "cursors are not written yet");
            }
            self.ports.upkeep.forget_idle(now_ms());
        }
    }
}

/// A stop of its own that follows `stop` and can be sent too.
fn either(mut stop: watch::Receiver<bool>) -> (watch::Sender<bool>, watch::Receiver<bool>) {
    let (sender, receiver) = watch::channel(*stop.borrow());
    let follower = sender.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = crate::backoff::stopped(&mut stop) => { let _ = follower.send(true); }
            () = follower.closed() => {}
        }
    });
    (sender, receiver)
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
