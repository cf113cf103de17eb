//! The event log: what every durable event goes through, once. It has one queue or several; a conversation's
//! events are all in one of them, in order.

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

/// The place of a record in its queue: records are numbered from 0 without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogOffset(pub u64);

/// One record as it was appended.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Its place.
    pub offset: LogOffset,
    /// The bytes given to `append`.
    pub bytes: Bytes,
}

/// A record to be appended.
#[derive(Debug, Clone)]
pub struct NewRecord {
    /// `ConversationId::stable_hash` of the conversation that it belongs to: records of one key stay in order.
    pub key: u64,
    /// An encoded `engine::event::Event`.
    pub bytes: Bytes,
}

/// Why nothing may be acknowledged.
#[derive(Debug, Clone, Error)]
pub enum AppendError {
    /// No room (disk full, or the log's byte bound reached). Nothing was written; it recovers by itself.
    #[error("event log is full: {0}")]
    Full(String),
    /// A write or flush failed, so what is on disk is unknown: the log takes nothing more until a restart
    /// has recovered it.
    #[error("event log has failed: {0}")]
    Failed(String),
    /// The log did not answer, or not in time; what of the records is in it is not known. A later append may
    /// succeed.
    #[error("event log is unavailable: {0}")]
    Unavailable(String),
    /// The log is closed.
    #[error("event log is closed")]
    Closed,
}

/// Why a read gave nothing.
#[derive(Debug, Clone, Error)]
pub enum LogReadError {
    /// The offset is below what was released.
    #[error("log records before {0:?} are gone")]
    Released(LogOffset),
    /// The bytes are not what was written, or the log ends before the place that was asked for.
    #[error("event log is damaged: {0}")]
    Damaged(String),
    /// The log did not answer, or not in time: the same call may succeed later.
    #[error("event log is unavailable: {0}")]
    Unavailable(String),
    /// The log is closed.
    #[error("event log is closed")]
    Closed,
}

/// The event log, as gateways write to it.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends records; `Ok` means that all of them are durable. Those of one key are in the order given, and
    /// after those of every call that was made before. A dropped call may still append.
    ///
    /// # Errors
    /// See [`AppendError`]: nothing of the call may be acknowledged, though some of it may be in the log.
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), AppendError>;

    /// Waits until an append would be served at once, for who gathers meanwhile what it has to append. A log that serves
    /// any number beside each other is always ready.
    async fn ready(&self) {}
}

/// One queue of the event log, as its consumer reads it. Every record of a key is in one queue.
#[async_trait]
pub trait LogQueue: Send + Sync {
    /// Its name, which stays: offsets are recorded under it.
    fn name(&self) -> &str;

    /// Reads durable records from `from` on: at most `records_max`, and at most about `bytes_max` bytes
    /// (at least one record if there is one). Empty at the end of the queue.
    ///
    /// # Errors
    /// See [`LogReadError`].
    async fn read(&self, from: LogOffset, records_max: usize, bytes_max: usize)
    -> Result<Vec<LogRecord>, LogReadError>;

    /// Waits until the record at `offset` is durable.
    ///
    /// # Errors
    /// [`LogReadError::Closed`] when the log closes first.
    async fn wait_for(&self, offset: LogOffset) -> Result<(), LogReadError>;

    /// The place the next record will get, as far as this process knows.
    fn end(&self) -> LogOffset;

    /// Says that records before `offset` are consumed for good; their storage may be let go.
    fn release(&self, before: LogOffset);
}
