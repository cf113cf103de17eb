//! The daemon of a node that has everything in one process: one queue, one consumer, no leases.
//!
//! ```text
//!  new ──recover──► ready (everything in the log has its number) ──run──► consuming ──stop──► drained
//! ```
//!
//! `recover` comes before anything is sent; it does not wait for the archive. `run` is three loops and the state's warm-up in one
//! future: consume, relay, upkeep. Dropping it loses nothing: what was not committed is done again by
//! the next one. Processes that share several queues run [`crate::Workers`].

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ringway_store::ports::{Archive, Directory, Gateways, LogQueue, LogReadError, SharedState, StoreError, Upkeep};
use thiserror::Error;
use tokio::sync::watch;

use crate::batch;
use crate::config::DaemonConfig;
use crate::consumer::Consumer;
use crate::metrics::{ProcessMetrics, QueueMetrics, QueueReading, now_ms, write_process, write_queues};
use crate::relay::Relay;
use crate::trace::TraceRing;
use crate::upkeep::Keeper;

/// What the daemon works on.
#[derive(Clone)]
pub struct Ports {
    /// Events come from here.
    pub log: Arc<dyn LogQueue>,
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
    consumer: Consumer,
    trace: Arc<TraceRing>,
    directory: Arc<dyn Directory>,
    metrics: Arc<ProcessMetrics>,
}

impl Daemon {
    /// A daemon on these ports.
    #[must_use]
    pub fn new(ports: Ports, config: DaemonConfig) -> Self {
        let Ports { log: queue, state, upkeep, archive, directory } = ports;
        let ring = TraceRing::new(vec![queue.name().to_owned()]);
        let (metrics, trace) = (Arc::default(), ring.of_queue(0));
        let consumer = Consumer {
            queue,
            archive,
            state,
            upkeep,
            config,
            metrics,
            drains: true,
            watcher: None,
            recall_ms: 0,
            recalling: Arc::default(),
            trace,
        };
        Self { consumer, trace: ring, directory, metrics: Arc::default() }
    }

    /// Counters of its queue.
    #[must_use]
    pub fn metrics(&self) -> &Arc<QueueMetrics> {
        &self.consumer.metrics
    }

    /// Counters of its relay and upkeep.
    #[must_use]
    pub fn process_metrics(&self) -> &Arc<ProcessMetrics> {
        &self.metrics
    }

    /// Its counters as Prometheus text.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let Consumer { queue, state, metrics, .. } = &self.consumer;
        let mut text = String::new();
        write_queues(&mut text, &[QueueReading { label: None, metrics, end: queue.end().0 }], now_ms());
        write_process(&mut text, &self.metrics, metrics.retries.load(Relaxed), state.unarchived_bytes());
        text
    }

    /// A JSON array of the hops of a message that it remembers, oldest first.
    #[must_use]
    pub fn trace(&self, msg_id: u64) -> String {
        self.trace.find(msg_id, None)
    }

    /// Numbers everything in the log that is not archived, so that the node may serve.
    ///
    /// # Errors
    /// The log or a store failed; nothing may be served.
    pub async fn recover(&self) -> Result<Recovered, DaemonError> {
        let Consumer { queue, archive, state, config, metrics, .. } = &self.consumer;
        let mut next = archive.consumed_offset().await?;
        metrics.consumed_offset.store(next.0, Relaxed);
        let mut recovered = Recovered { records: 0, messages: 0, dead_letters: 0 };
        loop {
            let records = queue.read(next, config.batch_records, config.batch_bytes).await?;
            if records.is_empty() {
                return Ok(recovered);
            }
            let decoded = batch::decode(&records);
            batch::number(&**state, &decoded).await?;
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
            let consumed = self.consumer.run(stop).await;
            let _ = failed.send(true);
            consumed
        };
        let relay = Relay { directory: self.directory.clone(), gateways, metrics: self.metrics.clone() };
        let Consumer { upkeep, config, .. } = &self.consumer;
        let keeper = Keeper { upkeep, every_ms: config.upkeep_ms, metrics: &self.metrics };
        let (consumed, (), ()) = tokio::join!(consume, relay.run(both_stop.clone()), keeper.run(both_stop));
        keeper.finish().await;
        Ok(consumed?)
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
