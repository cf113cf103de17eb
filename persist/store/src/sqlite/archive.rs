//! The archive over SQLite: one transaction a batch, flushed to disk, the log's offset with it.
//!
//! Owns the table from conversation ids to row numbers (a cache of `conversations`, bounded). A commit
//! that fails, or is dropped, leaves nothing behind but perhaps row numbers in that cache that were
//! never committed: so a cache entry is kept only after the commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, ConversationKind};
use ringway_engine::packet::schema::Message;
use sqlx::{Sqlite, Transaction};

use super::messages::{self, Placed};
use super::{Database, failed, json_list, signed, unsigned};
use crate::limits::{CONVERSATION_ID_MAX, CONVERSATION_ROWS_MAX};
use crate::ports::{Archive, ArchiveBatch, ArchivedMessage, LogOffset, NumberedMessage, PageFrom, StoreError};

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
        heads: &BTreeMap<&'a str, (u64, u64)>,
    ) -> Result<(HashMap<&'a str, i64>, Vec<(String, i64)>), StoreError> {
        let mut known = HashMap::with_capacity(heads.len());
        let mut unknown = Vec::new();
        {
            let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            for conv in heads.keys() {
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

/// The highest number of each conversation of a batch, with its epoch.
fn heads(messages: &[NumberedMessage]) -> BTreeMap<&str, (u64, u64)> {
    let mut heads: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for message in messages {
        let head = heads.entry(message.event.conv.as_str()).or_default();
        *head = (*head).max((message.epoch, message.seq));
    }
    heads
}

async fn raise_heads(
    transaction: &mut Transaction<'static, Sqlite>,
    heads: &BTreeMap<&str, (u64, u64)>,
    rows: &HashMap<&str, i64>,
) -> Result<(), StoreError> {
    let list: Vec<(i64, u64, u64)> =
        heads.iter().filter_map(|(conv, (epoch, seq))| Some((*rows.get(conv)?, *epoch, *seq))).collect();
    sqlx::query(
        "UPDATE conversations SET epoch = max(epoch, j.value ->> 1), head = max(head, j.value ->> 2) \
         FROM json_each(?1) j WHERE conversations.id = j.value ->> 0",
    )
    .bind(json_list(&list)?)
    .execute(&mut **transaction)
    .await
    .map_err(failed)?;
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

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Archive for SqliteArchive {
    async fn commit(&self, batch: &ArchiveBatch) -> Result<(), StoreError> {
        let archived_ms = now_ms();
        let heads = heads(&batch.messages);
        let mut transaction = self.database.write().await?;
        let (rows, learned) = self.conversation_rows(&mut transaction, &heads).await?;
        let mut placed: Vec<Placed<'_>> = Vec::with_capacity(batch.messages.len());
        for message in &batch.messages {
            let conversation = rows.get(message.event.conv.as_str()).copied().unwrap_or_default();
            placed.push(Placed { conversation, message });
        }
        // Side by side in the batch as they will lie in the table; a stable sort keeps their order.
        placed.sort_by_key(|placed| (placed.conversation, placed.message.seq));
        messages::insert(&mut transaction, &placed, archived_ms).await?;
        if !heads.is_empty() {
            raise_heads(&mut transaction, &heads, &rows).await?;
        }
        if !batch.reads.is_empty() {
            write_reads(&mut transaction, batch).await?;
        }
        for letter in &batch.dead_letters {
            sqlx::query(
                "INSERT OR REPLACE INTO dead_letters (log_offset, reason, bytes, archived_ms) VALUES (?1, ?2, ?3, ?4)",
            )
            .bind(signed(letter.offset.0))
            .bind(&letter.reason)
            .bind(letter.bytes.as_ref())
            .bind(signed(archived_ms))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
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

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        messages::page(&self.database, conv.as_str(), from, limit).await
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
