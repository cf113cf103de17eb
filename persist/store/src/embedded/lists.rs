//! A user's list of conversations: what the archive knows, and what is still in memory only.

use ringway_engine::ids::Uid;
use ringway_engine::limits::PAGE_BYTES_MAX;
use ringway_engine::packet::schema::{Conversation, Conversations};

use super::EPOCH;
use super::marks::UserMarks;
use super::state::EmbeddedState;
use crate::limits::UNREAD_COUNTED_MAX;
use crate::listing::{self, ListedRow};
use crate::ports::{ListRow, StoreError};
use crate::sqlite;

/// Conversations whose last messages are read at once.
const CHUNK: usize = 100;

impl EmbeddedState {
    pub(super) async fn list_conversations(
        &self,
        uid: &Uid,
        after: &str,
        limit: usize,
    ) -> Result<Conversations, StoreError> {
        let limit = limit.max(1);
        let (marks, rows, mut more) = self.merged_rows(uid, after, limit).await?;
        let mut items = Vec::with_capacity(rows.len());
        let mut bytes = 0;
        let mut rows = rows.into_iter().peekable();
        'chunks: while rows.peek().is_some() {
            let chunk: Vec<ListRow> = rows.by_ref().take(CHUNK).collect();
            for item in self.entries(uid, &marks, chunk).await? {
                bytes += item.last.as_ref().map_or(0, |last| last.body.len());
                if bytes > PAGE_BYTES_MAX && !items.is_empty() {
                    more = true;
                    break 'chunks;
                }
                items.push(item);
            }
        }
        Ok(Conversations { items, more })
    }

    /// At most `limit` rows in the order of ids, and whether there are more.
    async fn merged_rows(
        &self,
        uid: &Uid,
        after: &str,
        limit: usize,
    ) -> Result<(UserMarks, Vec<ListRow>, bool), StoreError> {
        let (marks, fresh) = {
            let memory = self.memory();
            (memory.marks.of_user(uid), memory.tails.fresh_of(uid.as_str()))
        };
        let mut rows = sqlite::list(&self.database, uid, after, limit + 1).await?;
        for conv in fresh.into_iter().filter(|conv| conv.as_str() > after) {
            rows.push(ListRow { conv, ..ListRow::default() });
        }
        // Stable: a row of the database stays before its double from memory.
        rows.sort_by(|one, other| one.conv.cmp(&other.conv));
        rows.dedup_by(|later, earlier| later.conv == earlier.conv);
        let more = rows.len() > limit;
        rows.truncate(limit);
        Ok((marks, rows, more))
    }

    async fn entries(
        &self,
        uid: &Uid,
        marks: &UserMarks,
        listed: Vec<ListRow>,
    ) -> Result<Vec<Conversation>, StoreError> {
        let rows = self.with_memory(uid, marks, listed);
        listing::lines(&self.database, EPOCH, uid, rows).await
    }

    fn with_memory(&self, uid: &Uid, marks: &UserMarks, listed: Vec<ListRow>) -> Vec<ListedRow> {
        let mut memory = self.memory();
        let with_memory = |mut listed: ListRow| {
            listed.read = listed.read.max(marks.read(&listed.conv));
            let conversation = memory.tails.get(&listed.conv);
            let head = conversation.map_or(listed.head, |conversation| conversation.head.max(listed.head));
            let above = listed.read.max(listed.joined_seq).max(head.saturating_sub(UNREAD_COUNTED_MAX)).min(head);
            let tail_first = conversation.map_or(head + 1, |conversation| conversation.tail_first());
            let own = conversation.map_or(0, |conversation| {
                let numbers = (above + 1).max(tail_first)..head + 1;
                numbers.filter(|seq| conversation.get(*seq).is_some_and(|event| event.from == uid.as_str())).count()
            });
            let last =
                conversation.and_then(|conversation| conversation.get(head)).map(|event| event.to_message(EPOCH, head));
            listed.head = head;
            ListedRow { listed, visible: head, last, above, archived: tail_first - 1, own: own as u64 }
        };
        listed.into_iter().map(with_memory).collect()
    }
}
