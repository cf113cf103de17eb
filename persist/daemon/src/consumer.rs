//! The consumer of one queue: read, number, archive, release.
//!
//! Invariants: the queue is released only up to what a committed transaction has recorded; the loop never
//! goes past a batch that is not committed. A store that fails is tried again without end: sends stay
//! acknowledged meanwhile, bounded by `UNARCHIVED_BYTES_MAX` at the gateway. A batch whose epoch ended
//! between numbering and commit is numbered again; one that the archive refuses for what is in it is taken apart
//! (see `poison`). Of two consumers of one queue one goes on, and the other reads anew from where the archive says.
//!
//! Runs on tokio. Dropping it loses nothing: what was not committed is done again by the next one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringway_store::ports::{
    Archive, ArchiveBatch, CommitError, LogOffset, LogQueue, LogReadError, LogRecord, SharedState, StoreError, Upkeep,
};
use tokio::sync::{Mutex, watch};

use crate::backoff::{Backoff, pause, stopped};
use crate::batch::{self, Decoded};
use crate::config::DaemonConfig;
use crate::limits::RECALL_TRIES_MAX;
use crate::metrics::{QueueMetrics, now_ms};
use crate::recall::{Recalled, recall};
use crate::trace::QueueTrace;

/// One queue and what it is brought into.
pub(crate) struct Consumer {
    pub(crate) queue: Arc<dyn LogQueue>,
    /// The archive, with the offset of this queue.
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) state: Arc<dyn SharedState>,
    pub(crate) upkeep: Arc<dyn Upkeep>,
    pub(crate) config: DaemonConfig,
    pub(crate) metrics: Arc<QueueMetrics>,
    /// Whether a stop waits until nothing is left in the queue, or for the batch at hand only.
    pub(crate) drains: bool,
    /// Is told what has been archived.
    pub(crate) watcher: Option<Watcher>,
    /// How far back it is told of what was archived before; 0: not at all.
    pub(crate) recall_ms: u64,
    /// Held by the consumer of the process that looks back.
    pub(crate) recalling: Arc<Mutex<()>>,
    /// Remembers what became of messages.
    pub(crate) trace: QueueTrace,
}

/// Told of each batch once it is archived, by the consumer, which waits for it: it must not take long. A batch may
/// come more than once.
pub type Watcher = Arc<dyn Fn(&ArchiveBatch) + Send + Sync>;

/// What became of some records.
#[derive(Debug)]
pub(crate) enum Consumed {
    /// They are archived: the queue is consumed up to here.
    UpTo(LogOffset),
    /// The queue is to be read again from another place.
    Elsewhere,
}

/// How a commit ended.
#[derive(Debug)]
pub(crate) enum Committed {
    Done(Box<ArchiveBatch>),
    /// Another consumer was faster, or was told to read again.
    Elsewhere,
    /// The archive answers, and refuses this batch again and again.
    Refused(StoreError),
}

/// How often a batch may fail.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Failures before it is asked whether the archive is there at all.
    pub(crate) failures_max: u32,
    /// Failures in a row, after those, with an archive that is there.
    pub(crate) refusals_max: u32,
}

impl Consumer {
    /// Consumes until the stop.
    pub(crate) async fn run(&self, stop: watch::Receiver<bool>) -> Result<(), LogReadError> {
        let beside = async {
            self.recall(stop.clone()).await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            consumed = self.consume_all(stop.clone()) => consumed,
            never = beside => match never {},
        }
    }

    /// Tells the watcher what was archived last before this consumer began. One queue of the process after the other.
    async fn recall(&self, mut stop: watch::Receiver<bool>) {
        let Some(watcher) = self.watcher.as_ref().filter(|_| self.recall_ms > 0) else { return };
        let _turn = self.recalling.lock().await;
        let (queue, mut backoff) = (self.queue.name(), Backoff::new());
        for tries in 1..=RECALL_TRIES_MAX {
            let Recalled { batch, error } = recall(&*self.queue, &*self.archive, self.recall_ms).await;
            let Some(error) = error else {
                tracing::debug!(queue, conversations = batch.messages.len(), "what was archived last is kept in mind");
                return watcher(&batch);
            };
            tracing::warn!(queue, %error, "what was archived last is not known whole: some may not be reminded");
            if tries == RECALL_TRIES_MAX {
                return watcher(&batch);
            }
            if !backoff.wait(&mut stop).await {
                return;
            }
        }
    }

