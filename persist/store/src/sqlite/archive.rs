//! The archive over SQLite: one transaction a batch, flushed to disk, the log's offset with it.
//!
//! Owns the table from conversation ids to row numbers (a cache of `conversations`, bounded). A commit
//! that fails, or is dropped, leaves nothing behind but perhaps row numbers in that cache that were
//! never committed: so a cache entry is kept only after the commit.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, ConversationKind};
use ringway_engine::packet::schema::Message;
use sqlx::{Sqlite, Transaction};

use super::messages::{self, Placed};
use super::{Database, epochs, failed, json_list, now_ms, signed, unsigned};
use crate::limits::{CONVERSATION_ID_MAX, CONVERSATION_ROWS_MAX};
use crate::ports::{
    Archive, ArchiveBatch, ArchivedMessage, CommitError, LogOffset, NumberedMessage, PageFrom, StoreError,
};

/// The archive.
#[derive(Debug, Clone)]
pub struct SqliteArchive {
    database: Database,
    rows: Arc<Mutex<HashMap<String, i64>>>,
}

impl SqliteArchive {
    /// On an open database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database, rows: Arc::default() }
    }

    /// Row numbers of the conversations named, the known ones from memory. The second map are those that
    /// were not.
    async fn conversation_rows<'a>(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
        convs: &BTreeSet<&'a str>,
    ) -> Result<(HashMap<&'a str, i64>, Vec<(String, i64)>), StoreError> {
        let mut known = HashMap::with_capacity(convs.len());
        let mut unknown = Vec::new();
        {
            let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            for conv in convs {
                match rows.get(*conv) {
                    Some(row) => drop(known.insert(*conv, *row)),
                    None => unknown.push(*conv),
                }
            }
        }
        if unknown.is_empty() {
            return Ok((known, Vec::new()));
        }
        let list = json_list(&unknown)?;
        insert_conversations(transaction, &unknown, &list).await?;
        let learned: Vec<(String, i64)> =
            sqlx::query_as("SELECT c.conv, c.id FROM json_each(?1) j JOIN conversations c ON c.conv = j.value")
                .bind(&list)
                .fetch_all(&mut **transaction)
                .await
                .map_err(failed)?;
        let by_name: HashMap<&str, i64> = learned.iter().map(|(conv, row)| (conv.as_str(), *row)).collect();
        for conv in unknown {
            let row = by_name.get(conv).copied().filter(|row| (1..=CONVERSATION_ID_MAX).contains(row));
            let row = row.ok_or_else(|| StoreError::new("sqlite", format!("no row number for conversation {conv}")))?;
            known.insert(conv, row);
        }
        Ok((known, learned))
    }

    fn remember(&self, learned: Vec<(String, i64)>) {
        if learned.is_empty() {
            return;
        }
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.len() + learned.len() > CONVERSATION_ROWS_MAX {
            rows.clear();
        }
        rows.extend(learned);
    }
}

async fn insert_conversations(
    transaction: &mut Transaction<'static, Sqlite>,
    convs: &[&str],
    list: &str,
) -> Result<(), StoreError> {
    let made = sqlx::query(
        "INSERT INTO conversations (conv, epoch, head) SELECT value, 0, 0 FROM json_each(?1) WHERE true \
         ON CONFLICT (conv) DO NOTHING",
    )
    .bind(list)
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
    if made.rows_affected() == 0 {
        return Ok(());
    }
    let mut parties: Vec<(String, &str)> = Vec::new();
    for conv in convs {
        let id = ConversationId::parse(conv).map_err(|error| StoreError::new("sqlite", error))?;
        match id.kind() {
            ConversationKind::P2p(low, high) => {
                parties.push((low.to_owned(), conv));
                parties.push((high.to_owned(), conv));
            }
            ConversationKind::System(uid) => parties.push((uid.to_owned(), conv)),
            ConversationKind::Group(_) => {}
        }
    }
    sqlx::query(
        "INSERT INTO conversation_users (uid, conv) SELECT value ->> 0, value ->> 1 FROM json_each(?1) WHERE true \
         ON CONFLICT DO NOTHING",
    )
    .bind(json_list(&parties)?)
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
    Ok(())
}

