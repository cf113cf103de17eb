//! Cursors and read marks in Redis, and the cursors' way into SQL.
//!
//! A cursor goes to Redis at once and to SQL by and by: any process may carry it there (`flush_cursors`). What SQL
//! has leaves Redis, so readers look into Redis first and take the higher of both.

use std::collections::{BTreeMap, HashMap};

use fred::types::Value;
use ringway_engine::event::ReadEvent;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_store::ports::{Cursor, CursorUpdate, StoreError};

use crate::fence::text;
use crate::limits::{CURSOR_USERS_AT_ONCE, CURSORS_AT_ONCE, CURSORS_MS, UNARCHIVED_MS_MAX};
use crate::points::Cursors;
use crate::reply::texts;
use crate::script::{ADD, RAISE, READ_ARCHIVED, READ_MARK, WRITTEN};
use crate::state::Shared;
use crate::together::together;

/// The field of a device in a conversation: neither id has a space.
fn field(conv: &str, device: &str) -> String {
    format!("{conv} {device}")
}

pub(crate) fn parse(field: &str, value: &str) -> Option<(String, String, Cursor)> {
    let (conv, device) = field.split_once(' ')?;
    let (epoch, seq) = value.split_once(' ')?;
    Some((conv.to_owned(), device.to_owned(), Cursor { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? }))
}

impl Shared {
    /// All cursors of a user that Redis has.
    pub(crate) async fn cursors_of(&self, uid: &Uid) -> Result<Cursors, StoreError> {
        let key = self.connection.keys.cursors(uid.as_str());
        let mut cursors = Cursors::new();
        for (field, value) in self.all_fields(key).await? {
            if let Some((conv, device, cursor)) = parse(&field, &value) {
                cursors.entry(conv).or_default().push((device, cursor));
            }
        }
        Ok(cursors)
    }

    /// A hash as it is.
    async fn all_fields(&self, key: String) -> Result<HashMap<String, String>, StoreError> {
        let found = self.connection.command("HGETALL", key, Vec::new()).await?;
        found.convert().map_err(crate::connection::failed)
    }

    pub(crate) async fn raise_cursors(&self, updates: Vec<CursorUpdate>) -> Result<(), StoreError> {
        let mut users: BTreeMap<String, Vec<CursorUpdate>> = BTreeMap::new();
        for update in updates {
            users.entry(update.uid.to_string()).or_default().push(update);
        }
        if users.is_empty() {
            return Ok(());
        }
        together(users.iter().map(|(uid, updates)| self.raise_of(uid, updates)).collect()).await?;
        // After the cursors: see `flush_cursors`.
        self.note_dirty(users.keys().map(String::as_str)).await
    }

    /// Puts users into the set of those whose cursors are to be written to SQL.
    async fn note_dirty(&self, uids: impl Iterator<Item = &str>) -> Result<(), StoreError> {
        let arguments = std::iter::once(text(0)).chain(uids.map(Value::from)).collect();
        self.connection.call(&ADD, vec![self.connection.keys.dirty()], arguments).await.map(drop)
    }

    async fn raise_of(&self, uid: &str, updates: &[CursorUpdate]) -> Result<(), StoreError> {
        let mut arguments = vec![text(CURSORS_MS)];
        for update in updates {
            arguments.push(Value::from(field(update.conv.as_str(), update.device.as_str())));
            arguments.extend([text(update.epoch), text(update.seq)]);
        }
        self.connection.call(&RAISE, vec![self.connection.keys.cursors(uid)], arguments).await.map(drop)
    }

    /// Writes the cursors that are there to SQL; of a user with more than `CURSORS_AT_ONCE`, so many.
    ///
    /// Nothing is taken away before SQL has it, so that a call that fails or is dropped leaves all of it for the next
    /// one, in this process or another.
    pub(crate) async fn flush_cursors(&self) -> Result<(), StoreError> {
        let dirty = self.connection.keys.dirty();
        let waiting = self.connection.command("SCARD", dirty.clone(), Vec::new()).await?.as_u64().unwrap_or(0);
        // Those who come meanwhile wait for the next call.
        for _ in 0..waiting.div_ceil(CURSOR_USERS_AT_ONCE as u64) {
            let count = vec![text(CURSOR_USERS_AT_ONCE as u64)];
            let users = texts(self.connection.command("SRANDMEMBER", dirty.clone(), count).await?)?;
            if users.is_empty() {
                break;
            }
            let held = together(users.iter().map(|uid| self.some_cursors_of(uid)).collect()).await?;
            let held: Vec<(&String, Vec<String>)> = users.iter().zip(held).collect();
            self.write_cursors(&held).await?;
            together(held.iter().map(|(uid, fields)| self.written(uid, fields)).collect()).await?;
        }
        Ok(())
    }