    async fn consume_all(&self, mut stop: watch::Receiver<bool>) -> Result<(), LogReadError> {
        let Some(mut next) = self.consumed_offset(&mut stop).await else { return Ok(()) };
        loop {
            let records = match self.next_records(next, &mut stop).await {
                Ok(records) if records.is_empty() => return Ok(()),
                Ok(records) => records,
                Err(LogReadError::Closed) => return Ok(()),
                Err(error) => {
                    let queue = self.queue.name();
                    tracing::error!(queue, %error, offset = next.0, "the queue cannot be read; nothing more is archived");
                    return Err(error);
                }
            };
            self.metrics.oldest_ms.store(batch::oldest_ms(&records), Relaxed);
            match self.consume(&records, &mut stop).await {
                Some(Consumed::UpTo(offset)) => next = offset,
                Some(Consumed::Elsewhere) => match self.consumed_offset(&mut stop).await {
                    Some(offset) => {
                        self.metrics.replays.fetch_add(u64::from(offset < next), Relaxed);
                        next = offset;
                    }
                    None => return Ok(()),
                },
                None => return Ok(()),
            }
            self.metrics.oldest_ms.store(0, Relaxed);
        }
    }

    async fn consumed_offset(&self, stop: &mut watch::Receiver<bool>) -> Option<LogOffset> {
        let mut backoff = Backoff::new();
        loop {
            match self.archive.consumed_offset().await {
                Ok(offset) => {
                    self.metrics.consumed_offset.store(offset.0, Relaxed);
                    return Some(offset);
                }
                Err(error) => self.retry(&error, "the archive's offset is not known", &mut backoff, stop).await?,
            }
        }
    }

