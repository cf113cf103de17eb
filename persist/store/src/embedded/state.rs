//! Shared state of a single node: numbers, dedup and marks in memory over what the archive holds.
//!
//! Owned by the process, shared by the gateway's uplink thread, the daemon and the API. One mutex guards
//! the memory; it is held for one batch or one snapshot and never across an await.
//!
//! **Why numbers are stable.** A number depends on the order in which a conversation's messages are
//! first numbered, and on which of them are repeats. Of one conversation at most one batch is in flight:
//! it is appended to the log, then numbered, and only then is the next one appended. So the uplink numbers
//! in log order, the daemon (which reads the log) does too, and whoever comes first, the result is the
//! same. Repeats are decided by a rule on the log alone (see `dedup`). A recovery that numbers the
//! unarchived rest of the log in its order therefore gives every message the number it had.
//! A call that fails or is dropped after its batch was appended would break the order: its messages are
//! kept as *owed* and numbered before anything that comes later.
//!
//! **Why readers miss nothing.** What leaves memory was committed to the archive before. So each reader
//! looks into memory first and into the archive second; what moved in between is in both.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use hashbrown::HashSet;
use ringway_engine::event::MessageEvent;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::limits::DEDUP_MS;
use ringway_engine::packet::schema::Conversations;
use ringway_engine::snowflake::made_at_ms;

use super::dedup::{DedupWindow, SendKey, SendKeys};
use super::marks::Marks;
use super::tails::Tails;
use crate::limits::{DEDUP_LOADED_MAX, DEDUP_READ_MAX};
use crate::ports::{
    ArchiveBatch, CursorUpdate, DevicePoint, Numbered, Page, PageFrom, SharedState, StoreError, Upkeep,
};
use crate::sqlite::{self, Database, RecentSend};

/// Messages handled under one hold of the mutex: others wait for well under a millisecond.
const LOCKED_MESSAGES_MAX: usize = 64;
/// Conversations are looked through for idle ones this often.
const SWEEP_MS: u64 = 15_000;

/// Everything under the mutex.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) tails: Tails,
    pub(super) dedup: DedupWindow,
    pub(super) marks: Marks,
    /// Appended, but their numbering failed or was dropped: numbered before anything else.
    pub(super) owed: Vec<(SendKey, Arc<MessageEvent>)>,
    pub(super) owed_ids: HashSet<u64>,
}

/// The shared state of `ringway up`.
#[derive(Debug)]
pub struct EmbeddedState {
    pub(super) database: Database,
    pub(super) keys: SendKeys,
    memory: Mutex<Memory>,
    unread: Option<Unread>,
    swept_ms: AtomicU64,
}

/// Sends that a new message may repeat and that are not in the window yet.
#[derive(Debug, Clone, Copy)]
struct Unread {
    /// Their message ids are below.
    before: u64,
    /// They were taken at or after this time.
    horizon_ms: u64,
}

impl EmbeddedState {
    /// Reads the recent client message ids; everything else is read when it is asked for.
    ///
    /// # Errors
    /// The database could not answer.
    pub async fn open(database: Database) -> Result<Self, StoreError> {
        Self::open_bounded(database, DEDUP_LOADED_MAX).await
    }

    async fn open_bounded(database: Database, loaded_max: usize) -> Result<Self, StoreError> {
        let recent = sqlite::sends_before(&database, u64::MAX, loaded_max).await?;
        let newest_ms = recent.iter().map(|send| send.number.ts_ms).max().unwrap_or(0);
        let horizon_ms = newest_ms.saturating_sub(DEDUP_MS);
        let oldest = recent.last().filter(|_| recent.len() == loaded_max);
        let loaded_from_ms = oldest.map_or(0, covered_from_ms);
        let keys = SendKeys::default();
        let mut dedup = DedupWindow::new(horizon_ms.max(loaded_from_ms));
        for send in recent.iter().rev().filter(|send| send.number.ts_ms >= horizon_ms) {
            let key = keys.key(&send.conv, &send.from, &send.client_msg_id);
            dedup.insert(key, send.number, true);
        }
        let memory = Memory {
            tails: Tails::default(),
            dedup,
            marks: Marks::default(),
            owed: Vec::new(),
            owed_ids: HashSet::new(),
        };
        let unread = oldest.filter(|_| loaded_from_ms > horizon_ms);
        let unread = unread.map(|oldest| Unread { before: oldest.number.msg_id, horizon_ms });
        Ok(Self { database, keys, memory: Mutex::new(memory), unread, swept_ms: AtomicU64::new(0) })
    }