    /// Cursors of a user: field and value by turns.
    pub(crate) async fn some_cursors_of(&self, uid: &str) -> Result<Vec<String>, StoreError> {
        let arguments = vec![text(CURSORS_AT_ONCE as u64), Value::from("WITHVALUES")];
        texts(self.connection.command("HRANDFIELD", self.connection.keys.cursors(uid), arguments).await?)
    }

    pub(crate) async fn write_cursors(&self, held: &[(&String, Vec<String>)]) -> Result<(), StoreError> {
        let epoch = self.fence.working(&self.connection).await?.epoch;
        let mut updates: Vec<CursorUpdate> = Vec::new();
        for (uid, fields) in held {
            let Ok(uid) = Uid::parse(uid) else { continue };
            for pair in fields.chunks_exact(2) {
                let [field, value] = pair else { continue };
                let Some((conv, device, cursor)) = parse(field, value) else { continue };
                if let (Ok(conv), Ok(device)) = (ConversationId::parse(&conv), DeviceId::parse(&device)) {
                    let Cursor { epoch, seq } = cursor;
                    updates.push(CursorUpdate { uid: uid.clone(), device, conv, epoch, seq });
                }
            }
        }
        if updates.is_empty() {
            return Ok(());
        }
        let heads = self.heads(epoch, updates.iter().map(|update| update.conv.as_str())).await?;
        let with_heads: Vec<(CursorUpdate, u64)> = updates.into_iter().zip(heads).collect();
        self.records.raise_cursors(&with_heads).await
    }

    /// Cursors of a user are in SQL. The user leaves the set of those who have some when none is left.
    pub(crate) async fn written(&self, uid: &str, fields: &[String]) -> Result<(), StoreError> {
        let keys = &self.connection.keys;
        let arguments = fields.iter().map(|text| Value::from(text.as_str())).collect();
        let left = self.connection.call(&WRITTEN, vec![keys.cursors(uid)], arguments).await?;
        if left.as_u64() != Some(0) {
            return Ok(());
        }
        self.connection.command("SREM", keys.dirty(), vec![Value::from(uid)]).await?;
        // A cursor that came in between put the user into the set before it was taken out.
        let since = self.connection.command("HLEN", keys.cursors(uid), Vec::new()).await?;
        if since.as_u64() != Some(0) {
            self.note_dirty([uid].into_iter()).await?;
        }
        Ok(())
    }

    pub(crate) async fn mark_read(&self, conv: &str, uid: &str, seq: u64) -> Result<(), StoreError> {
        let arguments = vec![Value::from(conv), text(seq), text(UNARCHIVED_MS_MAX)];
        self.connection.call(&READ_MARK, vec![self.connection.keys.reads(uid)], arguments).await.map(drop)
    }

    /// Read marks of a user that Redis has.
    pub(crate) async fn reads_of(&self, uid: &Uid) -> Result<HashMap<String, u64>, StoreError> {
        let found = self.all_fields(self.connection.keys.reads(uid.as_str())).await?;
        Ok(found.into_iter().filter_map(|(conv, seq)| Some((conv, seq.parse().ok()?))).collect())
    }

    /// Read marks are in the archive now.
    pub(crate) async fn reads_archived(&self, reads: &[ReadEvent]) -> Result<(), StoreError> {
        let mut users: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for read in reads {
            users.entry(&read.uid).or_default().extend([Value::from(read.conv.as_str()), text(read.seq)]);
        }
        let keys = &self.connection.keys;
        let calls = users.into_iter();
        let calls =
            calls.map(|(uid, marks)| self.connection.call(&READ_ARCHIVED, vec![keys.reads(uid)], marks)).collect();
        together(calls).await.map(drop)
    }
}
