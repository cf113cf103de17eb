//! The authority on epochs: the row `epoch` of `state`.
//!
//! A commit of the archive reads the row with a shared lock and holds it to its end; `advance` writes it. So an
//! `advance` returns after every commit that was under way, and a commit that begins after it sees the new epoch.

use std::collections::HashMap;

use async_trait::async_trait;
use ringway_store::ports::{Advanced, Epoch, Epochs, Start, StoreError};
use sqlx::MySqlConnection;

use crate::database::{Database, now_ms};
use crate::fault::{Fault, retried};
use crate::limits::LIST_MAX;
use crate::lists::{push_list, statement};
use crate::spans;
use crate::text::Text;

type Failed = Fault<StoreError>;

/// The current epoch's number, which cannot change before the transaction ends.
pub(crate) async fn current_locked(connection: &mut MySqlConnection) -> Result<u64, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM state WHERE name = 'epoch' LOCK IN SHARE MODE").fetch_one(connection).await
}

async fn current(connection: &mut MySqlConnection) -> Result<Epoch, sqlx::Error> {
    let (number, server, started_ms): (u64, Text, u64) = sqlx::query_as(
        "SELECT e.number, e.server, e.started_ms FROM state s JOIN epochs e ON e.number = s.value \
         WHERE s.name = 'epoch'",
    )
    .fetch_one(connection)
    .await?;
    Ok(Epoch { number, server: server.0, started_ms })
}

async fn try_advance(database: &Database, from: u64, server: &str) -> Result<Advanced, Failed> {
    let mut transaction = database.write().await?;
    let next = from.saturating_add(1);
    let taken = sqlx::query("UPDATE state SET value = ? WHERE name = 'epoch' AND value = ?")
        .bind(next)
        .bind(from)
        .execute(&mut *transaction)
        .await?;
    if taken.rows_affected() == 0 {
        return Ok(Advanced::Lost(current(&mut transaction).await?));
    }
    let started_ms = now_ms();
    sqlx::query("INSERT INTO epochs (number, server, started_ms) VALUES (?, ?, ?)")
        .bind(next)
        .bind(server)
        .bind(started_ms)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(Advanced::Won(Epoch { number: next, server: server.to_owned(), started_ms }))
}

async fn read_starts(database: &Database, convs: &[&str]) -> Result<Vec<Start>, Failed> {
    let mut connection = database.primary().acquire().await?;
    let mut found: HashMap<String, Start> = HashMap::with_capacity(convs.len());
    for chunk in convs.chunks(LIST_MAX) {
        let mut select = statement("SELECT conv, dense, head FROM conversations WHERE conv IN ");
        push_list(&mut select, chunk.iter().copied());
        let rows: Vec<(Text, u64, u64)> = select.build_query_as().fetch_all(&mut *connection).await?;
        found.extend(rows.into_iter().map(|(conv, dense, head)| (conv.0, Start { dense, head, holes: Vec::new() })));
    }
    let broken: Vec<&str> =
        convs.iter().copied().filter(|conv| found.get(*conv).is_some_and(|start| start.dense < start.head)).collect();
    // A commit between the two reads can only close holes.
    let known = spans::of_names(&mut connection, &broken).await?;
    for (conv, known) in known {
        if let Some(start) = found.get_mut(&conv) {
            start.holes = spans::holes(&mut connection, &known, start.dense, start.head).await?;
        }
    }
    Ok(convs.iter().map(|conv| found.get(*conv).cloned().unwrap_or_default()).collect())
}

async fn read_floors(database: &Database, of: &[(&str, u64)]) -> Result<Vec<u64>, Failed> {
    let mut connection = database.primary().acquire().await?;
    let current = current(&mut connection).await?.number;
    // Of each conversation: what is dense, and the floors of its epochs, rising.
    let mut known: HashMap<String, (u64, Vec<(u64, u64)>)> = HashMap::new();
    for chunk in of.chunks(LIST_MAX) {
        let mut select = statement(
            "SELECT c.conv, c.dense, f.epoch, f.floor FROM conversations c \
             LEFT JOIN epoch_floors f ON f.conversation = c.id WHERE c.conv IN ",
        );
        push_list(&mut select, chunk.iter().map(|(conv, _)| *conv));
        select.push(" ORDER BY c.id, f.epoch");
        let rows: Vec<(Text, u64, Option<u64>, Option<u64>)> =
            select.build_query_as().fetch_all(&mut *connection).await?;
        let mut of_chunk: HashMap<String, (u64, Vec<(u64, u64)>)> = HashMap::new();
        for (conv, dense, epoch, floor) in rows {
            of_chunk.entry(conv.0).or_insert((dense, Vec::new())).1.extend(epoch.zip(floor));
        }
        known.extend(of_chunk);
    }
    // What was archived in a later epoch says where that one began; a conversation without such a message holds what it
    // held when the asked epoch ended, which no commit can change any more.
    let floor = |(conv, epoch): &(&str, u64)| {
        if *epoch >= current {
            return u64::MAX;
        }
        let Some((dense, floors)) = known.get(*conv) else { return 0 };
        floors.iter().find(|(of, _)| of > epoch).map_or(*dense, |(_, floor)| *floor)
    };
    Ok(of.iter().map(floor).collect())
}

#[async_trait]
impl Epochs for Database {
    async fn current(&self) -> Result<Epoch, StoreError> {
        let read = async { Ok::<_, Failed>(current(&mut *self.primary().acquire().await?).await?) };
        self.bounded(read).await
    }

    async fn advance(&self, from: u64, server: &str) -> Result<Advanced, StoreError> {
        retried!(self, try_advance(self, from, server))
    }

    async fn starts(&self, convs: &[&str]) -> Result<Vec<Start>, StoreError> {
        self.bounded(read_starts(self, convs)).await
    }

    async fn floors(&self, of: &[(&str, u64)]) -> Result<Vec<u64>, StoreError> {
        self.bounded(read_floors(self, of)).await
    }
}