    /// Takes what `open` left out into the window, latest first.
    async fn read_unread(&self, at_once: usize) -> Result<(), StoreError> {
        let Some(Unread { mut before, horizon_ms }) = self.unread else { return Ok(()) };
        loop {
            let known_from_ms = self.memory().dedup.covered_from_ms();
            let sends = sqlite::sends_before(&self.database, before, at_once).await?;
            let oldest = sends.last().filter(|_| sends.len() == at_once);
            let from_ms = oldest.map_or(horizon_ms, covered_from_ms).max(horizon_ms);
            let key = |send: &RecentSend| self.keys.key(&send.conv, &send.from, &send.client_msg_id);
            let keys: Vec<(SendKey, u64)> = sends.iter().map(|send| (key(send), send.number.ts_ms)).collect();
            // A window that let something go meanwhile reaches no further back than that.
            if !self.memory().dedup.cover(known_from_ms, from_ms, &keys) || from_ms == horizon_ms {
                return Ok(());
            }
            before = oldest.map_or(0, |oldest| oldest.number.msg_id);
        }
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Message ids rise with time: with this send as the oldest one read, all that was taken from here on is.
fn covered_from_ms(oldest: &RecentSend) -> u64 {
    made_at_ms(oldest.number.msg_id) + 1
}

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl SharedState for EmbeddedState {
    async fn known(
        &self,
        conv: &ConversationId,
        from: &str,
        client_msg_id: &str,
        retry: bool,
    ) -> Result<Option<Numbered>, StoreError> {
        self.known_send(conv.as_str(), from, client_msg_id, retry).await
    }

    async fn number(&self, batch: &[Arc<MessageEvent>]) -> Result<Vec<Numbered>, StoreError> {
        self.number_batch(batch).await
    }

    async fn points(&self, uid: &Uid, device: &DeviceId, now_ms: u64) -> Result<Vec<DevicePoint>, StoreError> {
        self.device_points(uid, device, now_ms).await
    }

    async fn head(&self, conv: &ConversationId) -> Result<(u64, u64), StoreError> {
        self.read_head(conv.as_str()).await
    }

    async fn acknowledge(&self, updates: Vec<CursorUpdate>) {
        let mut memory = self.memory();
        updates.into_iter().for_each(|update| memory.marks.acknowledge(update));
    }

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Page, StoreError> {
        self.read_page(conv.as_str(), from, limit).await
    }

    async fn conversations(&self, uid: &Uid, after: &str, limit: usize) -> Result<Conversations, StoreError> {
        self.list_conversations(uid, after, limit).await
    }

    async fn mark_read(&self, conv: &ConversationId, uid: &Uid, seq: u64) {
        self.memory().marks.mark_read(conv.as_str(), uid.as_str(), seq);
    }

    fn unarchived_bytes(&self) -> usize {
        self.memory().tails.unarchived_bytes()
    }
}

#[async_trait]
impl Upkeep for EmbeddedState {
    async fn archived(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        for messages in batch.messages.chunks(LOCKED_MESSAGES_MAX) {
            let keys: Vec<SendKey> = messages.iter().map(|message| self.keys.of(&message.event)).collect();
            let mut memory = self.memory();
            for (message, key) in messages.iter().zip(keys) {
                memory.dedup.archived(key, message.event.msg_id);
                memory.tails.archived(message);
            }
        }
        let mut memory = self.memory();
        for read in &batch.reads {
            memory.marks.read_archived(&read.conv, &read.uid, read.seq);
        }
        Ok(())
    }

    async fn flush_cursors(&self) -> Result<(), StoreError> {
        let updates: Vec<(CursorUpdate, u64)> = {
            let mut memory = self.memory();
            let updates = memory.marks.flush();
            let with_head = |update: CursorUpdate| {
                let head = memory.tails.get(update.conv.as_str()).map_or(0, |conversation| conversation.head);
                (update, head)
            };
            updates.into_iter().map(with_head).collect()
        };
        if updates.is_empty() {
            return Ok(());
        }
        let raised = sqlite::raise_cursors(&self.database, &updates).await;
        let mut memory = self.memory();
        match &raised {
            Ok(()) => memory.marks.flushed(),
            Err(_) => memory.marks.flush_failed(),
        }
        raised
    }

    async fn warm_up(&self) -> Result<(), StoreError> {
        self.read_unread(DEDUP_READ_MAX).await
    }

    fn forget_idle(&self, now_ms: u64) {
        loop {
            // The mutex is free between two steps.
            let more = self.memory().dedup.forget(now_ms);
            if !more {
                break;
            }
        }
        if now_ms.saturating_sub(self.swept_ms.load(Relaxed)) >= SWEEP_MS {
            self.swept_ms.store(now_ms, Relaxed);
            self.memory().tails.forget_idle(now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::message;
    use crate::embedded::dedup::Lookup;
    use crate::ports::{Archive as _, LogOffset, NumberedMessage};
    use crate::sqlite::SqliteArchive;
    use ringway_engine::snowflake::Snowflake;

    const NOW_MS: u64 = 1_800_000_000_000;

    #[tokio::test]
    async fn sends_that_a_start_left_out_are_known_after_the_warm_up() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let mut ids = Snowflake::new(0, 0);
        // The first is past the window's time when the last is taken.
        let events: Vec<_> = (0..100_u64)
            .map(|n| {
                let ts_ms = NOW_MS + n * DEDUP_MS / 98;
                message("p2p:a:b", "a", &n.to_string(), ids.next_id(ts_ms), ts_ms)
            })
            .collect();
        let messages = (1..).zip(&events).map(|(seq, event)| NumberedMessage { event: event.clone(), epoch: 1, seq });
        let batch =
            ArchiveBatch { messages: messages.collect(), next_offset: LogOffset(100), ..ArchiveBatch::default() };
        SqliteArchive::new(database.clone()).commit(&batch).await.unwrap();

        let state = EmbeddedState::open_bounded(database, 10).await.unwrap();
        let now_ms = events[99].ts_ms + 1;
        let fresh = state.keys.key("p2p:a:b", "a", "fresh");
        assert_eq!(state.memory().dedup.lookup(fresh, 7, now_ms), Lookup::Ask);
        state.read_unread(7).await.unwrap();
        assert_eq!(state.memory().dedup.lookup(fresh, 7, now_ms), Lookup::New);
        let repeated = |n: usize| message("p2p:a:b", "a", &n.to_string(), 7, now_ms);
        for n in 5..100 {
            let number = state.number(&[repeated(n)]).await.unwrap()[0];
            assert_eq!((number.seq, number.duplicate), (n as u64 + 1, true));
        }
        assert_eq!(state.number(&[repeated(0)]).await.unwrap()[0].seq, 101, "after its time it is a new message");
    }
}