fn row_of(rows: &HashMap<&str, i64>, message: &NumberedMessage) -> i64 {
    rows.get(message.event.conv.as_str()).copied().unwrap_or_default()
}

/// What a batch adds to one conversation in the current epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    first: u64,
    /// Numbers from `first` to here are all in the batch.
    dense_end: u64,
    head: u64,
}

/// What the batch adds to each conversation; `placed` is sorted.
fn runs(placed: &[Placed<'_>]) -> BTreeMap<i64, Run> {
    let mut runs: BTreeMap<i64, Run> = BTreeMap::new();
    for Placed { conversation, message } in placed {
        let seq = message.seq;
        let run = runs.entry(*conversation).or_insert(Run { first: seq, dense_end: seq, head: seq });
        run.head = seq;
        if seq == run.dense_end + 1 {
            run.dense_end = seq;
        }
    }
    runs
}

/// Raises heads, remembers where the epoch began for conversations that are new in it, and moves on what is dense.
async fn raise_heads(
    transaction: &mut Transaction<'static, Sqlite>,
    epoch: u64,
    runs: &BTreeMap<i64, Run>,
) -> Result<(), StoreError> {
    let rows = runs.iter().map(|(row, run)| (*row, run.first, run.dense_end, run.head));
    let list = json_list(&rows.collect::<Vec<_>>())?;
    // Nothing came before the first epoch.
    if epoch > 1 {
        sqlx::query(
            "INSERT INTO epoch_floors (conv, epoch, floor) SELECT c.id, ?2, c.dense \
             FROM json_each(?1) j JOIN conversations c ON c.id = j.value ->> 0 WHERE c.epoch < ?2 ON CONFLICT DO NOTHING",
        )
        .bind(&list)
        .bind(signed(epoch))
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    }
    sqlx::query(
        "UPDATE conversations SET epoch = max(epoch, ?2), head = max(head, j.value ->> 3), \
         dense = CASE WHEN j.value ->> 1 <= dense + 1 THEN max(dense, j.value ->> 2) ELSE dense END \
         FROM json_each(?1) j WHERE conversations.id = j.value ->> 0",
    )
    .bind(&list)
    .bind(signed(epoch))
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
    let gaps: Vec<(i64, i64)> = sqlx::query_as(
        "SELECT c.id, c.dense FROM json_each(?1) j JOIN conversations c ON c.id = j.value ->> 0 WHERE c.dense < c.head",
    )
    .bind(&list)
    .fetch_all(&mut **transaction)
    .await
    .map_err(failed)?;
    for (row, dense) in gaps {
        let end = epochs::dense_end(transaction, row, unsigned(dense)).await?;
        sqlx::query("UPDATE conversations SET dense = ?2 WHERE id = ?1")
            .bind(row)
            .bind(signed(end))
            .execute(&mut **transaction)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Whether the log is consumed up to where this batch was read from. Up to its end is as good: then it was committed
/// before, and its reader did not learn so.
async fn check_offset(transaction: &mut Transaction<'static, Sqlite>, batch: &ArchiveBatch) -> Result<(), CommitError> {
    let Some(first) = batch.first_offset else { return Ok(()) };
    let found: i64 = sqlx::query_scalar("SELECT value FROM state WHERE name = 'consumed_offset'")
        .fetch_one(&mut **transaction)
        .await
        .map_err(failed)?;
    let found = LogOffset(unsigned(found));
    if found == first || found == batch.next_offset {
        return Ok(());
    }
    Err(CommitError::Moved { read_from: first.0, found: found.0 })
}

async fn write_dead_letters(
    transaction: &mut Transaction<'static, Sqlite>,
    batch: &ArchiveBatch,
    archived_ms: u64,
) -> Result<(), StoreError> {
    for letter in &batch.dead_letters {
        sqlx::query(
            "INSERT OR REPLACE INTO dead_letters (log_offset, reason, bytes, archived_ms) VALUES (?1, ?2, ?3, ?4)",
        )
        .bind(signed(letter.offset.0))
        .bind(&letter.reason)
        .bind(letter.bytes.as_ref())
        .bind(signed(archived_ms))
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

async fn write_reads(transaction: &mut Transaction<'static, Sqlite>, batch: &ArchiveBatch) -> Result<(), StoreError> {
    let mut highest: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for read in &batch.reads {
        let mark = highest.entry((&read.uid, &read.conv)).or_default();
        *mark = (*mark).max((read.seq, read.ts_ms));
    }
    let list: Vec<(&str, &str, i64, i64)> =
        highest.into_iter().map(|((uid, conv), (seq, ts_ms))| (uid, conv, signed(seq), signed(ts_ms))).collect();
    // Nobody has read what is not there: a mark from a broken client ends at the head.
    sqlx::query(
        "INSERT INTO receipts (uid, conv, read_seq, read_ms) \
         SELECT j.value ->> 0, c.conv, min(j.value ->> 2, c.head), j.value ->> 3 \
         FROM json_each(?1) j JOIN conversations c ON c.conv = j.value ->> 1 WHERE true \
         ON CONFLICT (uid, conv) DO UPDATE SET read_seq = excluded.read_seq, read_ms = excluded.read_ms \
         WHERE excluded.read_seq > read_seq",
    )
    .bind(json_list(&list)?)
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
    Ok(())
}

#[async_trait]
impl Archive for SqliteArchive {
    async fn commit(&self, batch: &ArchiveBatch) -> Result<(), CommitError> {
        let archived_ms = now_ms();
        let convs: BTreeSet<&str> = batch.messages.iter().map(|message| message.event.conv.as_str()).collect();
        let mut transaction = self.database.write().await?;
        check_offset(&mut transaction, batch).await?;
        let epoch = epochs::current_number(&mut transaction).await?;
        let (rows, learned) = self.conversation_rows(&mut transaction, &convs).await?;
        let place = |message| Placed { conversation: row_of(&rows, message), message };
        let mut placed: Vec<Placed<'_>> = batch.messages.iter().map(place).collect();
        // Side by side in the batch as they will lie in the table; a stable sort keeps their order.
        placed.sort_by_key(|placed| (placed.conversation, placed.message.seq));
        if let Some(numbered) = messages::stale(&mut transaction, &placed, epoch).await? {
            return Err(CommitError::Stale { numbered, current: epoch });
        }
        placed.retain(|placed| placed.message.epoch == epoch);
        if !placed.is_empty() {
            messages::insert(&mut transaction, &placed, archived_ms).await?;
            raise_heads(&mut transaction, epoch, &runs(&placed)).await?;
        }
        if !batch.reads.is_empty() {
            write_reads(&mut transaction, batch).await?;
        }
        write_dead_letters(&mut transaction, batch, archived_ms).await?;
        sqlx::query("UPDATE state SET value = max(value, ?1) WHERE name = 'consumed_offset'")
            .bind(signed(batch.next_offset.0))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        self.remember(learned);
        Ok(())
    }

    async fn consumed_offset(&self) -> Result<LogOffset, StoreError> {
        let offset: i64 = sqlx::query_scalar("SELECT value FROM state WHERE name = 'consumed_offset'")
            .fetch_one(&self.database.readers)
            .await
            .map_err(failed)?;
        Ok(LogOffset(unsigned(offset)))
    }

    async fn set_consumed_offset(&self, offset: LogOffset) -> Result<(), StoreError> {
        sqlx::query("UPDATE state SET value = ?1 WHERE name = 'consumed_offset'")
            .bind(signed(offset.0))
            .execute(&self.database.writer)
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        messages::page(&self.database, conv.as_str(), from, limit).await
    }

    /// Nothing is ever dropped here.
    async fn first_kept(&self, _conv: &ConversationId) -> Result<u64, StoreError> {
        Ok(1)
    }

    async fn message(&self, msg_id: u64) -> Result<Option<ArchivedMessage>, StoreError> {
        let found = messages::by_id(&self.database, msg_id).await?;
        Ok(found.map(|(message, archived_at_ms)| ArchivedMessage { message: Arc::new(message), archived_at_ms }))
    }

    async fn highest_msg_id(&self) -> Result<u64, StoreError> {
        let highest: Option<i64> = sqlx::query_scalar("SELECT max(msg_id) FROM messages")
            .fetch_one(&self.database.readers)
            .await
            .map_err(failed)?;
        Ok(highest.map_or(0, unsigned))
    }
}
