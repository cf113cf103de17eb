//! A user's list of conversations: what SQL knows, and what is in Redis only.

use std::sync::Arc;

use fred::types::Value;
use ringway_engine::ids::Uid;
use ringway_engine::limits::PAGE_BYTES_MAX;
use ringway_engine::packet::schema::{Conversation, Conversations};
use ringway_store::limits::UNREAD_COUNTED_MAX;
use ringway_store::listing::{self, ListedRow};
use ringway_store::ports::{ListRow, StoreError};

use crate::fence::text;
use crate::held;
use crate::limits::EPOCH_CHANGES_MAX;
use crate::reply::Reply;
use crate::script::ENTRY;
use crate::state::Shared;
use crate::together::together;

/// Conversations whose last messages are read at once.
const CHUNK: usize = 100;

impl Shared {
    pub(crate) async fn list_conversations(
        &self,
        uid: &Uid,
        after: &str,
        limit: usize,
    ) -> Result<Conversations, StoreError> {
        for _ in 0..EPOCH_CHANGES_MAX {
            let working = self.fence.working(&self.connection).await?;
            let list = self.list_in(working.epoch, uid, after, limit.max(1)).await?;
            let read = list.items.iter().map(|item| item.conv.as_str()).chain([uid.as_str()]);
            if self.fence.confirm(&self.connection, working, read).await? {
                return Ok(list);
            }
        }
        Err(StoreError::new("redis", "the epoch changes faster than a list is read"))
    }

    async fn list_in(&self, epoch: u64, uid: &Uid, after: &str, limit: usize) -> Result<Conversations, StoreError> {
        let (rows, mut more) = self.merged_rows(uid, after, limit).await?;
        let mut items = Vec::with_capacity(rows.len());
        let mut bytes = 0;
        let mut rows = rows.into_iter().peekable();
        'chunks: while rows.peek().is_some() {
            let chunk: Vec<ListRow> = rows.by_ref().take(CHUNK).collect();
            for item in self.entries(epoch, uid, chunk).await? {
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

    /// At most `limit` rows in the order of ids, with the read marks of Redis, and whether there are more.
    async fn merged_rows(&self, uid: &Uid, after: &str, limit: usize) -> Result<(Vec<ListRow>, bool), StoreError> {
        let (reads, fresh) = (self.reads_of(uid).await?, self.fresh_of(uid).await?);
        let mut rows = self.records.list(uid, after, limit + 1).await?;
        for conv in fresh.into_iter().filter(|conv| conv.as_str() > after) {
            rows.push(ListRow { conv, ..ListRow::default() });
        }
        // Stable: a row of SQL stays before its double from Redis.
        rows.sort_by(|one, other| one.conv.cmp(&other.conv));
        rows.dedup_by(|later, earlier| later.conv == earlier.conv);
        let more = rows.len() > limit;
        rows.truncate(limit);
        for row in &mut rows {
            row.read = row.read.max(reads.get(&row.conv).copied().unwrap_or(0));
        }
        Ok((rows, more))
    }

    async fn entries(&self, epoch: u64, uid: &Uid, listed: Vec<ListRow>) -> Result<Vec<Conversation>, StoreError> {
        let calls = listed.into_iter().map(|row| self.with_redis(epoch, uid, row)).collect();
        let rows: Vec<ListedRow> = together(calls).await?;
        listing::lines(&*self.records, epoch, uid, rows).await
    }

    async fn with_redis(&self, epoch: u64, uid: &Uid, mut listed: ListRow) -> Result<ListedRow, StoreError> {
        let keys = &self.connection.keys;
        // Above this the user's own messages are counted; the head may be higher, then fewer count.
        let from = listed.read.max(listed.joined_seq).max(listed.head.saturating_sub(UNREAD_COUNTED_MAX));
        let names = vec![keys.seq(&listed.conv), keys.recent(&listed.conv), keys.holes(&listed.conv)];
        let arguments = vec![text(epoch), Value::from(uid.as_str()), text(from), text(UNREAD_COUNTED_MAX)];
        let mut reply = Reply::new(self.connection.call(&ENTRY, names, arguments).await?)?;
        if reply.text()? == "start" {
            let (head, above) = (listed.head, from.min(listed.head));
            return Ok(ListedRow { listed, visible: head, last: None, above, archived: head, own: 0 });
        }
        let (head, hole, lowest) = (reply.number()?, reply.number()?, reply.number()?);
        let (own, newest, member) = (reply.number()?, reply.number()?, reply.bytes()?);
        let head = head.max(listed.head);
        let visible = if hole == 0 { head } else { hole - 1 };
        listed.head = head;
        let last = if newest == visible && newest > 0 {
            let event: Arc<_> = held::event(&member)?;
            Some(event.to_message(epoch, newest))
        } else {
            None
        };
        let above = from.max(head.saturating_sub(UNREAD_COUNTED_MAX)).min(head);
        let archived = if lowest == 0 { head } else { lowest - 1 };
        Ok(ListedRow { listed, visible, last, above, archived, own })
    }
}
