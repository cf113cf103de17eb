//! Records: what a shared state asks of SQL beside pages of messages: earlier sends, a user's conversations,
//! and the cursors that outlive the memory of the state.
//!
//! Every call takes a list and answers it in one round trip. Reads may lag behind a commit only by what
//! one process can order itself: a read that begins after a commit has returned sees it (so not on a
//! replica that lags).

use std::collections::HashMap;

use async_trait::async_trait;
use ringway_engine::ids::{DeviceId, Uid};
use ringway_engine::packet::schema::Message;

use super::{CursorUpdate, StoreError};

/// A message that holds a number, as dedup needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldNumber {
    /// Epoch of `seq`.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub msg_id: u64,
    /// When the gateway took it, Unix milliseconds.
    pub ts_ms: u64,
}

/// A recorded cursor. Ordered by epoch first: a number of a later epoch is the newer news.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Epoch of `seq`.
    pub epoch: u64,
    /// Everything up to it is received.
    pub seq: u64,
}

/// A user's conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// Conversation id.
    pub conv: String,
    /// Head when the user joined (groups; 0 for others).
    pub joined_seq: u64,
    /// Highest archived number, 0 for none.
    pub head: u64,
    /// What the device asked about has acknowledged.
    pub device_cursor: Option<Cursor>,
    /// The highest that any device of the user has acknowledged.
    pub user_cursor: Option<Cursor>,
}

/// A row of a user's conversation list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListRow {
    /// Conversation id.
    pub conv: String,
    /// Head when the user joined (groups; 0 for others).
    pub joined_seq: u64,
    /// Highest archived number, 0 for none.
    pub head: u64,
    /// The user's archived read mark.
    pub read: u64,
    /// The group's name, empty for others.
    pub name: String,
}

/// What a shared state asks of SQL.
#[async_trait]
pub trait Records: Send + Sync {
    /// Looks archived sends up by (conversation, sender, client message id): the place in the list asked, and the
    /// latest message that holds the id. Those not archived are left out.
    ///
    /// # Errors
    /// The store could not answer.
    async fn sends(&self, sends: &[(&str, &str, &str)]) -> Result<Vec<(usize, HeldNumber)>, StoreError>;

    /// All conversations of a user and those in `fresh` (which SQL may not know yet), each once and in any order,
    /// with the cursors of `device` and of all.
    ///
    /// # Errors
    /// The store could not answer.
    async fn places(&self, uid: &Uid, device: &DeviceId, fresh: &[String]) -> Result<Vec<Place>, StoreError>;

    /// A user's conversations after `after` in the order of ids by bytes, at most `limit`: those of pairs and
    /// of the server that have archived messages, and all groups the user is in.
    ///
    /// # Errors
    /// The store could not answer.
    async fn list(&self, uid: &Uid, after: &str, limit: usize) -> Result<Vec<ListRow>, StoreError>;

    /// Display names of users; unknown ones are left out.
    ///
    /// # Errors
    /// The store could not answer.
    async fn names(&self, uids: &[&str]) -> Result<HashMap<String, String>, StoreError>;

    /// When the archived messages at these places (conversation, number) were taken, Unix milliseconds; those
    /// not archived are left out.
    ///
    /// # Errors
    /// The store could not answer.
    async fn times(&self, places: &[(&str, u64)]) -> Result<HashMap<(String, u64), u64>, StoreError>;

    /// How many archived messages of each range (conversation, above, up to and including) `uid` has sent. A
    /// conversation is named once.
    ///
    /// # Errors
    /// The store could not answer.
    async fn own_counts(&self, uid: &Uid, ranges: &[(&str, u64, u64)]) -> Result<HashMap<String, u64>, StoreError>;

    /// The archived messages at these places (conversation, number), by conversation, each named once.
    ///
    /// # Errors
    /// The store could not answer.
    async fn messages_at(&self, places: &[(&str, u64)]) -> Result<HashMap<String, Message>, StoreError>;

    /// Raises cursors in one transaction; a lower one (see [`Cursor`]) changes nothing. The second of a pair is the head of the conversation
    /// as far as the caller knows it: nobody has received what does not exist, so a cursor ends at the
    /// higher of that and the archived head.
    ///
    /// # Errors
    /// The store could not answer; the same call may be repeated.
    async fn raise_cursors(&self, updates: &[(CursorUpdate, u64)]) -> Result<(), StoreError>;
}