    /// The next records; none when a stop was asked for, and nothing is left or the rest is another's.
    async fn next_records(
        &self,
        next: LogOffset,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Vec<LogRecord>, LogReadError> {
        let mut backoff = Backoff::new();
        loop {
            match self.try_next_records(next, stop).await {
                Err(error @ LogReadError::Unavailable(_)) => {
                    let queue = self.queue.name();
                    self.metrics.retries.fetch_add(1, Relaxed);
                    tracing::warn!(queue, %error, "the queue is not read yet");
                    if !backoff.wait(stop).await {
                        return Ok(Vec::new());
                    }
                }
                other => return other,
            }
        }
    }

    async fn try_next_records(
        &self,
        next: LogOffset,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Vec<LogRecord>, LogReadError> {
        let (queue, config) = (&self.queue, &self.config);
        tokio::select! {
            waited = queue.wait_for(next) => {
                waited?;
                let waiting = queue.end().0.saturating_sub(next.0);
                if waiting < config.batch_records as u64 {
                    pause(Duration::from_millis(config.gather_ms), stop).await;
                }
            }
            () = stopped(stop) => {}
        }
        if *stop.borrow() && !self.drains {
            return Ok(Vec::new());
        }
        let mut records = queue.read(next, config.batch_records, config.batch_bytes).await?;
        let mut bytes: usize = records.iter().map(|record| record.bytes.len()).sum();
        // A queue may give fewer at once than there are; a transaction takes many.
        while let Some(last) = records.last() {
            let after = LogOffset(last.offset.0 + 1);
            let room = config.batch_records.saturating_sub(records.len());
            if room == 0 || bytes >= config.batch_bytes || after >= queue.end() {
                break;
            }
            let Ok(more) = queue.read(after, room, config.batch_bytes - bytes).await else { break };
            if more.is_empty() {
                break;
            }
            bytes += more.iter().map(|record| record.bytes.len()).sum::<usize>();
            records.extend(more);
        }
        Ok(records)
    }

    /// Numbers and archives; none when a stop came while a store was away.
    pub(crate) async fn commit(
        &self,
        decoded: &Decoded,
        patience: Patience,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<Committed> {
        let mut batch = self.numbered(decoded, stop).await?;
        let mut backoff = Backoff::new();
        let (mut failures, mut refusals) = (0_u32, 0);
        loop {
            let started = Instant::now();
            let committed = self.archive.commit(&batch).await;
            let spent_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.metrics.commit_us.fetch_add(spent_us, Relaxed);
            match committed {
                Ok(()) => {
                    self.trace.archived(&batch.messages);
                    return Some(Committed::Done(Box::new(batch)));
                }
                Err(CommitError::Store(error)) => {
                    failures = failures.saturating_add(1);
                    if failures > patience.failures_max {
                        // Only what fails while the store is there, each time anew, was about the batch.
                        refusals = if self.takes_an_empty_batch(&batch).await { refusals + 1 } else { 0 };
                    }
                    if refusals >= patience.refusals_max {
                        return Some(Committed::Refused(error));
                    }
                    self.retry(&error, "a batch is not archived yet", &mut backoff, stop).await?;
                }
                Err(moved @ CommitError::Moved { .. }) => {
                    tracing::info!(queue = self.queue.name(), %moved, "the archive goes on at another place");
                    return Some(Committed::Elsewhere);
                }
                Err(stale @ CommitError::Stale { .. }) => {
                    let stale = StoreError::new("archive", stale);
                    self.retry(&stale, "a batch is to be numbered again", &mut backoff, stop).await?;
                    batch = self.numbered(decoded, stop).await?;
                }
            }
        }
    }

    /// Whether the archive carries out a transaction at this place of the queue that has nothing in it.
    async fn takes_an_empty_batch(&self, batch: &ArchiveBatch) -> bool {
        let Some(first) = batch.first_offset else { return false };
        let empty = ArchiveBatch { first_offset: Some(first), next_offset: first, ..ArchiveBatch::default() };
        // Elsewhere is an answer too; the next try of the batch itself gets it.
        !matches!(self.archive.commit(&empty).await, Err(CommitError::Store(_) | CommitError::Moved { .. }))
    }

    async fn numbered(&self, decoded: &Decoded, stop: &mut watch::Receiver<bool>) -> Option<ArchiveBatch> {
        let mut backoff = Backoff::new();
        let messages = loop {
            match batch::number(&*self.state, decoded).await {
                Ok(messages) => break messages,
                Err(error) => self.retry(&error, "a batch is not numbered yet", &mut backoff, stop).await?,
            }
        };
        self.trace.numbered(&messages);
        Some(decoded.to_batch(messages))
    }

    /// What follows a commit: the state is told, the queue released.
    pub(crate) async fn committed(
        &self,
        decoded: &Decoded,
        batch: &ArchiveBatch,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<()> {
        let mut backoff = Backoff::new();
        while let Err(error) = self.upkeep.archived(batch).await {
            self.retry(&error, "the state does not know yet what is archived", &mut backoff, stop).await?;
        }
        if let Some(watcher) = &self.watcher {
            watcher(batch);
        }
        self.queue.release(batch.next_offset);
        let (metrics, messages) = (&self.metrics, batch.messages.len() as u64);
        metrics.repeats.fetch_add((decoded.messages.len() as u64).saturating_sub(messages), Relaxed);
        metrics.archived_messages.fetch_add(messages, Relaxed);
        metrics.archived_batches.fetch_add(1, Relaxed);
        metrics.batch_messages.store(messages, Relaxed);
        metrics.dead_letters.fetch_add(batch.dead_letters.len() as u64, Relaxed);
        metrics.consumed_offset.store(batch.next_offset.0, Relaxed);
        metrics.rate.add(messages, now_ms());
        Some(())
    }

    /// Waits before the next try; none when a stop was asked for: the rest is done at the next start.
    pub(crate) async fn retry(
        &self,
        error: &StoreError,
        what: &str,
        backoff: &mut Backoff,
        stop: &mut watch::Receiver<bool>,
    ) -> Option<()> {
        self.metrics.retries.fetch_add(1, Relaxed);
        tracing::warn!(queue = self.queue.name(), %error, "{what}");
        backoff.wait(stop).await.then_some(())
    }
}
