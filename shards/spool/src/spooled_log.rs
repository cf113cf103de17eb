//! The event log that gateways append to: direct, or by way of the journal.
//!
//! Lives on a tokio runtime. Each append is a task of its own, so a dropped call still ends as if it had been
//! awaited: nothing is left half-way. Dropping a [`SpooledLog`] without [`SpooledLog::close`] is a crash as far
//! as the spool goes: what is in the journal is forwarded by the next one.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ringway_journal::Journal;
use ringway_store::embedded::JournalLog;
use ringway_store::ports::{AppendError, EventLog, LogOffset, LogQueue as _, LogReadError, NewRecord};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{OnUnavailable, SpoolConfig};
use crate::entry::{Entry, WAITING_HEADER_BYTES};
use crate::forwarder::Forwarder;
use crate::gate::{Gate, Held, Mode, TooOld, Way, Weight};
use crate::limits::{FORWARD_RECORDS_MAX, SCAN_BYTES};
use crate::order::{Order, Turn};
use crate::stats::{Counters, SpoolStats};

/// Why a spool is not opened. Nothing in its folder was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The journal itself.
    #[error(transparent)]
    Journal(#[from] ringway_journal::OpenError),
    /// What was in it could not be read.
    #[error("spool: {0}")]
    Read(#[from] LogReadError),
    /// The journal holds what no spool, or a newer one, has written.
    #[error("spool: record {0} of the journal is none of a spool")]
    Foreign(u64),
    /// The runtime is ending.
    #[error("spool: {0}")]
    Ending(String),
}

/// What appends and the forwarder share.
pub(crate) struct Inner {
    pub(crate) config: SpoolConfig,
    pub(crate) remote: Arc<dyn EventLog>,
    pub(crate) journal: JournalLog,
    pub(crate) gate: Gate,
    pub(crate) counters: Counters,
    closed: AtomicBool,
}

/// See the crate's doc.
pub struct SpooledLog {
    inner: Arc<Inner>,
    order: Arc<Order>,
    stop: watch::Sender<bool>,
    forwarder: Mutex<Option<JoinHandle<()>>>,
}

/// What a journal was found with.
struct Left {
    next: LogOffset,
    held: Held,
}

impl SpooledLog {
    /// Opens the journal and starts the forwarder. What an earlier run has left is forwarded from now on:
    /// a node takes traffic once [`SpooledLog::drained`] has returned.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(remote: Arc<dyn EventLog>, config: SpoolConfig) -> Result<Self, OpenError> {
        let journal_config = config.journal();
        let opened = tokio::task::spawn_blocking(move || Journal::open(journal_config)).await;
        let (journal, recovery) = opened.map_err(|error| OpenError::Ending(error.to_string()))??;
        let journal = JournalLog::new(journal);
        let left = match look_through(&journal, recovery.first, recovery.end).await {
            Ok(left) => left,
            Err(error) => {
                journal.close().await;
                return Err(error);
            }
        };
        let Weight { records, bytes } = left.held.weight;
        if records > 0 {
            tracing::info!(records, bytes, "an earlier run left records in the spool; they are forwarded first");
        }
        let gate = Gate::new(left.held, config.age_max_ms);
        let closed = AtomicBool::new(false);
        let inner = Arc::new(Inner { config, remote, journal, gate, counters: Counters::default(), closed });
        let (stop, stopped) = watch::channel(false);
        let forwarder = tokio::spawn(Forwarder::new(Arc::clone(&inner), left.next).run(stopped));
        Ok(Self { inner, order: Arc::default(), stop, forwarder: Mutex::new(Some(forwarder)) })
    }

    /// Returns once nothing is left in the journal and appends go direct.
    pub async fn drained(&self) {
        let mut mode = self.inner.gate.watch();
        // The sender lives as long as `self`.
        let _ = mode.wait_for(|mode| *mode == Mode::Direct).await;
    }

    /// Whether appends go to the journal, or wait for the change back.
    #[must_use]
    pub fn is_spooling(&self) -> bool {
        self.inner.gate.mode() != Mode::Direct
    }

    /// What it has done and how it stands.
    #[must_use]
    pub fn stats(&self) -> SpoolStats {
        let (gate, counters) = (&self.inner.gate, &self.inner.counters);
        let Held { weight, oldest_ms } = gate.held();
        SpoolStats {
            spooling: self.is_spooling(),
            records: weight.records,
            bytes: weight.bytes,
            oldest_age_ms: oldest_ms.map_or(0, |oldest_ms| now_ms().saturating_sub(oldest_ms)),
            fallbacks: counters.fallbacks.load(Relaxed),
            spooled: counters.spooled.load(Relaxed),
            forwarded: counters.forwarded.load(Relaxed),
            refused: counters.refused.load(Relaxed),
            unreadable: counters.unreadable.load(Relaxed),
            journal: self.inner.journal.stats(),
        }
    }

    /// Takes no further appends, ends the forwarder and closes the journal; what is left in it is forwarded by
    /// the next run. Appends under way end by themselves.
    pub async fn close(&self) {
        self.inner.closed.store(true, Relaxed);
        self.stop.send_replace(true);
        let forwarder = self.forwarder.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(forwarder) = forwarder {
            // A panic in it has been reported; the journal is closed all the same.
            let _ = forwarder.await;
        }
        self.inner.journal.close().await;
    }
}

