//! The forwarder: brings what is in the journal to the remote log, in order, one batch at a time.
//!
//! A task of its own; it sleeps while appends go direct. A batch is let go from the journal once the remote log
//! has said that it has all of it, and sent again otherwise: with one record a probe while the log is away, so
//! that what it takes without an answer is little. Dropping it loses nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringway_store::ports::{AppendError, EventLog as _, LogOffset, LogQueue as _, LogRecord, NewRecord};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::entry::Entry;
use crate::gate::{Mode, Weight};
use crate::limits::{FORWARD_BYTES_MAX, FORWARD_RECORDS_MAX, FULL_PAUSE_MS};
use crate::spooled_log::{Inner, weight_of};
use crate::stats::Counters;

pub(crate) struct Forwarder {
    inner: Arc<Inner>,
    /// Everything before it is in the remote log.
    next: LogOffset,
    /// The remote log did not answer the last time it was asked.
    away: bool,
    /// Something was forwarded that the journal does not say yet.
    unmarked: bool,
}

/// Records to be forwarded.
#[derive(Default)]
struct Batch {
    records: Vec<NewRecord>,
    oldest_ms: Option<u64>,
    next: LogOffset,
}

impl Forwarder {
    pub(crate) fn new(inner: Arc<Inner>, next: LogOffset) -> Self {
        // What a crash has left says that the log was away.
        Self { inner, next, away: true, unmarked: false }
    }

    /// Runs until a stop is asked for, or nobody is left who could.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let stopped = async move {
            // An error means that the log was dropped: that is a stop too.
            let _ = stop.wait_for(|stop| *stop).await;
        };
        tokio::select! {
            () = self.forward_all() => {}
            () = stopped => {}
        }
        // Nobody would end the wait of appends that are held back.
        self.inner.gate.end_handover();
    }

    async fn forward_all(&mut self) {
        let mut mode = self.inner.gate.watch();
        while mode.wait_for(|mode| *mode != Mode::Direct).await.is_ok() {
            if self.inner.gate.held().weight.records == 0 {
                self.settle().await;
            } else if let Some(batch) = self.next_batch().await {
                self.forward(batch).await;
            }
        }
    }

    /// Nothing is held: says so in the journal, and opens the way.
    async fn settle(&mut self) {
        if self.away {
            // What was to be spooled was refused; the log is not asked more often for that.
            tokio::time::sleep(Duration::from_millis(self.inner.config.probe_ms)).await;
        }
        if self.unmarked {
            let marker = NewRecord { key: 0, bytes: Entry::encode_forwarded(self.next.0) };
            match self.inner.journal.append(vec![marker]).await {
                Ok(()) => self.unmarked = false,
                Err(error) => {
                    tracing::warn!(%error, "a crash before the next change would forward some records again");
                }
            }
        }
        if self.inner.gate.open_if_empty() {
            tracing::info!("the spool is empty: appends go to the event log");
        }
    }

    /// What comes next; none when there is nothing to be sent after all.
    async fn next_batch(&mut self) -> Option<Batch> {
        let inner = &self.inner;
        tokio::select! {
            // A closed journal says so again when it is read.
            _ = inner.journal.wait_for(self.next) => {}
            () = inner.gate.given_back.notified() => return None,
        }
        let records_max = if self.away { 1 } else { FORWARD_RECORDS_MAX };
        let read = inner.journal.read(self.next, records_max, FORWARD_BYTES_MAX).await;
        let batch = match read.map_err(|error| error.to_string()).and_then(|records| understand(self.next, records)) {
            Ok(batch) => batch,
            Err(error) => {
                if !inner.counters.unreadable.swap(true, Relaxed) {
                    tracing::error!(
                        error,
                        ordinal = self.next.0,
                        "the spool cannot be read; what it holds stays there"
                    );
                }
                tokio::time::sleep(Duration::from_millis(inner.config.probe_ms)).await;
                return None;
            }
        };
        inner.counters.unreadable.store(false, Relaxed);
        if batch.records.is_empty() {
            self.next = batch.next;
            return None;
        }
        Some(batch)
    }

    async fn forward(&mut self, batch: Batch) {
        let inner = Arc::clone(&self.inner);
        let Batch { records, oldest_ms, next } = batch;
        oldest_ms.inspect(|oldest_ms| inner.gate.comes_to(*oldest_ms));
        let in_handover = inner.gate.mode() == Mode::Handover;
        let wait_ms = if in_handover { inner.config.spool_after_ms } else { inner.config.forward_timeout_ms };
        let weight = weight_of(&records);
        let began = Instant::now();
        let appended = tokio::time::timeout(Duration::from_millis(wait_ms), inner.remote.append(records)).await;
        match appended.unwrap_or_else(|_| Err(AppendError::Unavailable("no answer in time".to_owned()))) {
            Ok(()) => {
                let took_ms = began.elapsed().as_millis();
                self.took(weight, next);
                if took_ms * 2 < u128::from(inner.config.spool_after_ms) {
                    inner.gate.try_handover();
                }
            }
            Err(error) => self.had_no_answer(&error).await,
        }
    }

    fn took(&mut self, weight: Weight, next: LogOffset) {
        let inner = &self.inner;
        if self.away {
            let left = inner.gate.held().weight.records;
            tracing::info!(records = left, "the event log answers again: the spool is forwarded");
        }
        self.away = false;
        self.unmarked = true;
        self.next = next;
        inner.journal.release(next);
        inner.gate.forwarded(weight);
        Counters::add(&inner.counters.forwarded, weight.records);
    }

    async fn had_no_answer(&mut self, error: &AppendError) {
        let config = &self.inner.config;
        self.inner.gate.end_handover();
        let pause_ms = match error {
            // It answers, so it is not away.
            AppendError::Full(_) => FULL_PAUSE_MS,
            _ => {
                if !self.away {
                    tracing::warn!(%error, "the event log does not take what is spooled");
                }
                self.away = true;
                config.probe_ms
            }
        };
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
}

/// Takes records apart. What says how far was forwarded is for a start alone.
fn understand(from: LogOffset, records: Vec<LogRecord>) -> Result<Batch, String> {
    let mut batch = Batch { next: from, ..Batch::default() };
    for LogRecord { offset, bytes } in records {
        batch.next = LogOffset(offset.0 + 1);
        match Entry::decode(bytes) {
            Some(Entry::Waiting { record, taken_ms }) => {
                batch.oldest_ms.get_or_insert(taken_ms);
                batch.records.push(record);
            }
            Some(Entry::Forwarded(_)) => {}
            None => return Err(format!("record {} of the journal is none of a spool", offset.0)),
        }
    }
    Ok(batch)
}
