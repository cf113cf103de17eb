//! The event log over the local journal: only words are translated.

use async_trait::async_trait;
use ringway_journal::{AppendError as JournalAppendError, Journal, JournalStats, ReadError};

use crate::ports::{AppendError, EventLog, LogOffset, LogQueue, LogReadError, LogRecord, NewRecord};

/// The journal is one queue.
const QUEUE: &str = "journal";

/// The journal as an event log.
#[derive(Debug)]
pub struct JournalLog {
    journal: Journal,
}

impl JournalLog {
    /// Wraps an open journal.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self { journal }
    }

    /// Counters of the journal.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        self.journal.stats()
    }

    /// Writes what is queued and ends the journal's thread.
    pub async fn close(&self) {
        self.journal.close().await;
    }
}

#[async_trait]
impl EventLog for JournalLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), AppendError> {
        // Each conversation is a caller of its own.
        let callers = records.chunk_by(|one, next| one.key == next.key).count();
        let records = records.into_iter().map(|record| record.bytes).collect();
        self.journal.append_for(records, callers).await.map(drop).map_err(|error| match error {
            JournalAppendError::Full(why) => AppendError::Full(why),
            JournalAppendError::Closed => AppendError::Closed,
            JournalAppendError::TooLarge { .. } => AppendError::Full(error.to_string()),
            JournalAppendError::Failed(why) => AppendError::Failed(why),
        })
    }

    async fn ready(&self) {
        self.journal.idle().await;
    }
}

#[async_trait]
impl LogQueue for JournalLog {
    fn name(&self) -> &str {
        QUEUE
    }

    async fn read(
        &self,
        from: LogOffset,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<LogRecord>, LogReadError> {
        let records = self.journal.read(from.0, records_max, bytes_max).await.map_err(|error| match error {
            ReadError::Released { .. } => LogReadError::Released(from),
            ReadError::Closed => LogReadError::Closed,
            other => LogReadError::Damaged(other.to_string()),
        })?;
        Ok(records.into_iter().map(|(offset, bytes)| LogRecord { offset: LogOffset(offset), bytes }).collect())
    }

    async fn wait_for(&self, offset: LogOffset) -> Result<(), LogReadError> {
        self.journal.wait_for(offset.0).await.map_err(|_| LogReadError::Closed)
    }

    fn end(&self) -> LogOffset {
        LogOffset(self.journal.end())
    }

    fn release(&self, before: LogOffset) {
        self.journal.release(before.0);
    }
}
