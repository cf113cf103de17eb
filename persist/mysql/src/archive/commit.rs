//! One commit: a transaction with the messages, the read marks, what was no event, and the log's offset.

use std::collections::{BTreeMap, HashMap};

use ringway_store::ports::{ArchiveBatch, CommitError, LogOffset, StoreError};
use sqlx::MySqlConnection;

use super::{conversations, letters, place};
use crate::database::{Database, now_ms};
use crate::epochs;
use crate::fault::Fault;
use crate::limits::LIST_MAX;
use crate::lists::{filled, statement};

type Failed = Fault<CommitError>;

/// Runs the transaction once.
pub(super) async fn attempt(database: &Database, log: &str, batch: &ArchiveBatch) -> Result<(), Failed> {
    let archived_ms = now_ms();
    let mut transaction = database.write().await?;
    let offset = lock_offset(&mut transaction, log, batch).await?;
    if !batch.messages.is_empty() {
        let epoch = epochs::current_locked(&mut transaction).await?;
        place::write(database, &mut transaction, &batch.messages, epoch, archived_ms).await?;
    }
    if !batch.reads.is_empty() {
        write_reads(&mut transaction, batch).await?;
    }
    letters::write(&mut transaction, log, batch, archived_ms).await?;
    if offset < batch.next_offset.0 {
        sqlx::query("UPDATE consumed_offsets SET next_offset = ? WHERE log = ?")
            .bind(batch.next_offset.0)
            .bind(log)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The log's offset, held to the end of the transaction, when the batch may be written from there. Consumers of one
/// log wait for each other here; the one that read from where the log stood no more is refused.
async fn lock_offset(connection: &mut MySqlConnection, log: &str, batch: &ArchiveBatch) -> Result<u64, Failed> {
    let select = "SELECT next_offset FROM consumed_offsets WHERE log = ? FOR UPDATE";
    let mut found: Option<u64> = sqlx::query_scalar(select).bind(log).fetch_optional(&mut *connection).await?;
    if found.is_none() {
        sqlx::query(
            "INSERT INTO consumed_offsets (log, next_offset) VALUES (?, 0) ON DUPLICATE KEY UPDATE log = VALUES(log)",
        )
        .bind(log)
        .execute(&mut *connection)
        .await?;
        found = sqlx::query_scalar(select).bind(log).fetch_optional(&mut *connection).await?;
    }
    let found = found.ok_or_else(|| Fault::wrong(format!("no offset for log {log}")))?;
    match batch.first_offset {
        // Where it ends is as good as where it began: this batch was committed, and its end was not learned.
        Some(first) if first.0 != found && batch.next_offset.0 != found => {
            Err(Fault::Refused(CommitError::Moved { read_from: first.0, found }))
        }
        _ => Ok(found),
    }
}

/// Sets the log's offset, after the commits that hold it.
pub(super) async fn set_offset(database: &Database, log: &str, offset: LogOffset) -> Result<(), Fault<StoreError>> {
    sqlx::query(
        "INSERT INTO consumed_offsets (log, next_offset) VALUES (?, ?) \
         ON DUPLICATE KEY UPDATE next_offset = VALUES(next_offset)",
    )
    .bind(log)
    .bind(offset.0)
    .execute(database.primary())
    .await?;
    Ok(())
}

async fn write_reads(connection: &mut MySqlConnection, batch: &ArchiveBatch) -> Result<(), Failed> {
    let mut highest: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for read in &batch.reads {
        let mark = highest.entry((&read.uid, &read.conv)).or_default();
        *mark = (*mark).max((read.seq, read.ts_ms));
    }
    let mut convs: Vec<&str> = highest.keys().map(|(_, conv)| *conv).collect();
    convs.sort_unstable();
    convs.dedup();
    let heads: HashMap<String, u64> = conversations::heads(connection, &convs).await?;
    // Nobody has read what is not there: a mark from a broken client ends at the head.
    let marks: Vec<(&str, &str, u64, u64)> = highest
        .into_iter()
        .filter_map(|((uid, conv), (seq, ts_ms))| Some((uid, conv, seq.min(*heads.get(conv)?), ts_ms)))
        .collect();
    for chunk in marks.chunks(LIST_MAX) {
        let mut insert = statement("INSERT INTO receipts (uid, conv, read_seq, read_ms) ");
        insert.push_values(filled(chunk), |mut row, (uid, conv, seq, ts_ms)| {
            row.push_bind(*uid).push_bind(*conv).push_bind(*seq).push_bind(*ts_ms);
        });
        // Assigned from left to right: the time first, while the old mark is there to compare with.
        insert.push(
            " ON DUPLICATE KEY UPDATE read_ms = IF(VALUES(read_seq) > read_seq, VALUES(read_ms), read_ms), \
             read_seq = GREATEST(read_seq, VALUES(read_seq))",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}
