//! Shared state: numbers, dedup, cursors and the points where devices stand.

use std::sync::Arc;

use async_trait::async_trait;
use ringway_engine::event::MessageEvent;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::packet::schema::{Conversations, Message};

use super::{PageFrom, StoreError};

/// The number of a message. For a repeated client message id it is that of the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Generation of the sequencer.
    pub epoch: u64,
    /// Dense from 1 within the conversation.
    pub seq: u64,
    /// Id of the message that holds the number (the first one's, for a duplicate).
    pub msg_id: u64,
    /// When the gateway took that message, Unix milliseconds.
    pub ts_ms: u64,
    /// True when this call did not give the number out: it was known before.
    pub duplicate: bool,
}

/// Where one device stands in one conversation of its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePoint {
    /// The conversation.
    pub conv: ConversationId,
    /// Current epoch.
    pub epoch: u64,
    /// Highest number given out.
    pub head: u64,
    /// Messages up to here are not for this user's offline queue: from before the user joined, cleared,
    /// or past the queue's bounds in count and age.
    pub floor: u64,
    /// What this very device has acknowledged, if it ever has.
    pub device_cursor: Option<u64>,
    /// The highest that any device of the user has acknowledged.
    pub user_cursor: Option<u64>,
}

/// A cumulative acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorUpdate {
    /// User.
    pub uid: Uid,
    /// Device.
    pub device: DeviceId,
    /// Conversation.
    pub conv: ConversationId,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// Everything up to it is received. A lower value than known changes nothing.
    pub seq: u64,
}

/// A page of a conversation: dense, rising, never across a hole.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The messages.
    pub items: Vec<Arc<Message>>,
    /// Current epoch.
    pub epoch: u64,
    /// Highest number given out.
    pub head: u64,
    /// Whether there is more in the direction read.
    pub more: bool,
}

/// Shared state.
#[async_trait]
pub trait SharedState: Send + Sync {
    /// The number of a message already known by (conversation, sender, client message id), looked up
    /// before anything is appended. `retry` says that the archive is to be asked too (for 7 days).
    ///
    /// # Errors
    /// The store could not answer; the send must be refused as temporary.
    async fn known(
        &self,
        conv: &ConversationId,
        from: &str,
        client_msg_id: &str,
        retry: bool,
    ) -> Result<Option<Numbered>, StoreError>;

    /// Numbers durable messages in the order given; idempotent by (conversation, sender, client message
    /// id). Answers in the same order and number. Numbered messages are readable at once by [`SharedState::page`].
    ///
    /// # Errors
    /// Nothing of the batch may be acknowledged; the same call may be repeated.
    async fn number(&self, batch: &[Arc<MessageEvent>]) -> Result<Vec<Numbered>, StoreError>;

    /// Where `device` of `uid` stands in each of the user's conversations that has any message, groups
    /// included. One call sees every number given out before it.
    ///
    /// # Errors
    /// The store could not answer.
    async fn points(&self, uid: &Uid, device: &DeviceId, now_ms: u64) -> Result<Vec<DevicePoint>, StoreError>;

    /// Current epoch and highest number of a conversation (head 0 when it has no message).
    ///
    /// # Errors
    /// The store could not answer.
    async fn head(&self, conv: &ConversationId) -> Result<(u64, u64), StoreError>;

    /// Takes acknowledgements; higher ones win. May be lost in a crash for a bounded time (clients drop
    /// what they have by number).
    async fn acknowledge(&self, updates: Vec<CursorUpdate>);

    /// A page of at most `limit` messages and about `PAGE_BYTES_MAX` body bytes, archived or not yet.
    /// Rising order in both directions. Does not check who asks.
    ///
    /// # Errors
    /// The store could not answer.
    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Page, StoreError>;

    /// The user's conversation list in the order of ids, after `after`, at most `limit`.
    ///
    /// # Errors
    /// The store could not answer.
    async fn conversations(&self, uid: &Uid, after: &str, limit: usize) -> Result<Conversations, StoreError>;

    /// A read mark, made durable by its event; takes effect in lists at once. Higher ones win.
    async fn mark_read(&self, conv: &ConversationId, uid: &Uid, seq: u64);

    /// Bytes of messages numbered but not archived yet; the gateway refuses sends past the bound.
    fn unarchived_bytes(&self) -> usize;
}
