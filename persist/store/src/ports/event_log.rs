//! The event log: the queue that every durable event goes through, once, in order.

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

/// The place of a record in the log: records are numbered from 0 without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogOffset(pub u64);

/// One record as it was appended.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// Its place.
    pub offset: LogOffset,
    /// The bytes given to `append` (an encoded `engine::event::Event`).
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
    /// The bytes on disk are not what was written.
    #[error("event log is damaged: {0}")]
    Damaged(String),
    /// The log is closed.
    #[error("event log is closed")]
    Closed,
}

/// The event log.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends records in order; `Ok` means durable, and tells the place of the first. Calls from one
    /// task are appended in the order made. A dropped call may still append.
    ///
    /// # Errors
    /// See [`AppendError`]: nothing of the call may be acknowledged.
    async fn append(&self, records: Vec<Bytes>) -> Result<LogOffset, AppendError>;

    /// Reads durable records from `from` on: at most `records_max`, and at most about `bytes_max` bytes
    /// (at least one record if there is one). Empty at the end of the log.
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

    /// The place the next record will get.
    fn end(&self) -> LogOffset;

    /// Says that records before `offset` are consumed for good; their storage may be let go.
    fn release(&self, before: LogOffset);
}
