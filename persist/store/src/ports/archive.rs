//! The archive: messages for good, by (conversation, sequence).

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ringway_engine::event::{MessageEvent, ReadEvent};
use ringway_engine::ids::ConversationId;
use ringway_engine::packet::schema::Message;
use thiserror::Error;

use super::{LogOffset, StoreError};

/// From where and in which direction a page is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageFrom {
    /// Upwards: the lowest sequences above this one.
    After(u64),
    /// Downwards: the highest sequences below this one (`u64::MAX` for the newest page).
    Before(u64),
}

/// A message with its number.
#[derive(Debug, Clone)]
pub struct NumberedMessage {
    /// As it was logged.
    pub event: Arc<MessageEvent>,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
}

/// A record of the log that is no event: kept for a person to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its place in the log.
    pub offset: LogOffset,
    /// Why it is no event.
    pub reason: String,
    /// What was read.
    pub bytes: Bytes,
}

/// What one run of the daemon makes durable, all or nothing.
#[derive(Debug, Clone, Default)]
pub struct ArchiveBatch {
    /// New messages in log order. Those already archived under the same number are skipped, whatever their
    /// epoch; each of the others must have been numbered under the current one.
    pub messages: Vec<NumberedMessage>,
    /// Read marks; higher ones win.
    pub reads: Vec<ReadEvent>,
    /// Records that could not be understood.
    pub dead_letters: Vec<DeadLetter>,
    /// Where the batch was read from. The archive takes the batch only if the log is consumed up to here, or up to
    /// its end already: of two consumers that read the same place one goes on. `None` takes it unasked.
    pub first_offset: Option<LogOffset>,
    /// The log is consumed up to here (exclusive) once this batch is durable.
    pub next_offset: LogOffset,
}

/// An archived message and when it was archived, for `trace`.
#[derive(Debug, Clone)]
pub struct ArchivedMessage {
    /// The message.
    pub message: Arc<Message>,
    /// Unix milliseconds of the archiving transaction.
    pub archived_at_ms: u64,
}

/// Why a batch was not committed. Nothing of it was written.
#[derive(Debug, Clone, Error)]
pub enum CommitError {
    /// A message of it that is not archived has its number from an epoch that is over (or not known here):
    /// the batch is to be numbered again, then committed.
    #[error("numbered under epoch {numbered}, and epoch {current} is current")]
    Stale {
        /// Epoch of the number.
        numbered: u64,
        /// The current one.
        current: u64,
    },
    /// The log is consumed up to another place: another consumer has gone on, or this one was told to read again.
    #[error("read from {read_from} of the log, which is consumed up to {found}")]
    Moved {
        /// First offset of the batch.
        read_from: u64,
        /// What the archive has recorded.
        found: u64,
    },
    /// The store could not answer, or a number is held by another message.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The archive. It is fenced by the epoch (see [`super::Epochs`]): the transaction of a commit reads the current one
/// locked, so that none ends under an epoch that is over.
#[async_trait]
pub trait Archive: Send + Sync {
    /// Writes a batch in one transaction, the offset with it.
    ///
    /// # Errors
    /// See [`CommitError`].
    async fn commit(&self, batch: &ArchiveBatch) -> Result<(), CommitError>;

    /// Where the log is to be read from next.
    ///
    /// # Errors
    /// The store could not answer.
    async fn consumed_offset(&self) -> Result<LogOffset, StoreError>;

    /// Sets where the log is to be read from next, down as well as up; durable before it returns. A consumer that
    /// runs learns of it by its next commit. What is read again is archived once; what is skipped, never.
    ///
    /// # Errors
    /// The store could not answer; the same call may be repeated.
    async fn set_consumed_offset(&self, offset: LogOffset) -> Result<(), StoreError>;

    /// Archived messages of a conversation, rising, at most `limit` and about `PAGE_BYTES_MAX` body bytes.
    ///
    /// # Errors
    /// The store could not answer.
    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Vec<Arc<Message>>, StoreError>;

    /// The lowest number of a conversation that retention has left: everything below was archived and is gone for good.
    /// 1 where nothing was dropped; one above the highest where everything was.
    ///
    /// # Errors
    /// The store could not answer.
    async fn first_kept(&self, conv: &ConversationId) -> Result<u64, StoreError>;

    /// A message by its id.
    ///
    /// # Errors
    /// The store could not answer.
    async fn message(&self, msg_id: u64) -> Result<Option<ArchivedMessage>, StoreError>;

    /// The highest message id ever archived (0 for none): the floor of new ids when the clock was set back.
    ///
    /// # Errors
    /// The store could not answer.
    async fn highest_msg_id(&self) -> Result<u64, StoreError>;
}