#[async_trait]
impl EventLog for SpooledLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), AppendError> {
        if self.inner.closed.load(Relaxed) {
            return Err(AppendError::Closed);
        }
        if records.is_empty() {
            return Ok(());
        }
        let turn = self.order.turn(records.iter().map(|record| record.key).collect());
        let appending = tokio::spawn(Arc::clone(&self.inner).append(turn, records));
        // An error means that the runtime is ending: then nobody is told anything.
        appending.await.unwrap_or(Err(AppendError::Closed))
    }
}

impl Inner {
    async fn append(self: Arc<Self>, mut turn: Turn, records: Vec<NewRecord>) -> Result<(), AppendError> {
        turn.comes().await;
        if self.config.on_unavailable == OnUnavailable::Refuse {
            return self.append_or_refuse(records).await;
        }
        let weight = weight_of(&records);
        let mut mode = self.gate.watch();
        loop {
            mode.borrow_and_update();
            match self.gate.way(weight, now_ms()) {
                Ok(Way::Direct) => match self.direct(&records).await {
                    Ok(()) => return Ok(()),
                    Err(AppendError::Unavailable(why)) => return self.fall_back(weight, records, &why).await,
                    Err(error) => return Err(error),
                },
                Ok(Way::Journal) => return self.spool(weight, &records).await,
                // The sender lives as long as `self`.
                Ok(Way::Wait) => drop(mode.changed().await),
                Err(too_old) => return Err(self.too_old(&too_old)),
            }
        }
    }

    async fn append_or_refuse(&self, records: Vec<NewRecord>) -> Result<(), AppendError> {
        if self.gate.mode() == Mode::Direct {
            return self.remote.append(records).await;
        }
        Err(AppendError::Unavailable("what an earlier run has spooled is forwarded first".to_owned()))
    }

    async fn direct(&self, records: &[NewRecord]) -> Result<(), AppendError> {
        let spool_after = Duration::from_millis(self.config.spool_after_ms);
        let appended = tokio::time::timeout(spool_after, self.remote.append(records.to_vec())).await;
        appended.unwrap_or_else(|_| Err(AppendError::Unavailable("no answer in time".to_owned())))
    }

    /// Whether the remote log has these records is not known: from here on they go to the journal.
    async fn fall_back(&self, weight: Weight, records: Vec<NewRecord>, why: &str) -> Result<(), AppendError> {
        let (news, room) = self.gate.fall_back(weight, now_ms());
        if news {
            Counters::add(&self.counters.fallbacks, 1);
            tracing::warn!(why, "the event log does not answer: appends go to the spool until it does");
        }
        room.map_err(|too_old| self.too_old(&too_old))?;
        self.spool(weight, &records).await
    }

    /// Writes records for which room is reserved.
    async fn spool(&self, weight: Weight, records: &[NewRecord]) -> Result<(), AppendError> {
        let taken_ms = now_ms();
        let entries = records.iter().map(|record| {
            let bytes = Entry::encode_waiting(record, taken_ms);
            NewRecord { key: record.key, bytes }
        });
        let written = self.journal.append(entries.collect()).await;
        match &written {
            Ok(()) => Counters::add(&self.counters.spooled, weight.records),
            Err(error) => {
                self.gate.give_back(weight);
                Counters::add(&self.counters.refused, 1);
                if let AppendError::Full(why) = error {
                    return Err(AppendError::Full(format!("the queue is away, and of the spool, {why}")));
                }
            }
        }
        written
    }

    fn too_old(&self, TooOld { age_ms }: &TooOld) -> AppendError {
        Counters::add(&self.counters.refused, 1);
        AppendError::Full(format!("the queue is away, and the spool has held records for {} s", age_ms / 1_000))
    }
}

/// What counts as its size.
pub(crate) fn weight_of(records: &[NewRecord]) -> Weight {
    let bytes: usize = records.iter().map(|record| record.bytes.len() + WAITING_HEADER_BYTES).sum();
    Weight { records: records.len() as u64, bytes: bytes as u64 }
}

/// Finds what is not forwarded: first how far the journal says it was, then what lies above.
async fn look_through(journal: &JournalLog, first: u64, end: u64) -> Result<Left, OpenError> {
    let mut forwarded = first;
    look_at(journal, first, end, |entry| {
        if let Entry::Forwarded(before) = entry {
            forwarded = forwarded.max(before.min(end));
        }
    })
    .await?;
    let mut held = Held::default();
    look_at(journal, forwarded, end, |entry| {
        if let Entry::Waiting { record, taken_ms } = entry {
            held.oldest_ms.get_or_insert(taken_ms);
            held.weight.add(weight_of(&[record]));
        }
    })
    .await?;
    Ok(Left { next: LogOffset(forwarded), held })
}

async fn look_at(
    journal: &JournalLog,
    first: u64,
    end: u64,
    mut see: impl FnMut(Entry) + Send,
) -> Result<(), OpenError> {
    let mut next = first;
    while next < end {
        let records = journal.read(LogOffset(next), FORWARD_RECORDS_MAX, SCAN_BYTES).await?;
        let Some(last) = records.last() else { break };
        next = last.offset.0 + 1;
        for record in records {
            let ordinal = record.offset.0;
            see(Entry::decode(record.bytes).ok_or(OpenError::Foreign(ordinal))?);
        }
    }
    Ok(())
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
