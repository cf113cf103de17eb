//! What clients send.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message as Prost;
use serde::{Deserialize, Serialize};

use super::{Empty, Hidden, is_false, is_zero, is_zero32, object};

/// What a client sends: `id` and exactly one command.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Command {
    /// Chosen by the client; the reply carries it. 0 (absent) for commands without a reply.
    #[prost(uint64, tag = "1")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: u64,
    /// First command of every connection.
    #[prost(message, optional, tag = "2")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub connect: Option<Connect>,
    /// Sends a durable message.
    #[prost(message, optional, tag = "3")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub send: Option<Send>,
    /// Acknowledges delivery, cumulatively. No reply.
    #[prost(message, optional, tag = "4")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub ack: Option<Point>,
    /// Marks a conversation read up to a sequence; the others get a `receipt`.
    #[prost(message, optional, tag = "5")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub read: Option<Read>,
    /// Reads a page of a conversation.
    #[prost(message, optional, tag = "6")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub sync: Option<Sync>,
    /// Lists the user's conversations.
    #[prost(message, optional, tag = "7")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub conversations: Option<ListConversations>,
    /// Transient: the user is typing. No reply unless refused.
    #[prost(message, optional, tag = "8")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub typing: Option<Typing>,
    /// Transient: call signalling to another user's devices. No reply unless refused.
    #[prost(message, optional, tag = "9")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Answered by `pong`.
    #[prost(message, optional, tag = "10")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub ping: Option<Empty>,
    /// Replaces the session's token before it expires; answered by `ok`.
    #[prost(message, optional, tag = "11")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// `connect`: who, on what, from where on.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
#[prost(skip_debug)]
pub struct Connect {
    /// Access token; may be absent when `Authorization: Bearer` came with the upgrade.
    #[prost(string, tag = "1")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// Device id, `[A-Za-z0-9_.-]{1,64}`.
    #[prost(string, tag = "2")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub device: String,
    /// `ios`, `android`, `web`, `desktop`, …: decides the platform class of the kick policy.
    #[prost(string, tag = "3")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// Conversation → the highest point the device already has.
    #[prost(btree_map = "string, message", tag = "4")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resume: BTreeMap<String, ResumePoint>,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("token", &Hidden(&self.token))
            .field("device", &self.device)
            .field("platform", &self.platform)
            .field("resume", &self.resume)
            .finish()
    }
}

/// A resume point; `[epoch, seq]` in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Prost, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct ResumePoint {
    /// Epoch of `seq`.
    #[prost(uint64, tag = "1")]
    pub epoch: u64,
    /// Highest sequence the device has without a hole.
    #[prost(uint64, tag = "2")]
    pub seq: u64,
}

impl From<(u64, u64)> for ResumePoint {
    fn from((epoch, seq): (u64, u64)) -> Self {
        Self { epoch, seq }
    }
}

impl From<ResumePoint> for (u64, u64) {
    fn from(point: ResumePoint) -> Self {
        (point.epoch, point.seq)
    }
}

/// Where something is sent: exactly one of `user` and `group`.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Target {
    /// A user's id.
    #[prost(string, tag = "1")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// A group's id (without the `group:` of its conversation).
    #[prost(string, tag = "2")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
}

/// `send`.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
#[prost(skip_debug)]
pub struct Send {
    /// The user or group.
    #[prost(message, optional, tag = "1")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
    /// Makes the send idempotent: 1 to 64 bytes, unique for sender and conversation for 7 days.
    #[prost(string, tag = "2")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub client_msg_id: String,
    /// `text` if absent; `system` is refused.
    #[prost(string, tag = "3")]
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// UTF-8, up to 64 KiB with its envelope.
    #[prost(string, tag = "4")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// How `body` is encoded: absent, or `deflate` (raw deflate, then base64). Carried, not looked into.
    #[prost(string, tag = "5")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub enc: String,
    /// True on a repeat: the id is then also looked up in the archive.
    #[prost(bool, tag = "6")]
    #[serde(default, skip_serializing_if = "is_false")]
    pub retry: bool,
}

impl fmt::Debug for Send {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Send")
            .field("to", &self.to)
            .field("client_msg_id", &self.client_msg_id)
            .field("kind", &self.kind)
            .field("body", &Hidden(&self.body))
            .field("enc", &self.enc)
            .field("retry", &self.retry)
            .finish()
    }
}

/// A place in a conversation.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Point {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// Epoch of `seq`.
    #[prost(uint64, tag = "2")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u64,
    /// Sequence, everything up to it included.
    #[prost(uint64, tag = "3")]
    #[serde(default)]
    pub seq: u64,
}

/// `read`.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Read {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// Everything up to it is read.
    #[prost(uint64, tag = "2")]
    #[serde(default)]
    pub seq: u64,
}

/// `sync`: a page upwards from `after_seq`, or downwards from `before_seq` when that is set.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Sync {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// Items have `seq` above it.
    #[prost(uint64, tag = "2")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub after_seq: u64,
    /// At most this many items; 0 and anything above the page bound mean the page bound (100).
    #[prost(uint32, tag = "3")]
    #[serde(default, skip_serializing_if = "is_zero32")]
    pub limit: u32,
    /// When not 0: the items just below it, still in rising order.
    #[prost(uint64, tag = "4")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub before_seq: u64,
}

/// `conversations`: those after the id `after`, in the order of ids.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct ListConversations {
    /// Last id of the page before; empty for the first page.
    #[prost(string, tag = "1")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
    /// At most this many; 0 means the bound.
    #[prost(uint32, tag = "2")]
    #[serde(default, skip_serializing_if = "is_zero32")]
    pub limit: u32,
}

/// `typing`, both ways; `uid` is set by the server.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Typing {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// Who is typing (server to client).
    #[prost(string, tag = "2")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// `signal`, both ways: `to` from the client, `from` to the client.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
#[prost(skip_debug)]
pub struct Signal {
    /// The user it is for (client to server; groups are refused).
    #[prost(message, optional, tag = "1")]
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub to: Option<Target>,
    /// The call it belongs to, chosen by the caller.
    #[prost(string, tag = "2")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub call: String,
    /// Opaque to the server.
    #[prost(string, tag = "3")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// Who sent it (server to client).
    #[prost(string, tag = "4")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal")
            .field("to", &self.to)
            .field("call", &self.call)
            .field("body", &Hidden(&self.body))
            .field("from", &self.from)
            .finish()
    }
}

/// `refresh`.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
#[prost(skip_debug)]
pub struct Refresh {
    /// A newer access token of the same user.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub token: String,
}

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh").field("token", &Hidden(&self.token)).finish()
    }
}
