//! Which conversations have a hole: rows of `holes`, kept by whoever moves `dense` or `head`, under the lock of the
//! conversation's row.

use async_trait::async_trait;
use ringway_store::ports::{Hole, Holes, StoreError};
use sqlx::MySqlConnection;

use crate::database::Database;
use crate::fault::Fault;
use crate::limits::LIST_MAX;
use crate::lists::{filled, push_list, statement};
use crate::text::Text;

/// How a conversation stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) dense: u64,
    pub(crate) head: u64,
}

impl Standing {
    fn has_hole(self) -> bool {
        self.dense < self.head
    }
}

/// A conversation, by its row number, whose standing changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moved {
    pub(crate) id: u64,
    pub(crate) before: Standing,
    pub(crate) now: Standing,
}

/// Writes what changes. Where there was no hole and is none, which is nearly always, that is nothing.
pub(crate) async fn write(connection: &mut MySqlConnection, moved: &[Moved], now_ms: u64) -> Result<(), sqlx::Error> {
    let begins = |of: &&Moved| of.now.has_hole() && (!of.before.has_hole() || of.before.dense != of.now.dense);
    let begun: Vec<(u64, u64)> = moved.iter().filter(begins).map(|of| (of.id, of.now.dense)).collect();
    for chunk in begun.chunks(LIST_MAX) {
        let mut insert = statement("INSERT INTO holes (conversation, dense, since_ms) ");
        insert.push_values(filled(chunk), |mut row, (id, dense)| {
            row.push_bind(*id).push_bind(*dense).push_bind(now_ms);
        });
        insert.push(" ON DUPLICATE KEY UPDATE dense = VALUES(dense), since_ms = VALUES(since_ms)");
        insert.build().execute(&mut *connection).await?;
    }
    let ends = |of: &&Moved| of.before.has_hole() && !of.now.has_hole();
    let ended: Vec<u64> = moved.iter().filter(ends).map(|of| of.id).collect();
    for chunk in ended.chunks(LIST_MAX) {
        let mut delete = statement("DELETE FROM holes WHERE conversation IN ");
        push_list(&mut delete, chunk.iter().copied());
        delete.build().execute(&mut *connection).await?;
    }
    Ok(())
}

#[async_trait]
impl Holes for Database {
    async fn oldest_holes(&self, limit: usize) -> Result<Vec<Hole>, StoreError> {
        let read = async {
            let rows: Vec<(Text, u64, u64)> = sqlx::query_as(
                "SELECT c.conv, h.dense, h.since_ms FROM holes h JOIN conversations c ON c.id = h.conversation \
                 WHERE c.dense = h.dense AND c.dense < c.head ORDER BY h.since_ms, h.conversation LIMIT ?",
            )
            .bind(limit as u64)
            .fetch_all(self.primary())
            .await?;
            Ok::<_, Fault<StoreError>>(rows)
        };
        let hole = |(conv, dense, since_ms): (Text, u64, u64)| Hole { conv: conv.0, first: dense + 1, since_ms };
        Ok(self.bounded(read).await?.into_iter().map(hole).collect())
    }
}
