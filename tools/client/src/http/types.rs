//! What the HTTP API says, as it says it.

use ringway_engine::packet::schema::Message;
use serde::Deserialize;

/// Tokens of a sign-in.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// User id.
    pub uid: String,
    /// For the gateway and the API.
    pub access_token: String,
    /// Good for one `refresh`.
    pub refresh_token: String,
    /// Seconds until the access token ends.
    pub expires_in: u64,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("uid", &self.uid).field("expires_in", &self.expires_in).finish_non_exhaustive()
    }
}

/// An account as others see it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Account {
    /// User id.
    pub uid: String,
    /// Display name.
    pub name: String,
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Group {
    /// Id without `group:`.
    pub id: String,
    /// Its conversation.
    pub conv: String,
    /// Name.
    pub name: String,
    /// Owner's user id.
    pub owner: String,
    /// Number of members.
    pub members: u64,
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Member {
    /// User id.
    pub uid: String,
    /// `owner`, `admin` or `member`.
    pub role: String,
}

/// A gateway that can be tried.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Gateway {
    /// Its WebSocket URL.
    pub ws: String,
    /// 0 (idle) to 1.
    pub load: f64,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct List<T> {
    /// In the order of ids.
    pub items: Vec<T>,
    /// Whether another page follows.
    pub more: bool,
}

/// A page of a conversation; bodies are inflated.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct History {
    /// Rising, without holes.
    pub items: Vec<Message>,
    /// Highest sequence of the conversation.
    pub head: u64,
    /// Whether there is more in the direction read. With `more` and no items the rest is not readable yet.
    pub more: bool,
}

/// From where a page of history is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// Upwards, above this sequence.
    After(u64),
    /// Downwards, just below this sequence; `u64::MAX` for the newest page.
    Before(u64),
}
