//! The [`Epochs`] port: the row `epoch` of `state`, and what the archive recorded of each conversation.
//!
//! SQLite has one writer at a time, so a commit of the archive and an `advance` are one after the other
//! by themselves.

use std::collections::HashMap;

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{Database, failed, json_list, now_ms, signed, unsigned};
use crate::limits::CONVERSATION_SEQ_MAX;
use crate::ports::{Advanced, Epoch, Epochs, Start, StoreError};

/// Numbers read at once when the holes of a conversation are looked for.
const NUMBERS_AT_ONCE: usize = 1_024;

/// The current epoch's number, in the caller's transaction.
pub(super) async fn current_number(connection: &mut SqliteConnection) -> Result<u64, StoreError> {
    let number: i64 = sqlx::query_scalar("SELECT value FROM state WHERE name = 'epoch'")
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Ok(unsigned(number))
}

async fn current(connection: &mut SqliteConnection) -> Result<Epoch, StoreError> {
    let (number, server, started_ms): (i64, String, i64) = sqlx::query_as(
        "SELECT e.number, e.server, e.started_ms FROM state s JOIN epochs e ON e.number = s.value WHERE s.name = 'epoch'",
    )
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    Ok(Epoch { number: unsigned(number), server, started_ms: unsigned(started_ms) })
}

/// Archived numbers of a conversation above `above`, rising, a bounded number of them.
async fn numbers_above(
    connection: &mut SqliteConnection,
    conversation: i64,
    above: u64,
) -> Result<Vec<u64>, StoreError> {
    let keys: Vec<i64> =
        sqlx::query_scalar("SELECT key FROM messages WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT ?3")
            .bind((conversation << 32) | signed(above))
            .bind((conversation << 32) | signed(CONVERSATION_SEQ_MAX))
            .bind(signed(NUMBERS_AT_ONCE as u64))
            .fetch_all(connection)
            .await
            .map_err(failed)?;
    Ok(keys.into_iter().map(|key| unsigned(key & signed(CONVERSATION_SEQ_MAX))).collect())
}

/// The end of the run of archived numbers that goes on from `dense`.
pub(super) async fn dense_end(
    connection: &mut SqliteConnection,
    conversation: i64,
    mut dense: u64,
) -> Result<u64, StoreError> {
    loop {
        let numbers = numbers_above(connection, conversation, dense).await?;
        let run = numbers.iter().zip(dense + 1..).take_while(|(number, expected)| *number == expected).count();
        dense += run as u64;
        if run < NUMBERS_AT_ONCE {
            return Ok(dense);
        }
    }
}

async fn holes(
    connection: &mut SqliteConnection,
    conversation: i64,
    dense: u64,
    head: u64,
) -> Result<Vec<u64>, StoreError> {
    let (mut holes, mut last) = (Vec::new(), dense);
    while last < head {
        let numbers = numbers_above(connection, conversation, last).await?;
        if numbers.is_empty() {
            break;
        }
        for number in numbers {
            holes.extend(last + 1..number);
            last = number;
        }
    }
    Ok(holes)
}

#[async_trait]
impl Epochs for Database {
    async fn current(&self) -> Result<Epoch, StoreError> {
        current(&mut *self.readers.acquire().await.map_err(failed)?).await
    }

    async fn advance(&self, from: u64, server: &str) -> Result<Advanced, StoreError> {
        let mut transaction = self.write().await?;
        let next = from.saturating_add(1);
        let taken = sqlx::query("UPDATE state SET value = ?2 WHERE name = 'epoch' AND value = ?1")
            .bind(signed(from))
            .bind(signed(next))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        if taken.rows_affected() == 0 {
            return Ok(Advanced::Lost(current(&mut transaction).await?));
        }
        let started_ms = now_ms();
        sqlx::query("INSERT INTO epochs (number, server, started_ms) VALUES (?1, ?2, ?3)")
            .bind(signed(next))
            .bind(server)
            .bind(signed(started_ms))
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Advanced::Won(Epoch { number: next, server: server.to_owned(), started_ms }))
    }

    async fn starts(&self, convs: &[&str]) -> Result<Vec<Start>, StoreError> {
        // One transaction: the numbers looked through are those that the heads tell of.
        let mut snapshot = self.readers.begin().await.map_err(failed)?;
        let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(
            "SELECT c.conv, c.id, c.dense, c.head FROM json_each(?1) j JOIN conversations c ON c.conv = j.value",
        )
        .bind(json_list(&convs)?)
        .fetch_all(&mut *snapshot)
        .await
        .map_err(failed)?;
        let mut found: HashMap<String, Start> = HashMap::with_capacity(rows.len());
        for (conv, id, dense, head) in rows {
            let (dense, head) = (unsigned(dense), unsigned(head));
            let holes = holes(&mut snapshot, id, dense, head).await?;
            found.insert(conv, Start { dense, head, holes });
        }
        Ok(convs.iter().map(|conv| found.get(*conv).cloned().unwrap_or_default()).collect())
    }

    async fn floors(&self, of: &[(&str, u64)]) -> Result<Vec<u64>, StoreError> {
        // What was archived in a later epoch says where that one began; a conversation without such a message
        // holds what it held when the asked epoch ended, which no commit can change any more.
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT j.key, coalesce( \
               (SELECT f.floor FROM epoch_floors f JOIN conversations c ON c.id = f.conv \
                WHERE c.conv = j.value ->> 0 AND f.epoch > j.value ->> 1 ORDER BY f.epoch LIMIT 1), \
               (SELECT dense FROM conversations c WHERE c.conv = j.value ->> 0), 0) \
             FROM json_each(?1) j WHERE j.value ->> 1 < (SELECT value FROM state WHERE name = 'epoch')",
        )
        .bind(json_list(&of.iter().map(|(conv, epoch)| (conv, signed(*epoch))).collect::<Vec<_>>())?)
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let floors: HashMap<u64, u64> = rows.into_iter().map(|(at, floor)| (unsigned(at), unsigned(floor))).collect();
        Ok((0..of.len() as u64).map(|at| floors.get(&at).copied().unwrap_or(u64::MAX)).collect())
    }
}
