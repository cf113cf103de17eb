//! The handle that the rest of the process holds.
//!
//! Usable from any thread and any async runtime: nothing here blocks but `open`, and nothing needs a
//! tokio runtime. Appends travel by an unbounded channel whose content is bounded in bytes
//! (`queued_bytes_max`, past it `Full`); reads by one of `READS_WAITING_MAX`, whose senders wait. If the
//! last handle is dropped, what is queued is still written, then the thread ends.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use crate::config::{APPEND_OVERHEAD_BYTES, JournalConfig, READS_WAITING_MAX};
use crate::error::{AppendError, Closed, OpenError, ReadError};
use crate::reader::Read;
use crate::recover::Recovery;
use crate::state::Shared;
use crate::stats::JournalStats;
use crate::thread::{self, Ends};
use crate::writer::{Append, Command, Reservation};

/// An open journal. Clones share it.
#[derive(Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    commands: mpsc::UnboundedSender<Command>,
    reads: mpsc::Sender<Read>,
    end: watch::Receiver<u64>,
    ended: watch::Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Journal").field("folder", &self.inner.shared.config.folder).finish_non_exhaustive()
    }
}

impl Journal {
    /// Locks the folder, recovers what it holds and starts the journal thread. Blocks until that is done:
    /// reading takes as long as the disk needs for all segments.
    ///
    /// # Errors
    /// See [`OpenError`]; the thread has ended and the lock is free again.
    pub fn open(config: JournalConfig) -> Result<(Self, Recovery), OpenError> {
        let config = config.checked().map_err(OpenError::Config)?;
        let shared = Arc::new(Shared::new(config));
        let (commands, commands_end) = mpsc::unbounded_channel();
        let (reads, reads_end) = mpsc::channel(READS_WAITING_MAX);
        let (end_sender, end) = watch::channel(0);
        let (ended_sender, ended) = watch::channel(());
        let (opened_sender, opened) = std::sync::mpsc::sync_channel(1);
        let ends = Ends { commands: commands_end, reads: reads_end, end: end_sender };
        let thread_shared = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                let tell = |outcome| {
                    // `open` waits for it; it cannot have gone.
                    let _ = opened_sender.send(outcome);
                };
                thread::run(thread_shared, ends, &tell);
                drop(ended_sender);
            })
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        let outcome = opened.recv().unwrap_or_else(|_| Err(OpenError::Thread("it ended while it started".into())));
        match outcome {
            Ok(recovery) => {
                let thread = Mutex::new(Some(thread));
                Ok((Self { inner: Arc::new(Inner { shared, commands, reads, end, ended, thread }) }, recovery))
            }
            Err(error) => {
                // It has said why it failed and is on its way out; a panic in it adds nothing.
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// Appends records in order, as a whole or not at all; `Ok` means on disk and tells the ordinal of the
    /// first. Appends are taken in the order in which their futures are first polled. A dropped future may
    /// still append. No records: `Ok` with the present end.
    ///
    /// # Errors
    /// See [`AppendError`]. After `Failed` or `Closed` the records may be found on disk at the next start.
    pub async fn append(&self, records: Vec<Bytes>) -> Result<u64, AppendError> {
        self.append_for(records, 1).await
    }

    /// As [`append`](Self::append), of records that several have gathered: `callers` says how many. A commit of one alone
    /// is followed by the next at once, one of several by a short pause, in which more come.
    ///
    /// # Errors
    /// As there.
    pub async fn append_for(&self, records: Vec<Bytes>, callers: usize) -> Result<u64, AppendError> {
        let shared = &self.inner.shared;
        if let Some(why) = shared.failure.get() {
            return Err(AppendError::Failed(why.clone()));
        }
        if records.is_empty() {
            return Ok(self.end());
        }
        let cost = records.iter().map(|record| JournalConfig::record_cost_bytes(record.len()));
        let payload_bytes = cost.fold(0, usize::saturating_add);
        let bytes_max = shared.config.append_bytes_max();
        if payload_bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes: payload_bytes, bytes_max });
        }
        let queued_bytes = payload_bytes + records.len() * size_of::<Bytes>() + APPEND_OVERHEAD_BYTES;
        let reservation = Reservation::try_new(shared, queued_bytes)
            .ok_or_else(|| AppendError::Full(format!("more than {} bytes wait", shared.config.queued_bytes_max)))?;
        let (reply, answer) = oneshot::channel();
        let append = Append { records, callers, payload_bytes, reply, reservation };
        self.inner.commands.send(Command::Append(append)).map_err(|_| AppendError::Closed)?;
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Waits until an append would be written at once: none waits or is being written, and the pause after the last commit
    /// is over. Who has many small appends gathers them meanwhile and hands them in as one.
    pub async fn idle(&self) {
        let shared = &self.inner.shared;
        loop {
            let mut told = std::pin::pin!(shared.idle.notified());
            told.as_mut().enable();
            if shared.is_idle() {
                return;
            }
            told.await;
        }
    }

    /// Reads records that are on disk, from ordinal `from` on: at most `records_max`, and at most
    /// `bytes_max` bytes of them, but at least one if there is one. May return fewer than there are; empty
    /// only at the end. The bytes of records that came from disk share one buffer per commit.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, from: u64, records_max: usize, bytes_max: usize) -> Result<Vec<(u64, Bytes)>, ReadError> {
        let (reply, answer) = oneshot::channel();
        let read = Read { from, records_max, bytes_max, reply };
        self.inner.reads.send(read).await.map_err(|_| ReadError::Closed)?;
        answer.await.unwrap_or(Err(ReadError::Closed))
    }

    /// Waits until the record with this ordinal is on disk.
    ///
    /// # Errors
    /// [`Closed`] if the journal is closed first.
    pub async fn wait_for(&self, ordinal: u64) -> Result<(), Closed> {
        let mut end = self.inner.end.clone();
        let waited = end.wait_for(|end| *end > ordinal).await;
        waited.map(|_| ()).map_err(|_| Closed)
    }

    /// One past the last record that is on disk: the next one's ordinal if nothing is queued.
    #[must_use]
    pub fn end(&self) -> u64 {
        *self.inner.end.borrow()
    }

    /// Says that records below `before` are not needed any more. Reads of them are refused from now on;
    /// whole segments of them are removed or recycled in the background. What is not yet written cannot be
    /// released. After a restart, records of the oldest segment may be readable again.
    pub fn release(&self, before: u64) {
        let shared = &self.inner.shared;
        let before = before.min(self.end());
        if shared.released.fetch_max(before, Relaxed) < before {
            shared.counters.first.fetch_max(before, Relaxed);
            shared.keeper_wake.notify_one();
        }
    }

    /// What the journal has done and how it stands.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        self.inner.shared.counters.read(self.end())
    }

    /// Takes no further appends, writes those that are queued, and waits until the thread has ended and
    /// the folder's lock is free. May be called on several clones.
    pub async fn close(&self) {
        // An error means that the thread has closed its end already.
        let _ = self.inner.commands.send(Command::Close);
        let mut ended = self.inner.ended.clone();
        // Nothing is ever sent on it: it ends when the thread has done everything.
        while ended.changed().await.is_ok() {}
        let thread = self.inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // Past its last statement: this does not block. A panic in it has been reported.
            let _ = thread.join();
        }
    }
}
