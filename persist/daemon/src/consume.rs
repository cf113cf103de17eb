//! The consuming loop: read, number, archive, release.
//!
//! Invariants: the log is released only up to what a committed transaction has recorded; the loop never
//! goes past a batch that is not committed. A store that fails is tried again without end: sends stay
//! acknowledged meanwhile, bounded by `UNARCHIVED_BYTES_MAX` at the gateway.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringway_store::ports::{ArchiveBatch, LogOffset, LogReadError, LogRecord, StoreError};
use tokio::sync::watch;

use crate::backoff::{Backoff, pause, stopped};
use crate::batch::{self, Decoded};
use crate::daemon::{Daemon, DaemonError};

pub(crate) async fn run(daemon: &Daemon, mut stop: watch::Receiver<bool>) -> Result<(), DaemonError> {
    let Some(mut next) = consumed_offset(daemon, &mut stop).await else { return Ok(()) };
    daemon.metrics.consumed_offset.store(next.0, Relaxed);
    loop {
        let records = match next_records(daemon, next, &mut stop).await {
            Ok(records) if records.is_empty() => return Ok(()),
            Ok(records) => records,
            Err(LogReadError::Closed) => return Ok(()),
            Err(error) => {
                tracing::error!(%error, offset = next.0, "the event log cannot be read; nothing more is archived");
                return Err(error.into());
            }
        };
        let Some(batch) = consume(daemon, &records, &mut stop).await else { return Ok(()) };
        next = batch.next_offset;
    }
}

async fn consumed_offset(daemon: &Daemon, stop: &mut watch::Receiver<bool>) -> Option<LogOffset> {
    let mut backoff = Backoff::new();
    loop {
        match daemon.ports.archive.consumed_offset().await {
            Ok(offset) => return Some(offset),
            Err(error) => retry(daemon, &error, "the archive's offset is not known", &mut backoff, stop).await?,
        }
    }
}

/// The next records; none when a stop was asked for and nothing is left.
async fn next_records(
    daemon: &Daemon,
    next: LogOffset,
    stop: &mut watch::Receiver<bool>,
) -> Result<Vec<LogRecord>, LogReadError> {
    let (log, config) = (&daemon.ports.log, &daemon.config);
    tokio::select! {
        waited = log.wait_for(next) => {
            waited?;
            let waiting = log.end().0.saturating_sub(next.0);
            if waiting < config.batch_records as u64 {
                pause(Duration::from_millis(config.gather_ms), stop).await;
            }
        }
        () = stopped(stop) => {}
    }
    log.read(next, config.batch_records, config.batch_bytes).await
}

/// Brings one batch into the archive; none when a stop came while a store was away.
async fn consume(daemon: &Daemon, records: &[LogRecord], stop: &mut watch::Receiver<bool>) -> Option<ArchiveBatch> {
    let (ports, metrics) = (&daemon.ports, &daemon.metrics);
    let decoded = batch::decode(records);
    metrics.oldest_ms.store(decoded.oldest_ms().unwrap_or(0), Relaxed);
    for letter in &decoded.dead_letters {
        tracing::error!(offset = letter.offset.0, reason = letter.reason, "log record is no event: dead letter");
    }
    let batch = archived(daemon, decoded, stop).await?;
    ports.upkeep.archived(&batch);
    ports.log.release(batch.next_offset);
    metrics.archived_messages.fetch_add(batch.messages.len() as u64, Relaxed);
    metrics.archived_batches.fetch_add(1, Relaxed);
    metrics.batch_messages.store(batch.messages.len() as u64, Relaxed);
    metrics.dead_letters.fetch_add(batch.dead_letters.len() as u64, Relaxed);
    metrics.consumed_offset.store(batch.next_offset.0, Relaxed);
    metrics.oldest_ms.store(0, Relaxed);
    Some(batch)
}

async fn archived(daemon: &Daemon, decoded: Decoded, stop: &mut watch::Receiver<bool>) -> Option<ArchiveBatch> {
    let mut backoff = Backoff::new();
    let messages = loop {
        match batch::number(&*daemon.ports.state, &decoded).await {
            Ok(messages) => break messages,
            Err(error) => retry(daemon, &error, "a batch is not numbered yet", &mut backoff, stop).await?,
        }
    };
    let repeats = decoded.messages.len() - messages.len();
    daemon.metrics.repeats.fetch_add(repeats as u64, Relaxed);
    let batch = decoded.into_batch(messages);
    backoff.reset();
    loop {
        let started = Instant::now();
        let committed = daemon.ports.archive.commit(&batch).await;
        let spent_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        daemon.metrics.commit_us.fetch_add(spent_us, Relaxed);
        match committed {
            Ok(()) => return Some(batch),
            Err(error) => retry(daemon, &error, "a batch is not archived yet", &mut backoff, stop).await?,
        }
    }
}

/// Waits before the next try; none when a stop was asked for: the rest is done at the next start.
async fn retry(
    daemon: &Daemon,
    error: &StoreError,
    what: &str,
    backoff: &mut Backoff,
    stop: &mut watch::Receiver<bool>,
) -> Option<()> {
    daemon.metrics.retries.fetch_add(1, Relaxed);
    tracing::warn!(%error, "{what}");
    backoff.wait(stop).await.then_some(())
}
