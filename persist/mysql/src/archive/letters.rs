//! Dead letters: records of the event log that are no events, written by the commit that goes past them and kept for a
//! person to look at. Nothing removes them.

use ringway_store::ports::{ArchiveBatch, LogOffset, StoreError};
use sqlx::MySqlConnection;

use crate::database::Database;
use crate::fault::Fault;
use crate::limits::{INSERT_BYTES_MAX, LETTER_BYTES_SHOWN, LETTERS_LISTED_MAX};
use crate::text::Text;

/// A record that is no event, as [`Database::dead_letters`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLetter {
    /// The log it was read from.
    pub log: String,
    /// Its place there.
    pub offset: LogOffset,
    /// Why it is no event.
    pub reason: String,
    /// The first bytes of what was read, [`LETTER_BYTES_SHOWN`] at most.
    pub bytes: Vec<u8>,
    /// How many bytes are kept; no more than [`INSERT_BYTES_MAX`] are.
    pub bytes_kept: u64,
    /// When the log went past it, Unix milliseconds.
    pub archived_ms: u64,
}

pub(super) async fn write(
    connection: &mut MySqlConnection,
    log: &str,
    batch: &ArchiveBatch,
    archived_ms: u64,
) -> Result<(), sqlx::Error> {
    for letter in &batch.dead_letters {
        // A record that no packet could hold is no reason to stop: its beginning tells enough.
        let bytes = letter.bytes.get(..INSERT_BYTES_MAX).unwrap_or(&letter.bytes);
        sqlx::query(
            "INSERT INTO dead_letters (log, log_offset, reason, bytes, archived_ms) VALUES (?, ?, ?, ?, ?) \
             ON DUPLICATE KEY UPDATE reason = VALUES(reason), bytes = VALUES(bytes), archived_ms = VALUES(archived_ms)",
        )
        .bind(log)
        .bind(letter.offset.0)
        .bind(&letter.reason)
        .bind(bytes)
        .bind(archived_ms)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

impl Database {
    /// The last records of all logs that were no events, the newest first; at most `limit` and [`LETTERS_LISTED_MAX`].
    ///
    /// # Errors
    /// The server could not answer.
    pub async fn dead_letters(&self, limit: usize) -> Result<Vec<KeptLetter>, StoreError> {
        type Row = (Text, u64, Text, Vec<u8>, u64, u64);
        let read = async {
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT log, log_offset, reason, LEFT(bytes, ?), CAST(LENGTH(bytes) AS UNSIGNED), archived_ms \
                 FROM dead_letters ORDER BY archived_ms DESC, log DESC, log_offset DESC LIMIT ?",
            )
            .bind(LETTER_BYTES_SHOWN as u64)
            .bind(limit.min(LETTERS_LISTED_MAX) as u64)
            .fetch_all(self.primary())
            .await?;
            Ok::<_, Fault<StoreError>>(rows)
        };
        let letter = |(log, offset, reason, bytes, bytes_kept, archived_ms): Row| KeptLetter {
            log: log.0,
            offset: LogOffset(offset),
            reason: reason.0,
            bytes,
            bytes_kept,
            archived_ms,
        };
        Ok(self.bounded(read).await?.into_iter().map(letter).collect())
    }
}
