//! Which epoch an archived message is of: the one in which it was archived, or the latest that has begun below it. Its
//! number holds in both, and so places rise with the numbers (see [`ringway_store::ports::Epochs`]).
//!
//! Asked for by itself, after the messages, so that it is no older than they are. Not as a subquery of theirs: MariaDB
//! 10.11 dies of a null pointer when it prepares such a statement anew because its table of messages was dropped and made.

use std::collections::HashMap;

use sqlx::MySqlConnection;

use crate::limits::LIST_MAX;
use crate::lists::{push_list, statement};

/// Of some conversations, by their row numbers: each later epoch, and the number above which it has begun.
#[derive(Debug, Default)]
pub(crate) struct Floors(HashMap<u64, Vec<(u64, u64)>>);

impl Floors {
    /// Those of these conversations.
    pub(crate) async fn of(connection: &mut MySqlConnection, ids: &[u64]) -> Result<Self, sqlx::Error> {
        let mut floors: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        for chunk in ids.chunks(LIST_MAX) {
            let mut select = statement("SELECT conversation, epoch, floor FROM epoch_floors WHERE conversation IN ");
            push_list(&mut select, chunk.iter().copied());
            let rows: Vec<(u64, u64, u64)> = select.build_query_as().fetch_all(&mut *connection).await?;
            for (id, epoch, floor) in rows {
                floors.entry(id).or_default().push((epoch, floor));
            }
        }
        Ok(Self(floors))
    }

    /// The epoch of a message that was archived in `archived`.
    pub(crate) fn epoch(&self, conversation: u64, seq: u64, archived: u64) -> u64 {
        let begun = self.0.get(&conversation).into_iter().flatten().filter(|(_, floor)| *floor < seq);
        begun.map(|(epoch, _)| *epoch).max().unwrap_or(0).max(archived)
    }
}
