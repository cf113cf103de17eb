//! [`RedisState`]: the `SharedState` and `Upkeep` ports over Redis.
//!
//! Lives on tokio, shared by all callers of the process. What it holds itself is no authority: the epoch it
//! works under, and the messages it had numbered that are not known to be archived (see `unsettled`).
//!
//! **Why readers miss nothing.** What leaves Redis was committed to the archive before. So each reader looks
//! into Redis first and into SQL second; what moved in between is in both.
//!
//! A call that is dropped half-way may or may not have taken place; all of them are idempotent.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ringway_engine::event::MessageEvent;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::limits::DEDUP_MS;
use ringway_engine::packet::schema::Conversations;
use ringway_store::ports::{
    Archive, ArchiveBatch, CursorUpdate, DevicePoint, Drift, DriftRound, Epochs, Numbered, Page, PageFrom, Records,
    SharedState, StoreError, Upkeep,
};
use tokio::task::JoinHandle;

use crate::config::RedisConfig;
use crate::connection::Connection;
use crate::drift::Round;
use crate::fence::Fence;
use crate::limits::CLOCK_SKEW_MS;
use crate::routes::RedisRoutes;
use crate::unsettled::Unsettled;
use crate::watch;

/// What SQL is to this state. One store behind all three, so that they agree.
#[derive(Clone)]
pub struct Stores {
    /// The authority on epochs, and where conversations start in one.
    pub epochs: Arc<dyn Epochs>,
    /// Earlier sends, users' conversations, cursors.
    pub records: Arc<dyn Records>,
    /// Messages for good.
    pub archive: Arc<dyn Archive>,
}

/// What the calls and the watch share.
pub(crate) struct Shared {
    pub(crate) connection: Arc<Connection>,
    pub(crate) fence: Fence,
    pub(crate) epochs: Arc<dyn Epochs>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) config: RedisConfig,
    unsettled: Mutex<Unsettled>,
    /// Whose turn it is to number what earlier epochs left.
    pub(crate) renumbering: tokio::sync::Mutex<()>,
    /// Numbering scripts that were answered, and messages that they numbered.
    pub(crate) numbering: [AtomicU64; 2],
}

/// What a state has done, and stands at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateCounts {
    /// The epoch; 0 when it is not known.
    pub epoch: u64,
    /// Numbering calls that Redis answered with numbers: one a conversation and batch.
    pub calls: u64,
    /// Messages that they numbered, repeats among them.
    pub messages: u64,
    /// Bytes of messages that this process had numbered and that are not archived.
    pub unarchived_bytes: u64,
}

impl Shared {
    /// The mutex is held for a moment and never across an await.
    pub(crate) fn unsettled(&self) -> MutexGuard<'_, Unsettled> {
        self.unsettled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shared state in Redis. Dropping it ends its connection; what was numbered stays numbered.
pub struct RedisState {
    shared: Arc<Shared>,
    watch: JoinHandle<()>,
}

impl RedisState {
    /// Connects, and compares the servers with those recorded for the epoch.
    ///
    /// # Errors
    /// Redis cannot be reached or refuses the sign-in, it may evict keys, SQL could not answer, or `dedup_s`
    /// is shorter than the window in which an id is a repeat.
    pub async fn open(config: RedisConfig, stores: Stores) -> Result<Self, StoreError> {
        if config.dedup_s * 1_000 <= DEDUP_MS + CLOCK_SKEW_MS {
            let least = (DEDUP_MS + CLOCK_SKEW_MS) / 1_000 + 1;
            return Err(StoreError::new("redis", format!("dedup_redis_s has to be {least} at least")));
        }
        let Stores { epochs, records, archive } = stores;
        let connection = Arc::new(Connection::open(&config).await?);
        let fence = Fence::new(Arc::clone(&epochs));
        let unsettled = Mutex::new(Unsettled::default());
        let renumbering = tokio::sync::Mutex::new(());
        let numbering = Default::default();
        let shared = Shared { connection, fence, epochs, records, archive, config, unsettled, renumbering, numbering };
        let shared = Arc::new(shared);
        shared.fence.working(&shared.connection).await?;
        let watch = tokio::spawn(watch::run(Arc::downgrade(&shared)));
        Ok(Self { shared, watch })
    }

    /// The epoch this process works under; 0 when that is not known.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.shared.fence.held().map_or(0, |working| working.epoch)
    }

    /// What it has done since its start.
    #[must_use]
    pub fn counts(&self) -> StateCounts {
        let [calls, messages] = &self.shared.numbering;
        let (calls, messages) = (calls.load(Relaxed), messages.load(Relaxed));
        StateCounts { epoch: self.epoch(), calls, messages, unarchived_bytes: self.unarchived_bytes() as u64 }
    }

    /// The routes, on the connection of this state.
    #[must_use]
    pub fn routes(&self) -> RedisRoutes {
        RedisRoutes::on(Arc::clone(&self.shared.connection))
    }

    /// Closes the connection in good order, also for the routes that share it.
    pub async fn close(&self) {
        self.watch.abort();
        self.shared.connection.close().await;
    }
}

impl Drop for RedisState {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl std::fmt::Debug for RedisState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RedisState").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl SharedState for RedisState {
    async fn known(
        &self,
        conv: &ConversationId,
        from: &str,
        client_msg_id: &str,
        retry: bool,
    ) -> Result<Option<Numbered>, StoreError> {
        self.shared.known_send(conv.as_str(), from, client_msg_id, retry).await
    }

    async fn number(&self, batch: &[Arc<MessageEvent>]) -> Result<Vec<Numbered>, StoreError> {
        self.shared.number_batch(batch).await
    }

    async fn points(&self, uid: &Uid, device: &DeviceId, now_ms: u64) -> Result<Vec<DevicePoint>, StoreError> {
        self.shared.device_points(uid, device, now_ms).await
    }

    async fn head(&self, conv: &ConversationId) -> Result<(u64, u64), StoreError> {
        self.shared.read_head(conv.as_str()).await
    }

    async fn acknowledge(&self, updates: Vec<CursorUpdate>) {
        if let Err(error) = self.shared.raise_cursors(updates).await {
            tracing::warn!(%error, "acknowledgements are lost; devices are sent what they have again");
        }
    }

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Page, StoreError> {
        self.shared.read_page(conv, from, limit).await
    }

    async fn conversations(&self, uid: &Uid, after: &str, limit: usize) -> Result<Conversations, StoreError> {
        self.shared.list_conversations(uid, after, limit).await
    }

    async fn mark_read(&self, conv: &ConversationId, uid: &Uid, seq: u64) {
        if let Err(error) = self.shared.mark_read(conv.as_str(), uid.as_str(), seq).await {
            tracing::warn!(%error, conv = conv.as_str(), "a read mark shows only once it is archived");
        }
    }

    fn unarchived_bytes(&self) -> usize {
        self.shared.unsettled().bytes()
    }
}

impl Drift for RedisState {
    fn round(&self) -> Box<dyn DriftRound> {
        Box::new(Round::new(Arc::clone(&self.shared)))
    }
}

#[async_trait]
impl Upkeep for RedisState {
    async fn archived(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        self.shared.archived(batch).await
    }

    async fn flush_cursors(&self) -> Result<(), StoreError> {
        self.shared.flush_cursors().await
    }

    async fn warm_up(&self) -> Result<(), StoreError> {
        // What is known is in Redis, for all processes.
        Ok(())
    }

    fn forget_idle(&self, _now_ms: u64) {
        // Keys end by their own time, and the watch looks after what this process holds.
    }
}
