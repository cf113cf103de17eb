//! A user's list of conversations: what the archive knows, and what is still in memory only.

use std::collections::HashMap;

use ringway_engine::ids::{ConversationId, ConversationKind, Uid};
use ringway_engine::limits::PAGE_BYTES_MAX;
use ringway_engine::packet::schema::{Conversation, Conversations, Message};

use super::EPOCH;
use super::marks::UserMarks;
use super::state::EmbeddedState;
use crate::limits::UNREAD_COUNTED_MAX;
use crate::ports::{ListRow, StoreError};
use crate::sqlite;

/// Conversations whose last messages are read at once.
const CHUNK: usize = 100;

/// A row with what memory adds.
struct Row {
    listed: ListRow,
    last: Option<Message>,
    /// Unread messages are counted above this number.
    above: u64,
    /// Up to here they are counted in the archive.
    archived: u64,
    /// The user's own among the unarchived ones.
    own: u64,
}

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
        let wanted: Vec<(&str, u64)> = rows
            .iter()
            .filter(|row| row.last.is_none() && row.listed.head > 0)
            .map(|row| (row.listed.conv.as_str(), row.listed.head))
            .collect();
        let mut archived = sqlite::messages_at(&self.database, &wanted).await?;
        let ranges: Vec<(&str, u64, u64)> = rows
            .iter()
            .filter(|row| row.above < row.archived)
            .map(|row| (row.listed.conv.as_str(), row.above, row.archived))
            .collect();
        let own = sqlite::own_counts(&self.database, uid, &ranges).await?;
        let others: Vec<&str> = rows.iter().filter_map(|row| other_party(&row.listed.conv, uid)).collect();
        let names = sqlite::names(&self.database, &others).await?;
        let entry = |row: Row| {
            let own = row.own + own.get(&row.listed.conv).copied().unwrap_or(0);
            let last = row.last.or_else(|| archived.remove(&row.listed.conv));
            entry(uid, row.listed, last, row.above, own, &names)
        };
        Ok(rows.into_iter().map(entry).collect())
    }

    fn with_memory(&self, uid: &Uid, marks: &UserMarks, listed: Vec<ListRow>) -> Vec<Row> {
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
            Row { listed, last, above, archived: tail_first - 1, own: own as u64 }
        };
        listed.into_iter().map(with_memory).collect()
    }
}

fn other_party<'a>(conv: &'a str, uid: &Uid) -> Option<&'a str> {
    let (low, high) = conv.strip_prefix("p2p:")?.split_once(':')?;
    Some(if low == uid.as_str() { high } else { low })
}

fn entry(
    uid: &Uid,
    row: ListRow,
    last: Option<Message>,
    above: u64,
    own: u64,
    names: &HashMap<String, String>,
) -> Conversation {
    let group = ConversationId::parse(&row.conv).is_ok_and(|id| matches!(id.kind(), ConversationKind::Group(_)));
    let other = || other_party(&row.conv, uid).and_then(|other| names.get(other)).cloned().unwrap_or_default();
    let name = if group { row.name.clone() } else { other() };
    Conversation {
        head: row.head,
        read: row.read.min(row.head),
        unread: (row.head - above).saturating_sub(own),
        // What was said before the user joined is not shown.
        last: last.filter(|last| last.seq > row.joined_seq),
        name,
        epoch: EPOCH,
        conv: row.conv,
        ..Conversation::default()
    }
}
