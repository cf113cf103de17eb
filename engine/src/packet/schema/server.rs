//! What the server sends: replies and pushes.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message as Prost;
use serde::{Deserialize, Serialize};

use super::{Empty, Hidden, Signal, Typing, decimal, is_zero, is_zero32};

/// What the server sends: one reply (with the command's `id`) or one push (`id` 0).
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct ServerPacket {
    /// The `id` of the command that this answers; 0 (absent) in a push.
    #[prost(uint64, tag = "1")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub id: u64,
    /// Reply to `connect`.
    #[prost(message, optional, tag = "2")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<Connected>,
    /// Reply to `send`: durable and numbered.
    #[prost(message, optional, tag = "3")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<Sent>,
    /// Push: a live message.
    #[prost(message, optional, tag = "4")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// Reply to `sync`, and push of a backlog page.
    #[prost(message, optional, tag = "5")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// Reply to `conversations`.
    #[prost(message, optional, tag = "6")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversations: Option<Conversations>,
    /// Push: somebody received or read up to a sequence.
    #[prost(message, optional, tag = "7")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Receipt>,
    /// Push: somebody is typing.
    #[prost(message, optional, tag = "8")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typing: Option<Typing>,
    /// Push: call signalling.
    #[prost(message, optional, tag = "9")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Reply to `ping`.
    #[prost(message, optional, tag = "10")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pong: Option<Empty>,
    /// Reply: done, nothing to tell.
    #[prost(message, optional, tag = "11")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<Empty>,
    /// Reply, or push with `id` 0 where the command could not be told: refused. The connection lives.
    #[prost(message, optional, tag = "12")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReply>,
    /// Push: the server goes away; come back after this long.
    #[prost(message, optional, tag = "13")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconnect: Option<Reconnect>,
    /// Push: this session is ended on purpose; a close without reconnect follows.
    #[prost(message, optional, tag = "14")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kicked: Option<Kicked>,
    /// Push: live messages of this conversation were dropped because the device reads too slowly.
    /// Nothing more of it is pushed until a `sync` has reached its head.
    #[prost(message, optional, tag = "15")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resync: Option<Resync>,
    /// Push: something about a conversation changed (the user joined or left it).
    #[prost(message, optional, tag = "16")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<Changed>,
}

/// Reply to `connect`.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Connected {
    /// Names this session in logs and traces.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub session: String,
    /// The authenticated user.
    #[prost(string, tag = "2")]
    #[serde(default)]
    pub uid: String,
    /// Send something at least this often, in seconds.
    #[prost(uint32, tag = "3")]
    #[serde(default)]
    pub heartbeat_s: u32,
    /// Unix time of the server in milliseconds.
    #[prost(uint64, tag = "4")]
    #[serde(default)]
    pub server_time_ms: u64,
    /// For every resume point given: true when all that was missed follows as pushes; false when
    /// the client must page with `sync`.
    #[prost(btree_map = "string, bool", tag = "5")]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub recovered: BTreeMap<String, bool>,
    /// Seconds until the token expires, 0 if it does not.
    #[prost(uint32, tag = "6")]
    #[serde(default, skip_serializing_if = "is_zero32")]
    pub expires_in_s: u32,
}

/// Reply to `send`.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Sent {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// Message id; a decimal string in JSON.
    #[prost(uint64, tag = "2")]
    #[serde(default, with = "decimal")]
    pub msg_id: u64,
    /// Epoch of `seq`.
    #[prost(uint64, tag = "3")]
    #[serde(default)]
    pub epoch: u64,
    /// Place in the conversation, dense from 1.
    #[prost(uint64, tag = "4")]
    #[serde(default)]
    pub seq: u64,
    /// Unix time in milliseconds at which the server took the message.
    #[prost(uint64, tag = "5")]
    #[serde(default)]
    pub ts: u64,
}

/// A stored message.
#[derive(Clone, PartialEq, Eq, Prost, Serialize, Deserialize)]
#[prost(skip_debug)]
pub struct Message {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// Message id; a decimal string in JSON.
    #[prost(uint64, tag = "2")]
    #[serde(default, with = "decimal")]
    pub msg_id: u64,
    /// Epoch of `seq`.
    #[prost(uint64, tag = "3")]
    #[serde(default)]
    pub epoch: u64,
    /// Place in the conversation, dense from 1.
    #[prost(uint64, tag = "4")]
    #[serde(default)]
    pub seq: u64,
    /// Sender's user id; empty for the server itself.
    #[prost(string, tag = "5")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The sender's id for it.
    #[prost(string, tag = "6")]
    #[serde(default)]
    pub client_msg_id: String,
    /// `text`, …; `system` for the server's own.
    #[prost(string, tag = "7")]
    #[serde(default, rename = "type")]
    pub kind: String,
    /// The body as it was sent.
    #[prost(string, tag = "8")]
    #[serde(default)]
    pub body: String,
    /// As it was sent: absent or `deflate`.
    #[prost(string, tag = "9")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub enc: String,
    /// Unix time in milliseconds at which the server took the message.
    #[prost(uint64, tag = "10")]
    #[serde(default)]
    pub ts: u64,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("conv", &self.conv)
            .field("msg_id", &self.msg_id)
            .field("epoch", &self.epoch)
            .field("seq", &self.seq)
            .field("from", &self.from)
            .field("client_msg_id", &self.client_msg_id)
            .field("kind", &self.kind)
            .field("body", &Hidden(&self.body))
            .field("enc", &self.enc)
            .field("ts", &self.ts)
            .finish()
    }
}

/// A page of a conversation, in rising order and without holes.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Messages {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// At most 100.
    #[prost(message, repeated, tag = "2")]
    #[serde(default)]
    pub items: Vec<Message>,
    /// Highest sequence of the conversation.
    #[prost(uint64, tag = "3")]
    #[serde(default)]
    pub head: u64,
    /// Whether there is more in the direction read.
    #[prost(bool, tag = "4")]
    #[serde(default)]
    pub more: bool,
}

/// One entry of the conversation list.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Conversation {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// Highest sequence.
    #[prost(uint64, tag = "2")]
    #[serde(default)]
    pub head: u64,
    /// The user has read up to here.
    #[prost(uint64, tag = "3")]
    #[serde(default)]
    pub read: u64,
    /// Messages above `read` that others sent.
    #[prost(uint64, tag = "4")]
    #[serde(default)]
    pub unread: u64,
    /// The message at `head`, if any.
    #[prost(message, optional, tag = "5")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Message>,
    /// Kept at the top by the user.
    #[prost(bool, tag = "6")]
    #[serde(default)]
    pub pinned: bool,
    /// No notifications wanted.
    #[prost(bool, tag = "7")]
    #[serde(default)]
    pub muted: bool,
    /// History up to here is hidden from this user.
    #[prost(uint64, tag = "8")]
    #[serde(default)]
    pub cleared_up_to: u64,
    /// A name to show: the group's name, or the other user's.
    #[prost(string, tag = "9")]
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Epoch of `head`.
    #[prost(uint64, tag = "10")]
    #[serde(default)]
    pub epoch: u64,
}

/// Reply to `conversations`.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Conversations {
    /// In the order of ids.
    #[prost(message, repeated, tag = "1")]
    #[serde(default)]
    pub items: Vec<Conversation>,
    /// Whether another page follows the last id.
    #[prost(bool, tag = "2")]
    #[serde(default)]
    pub more: bool,
}

/// Push: `uid` has received (`delivered`) or read (`read`) everything up to `seq`.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Receipt {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// `delivered` (one-to-one only) or `read`.
    #[prost(string, tag = "2")]
    #[serde(default)]
    pub kind: String,
    /// Whose receipt it is.
    #[prost(string, tag = "3")]
    #[serde(default)]
    pub uid: String,
    /// Up to and including.
    #[prost(uint64, tag = "4")]
    #[serde(default)]
    pub seq: u64,
}

/// A refusal; see `errors` for the table of codes.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct ErrorReply {
    /// One of the documented codes.
    #[prost(uint32, tag = "1")]
    #[serde(default)]
    pub code: u32,
    /// For people.
    #[prost(string, tag = "2")]
    #[serde(default)]
    pub message: String,
    /// Whether the same command may succeed later.
    #[prost(bool, tag = "3")]
    #[serde(default)]
    pub temporary: bool,
    /// When not 0: not before this long.
    #[prost(uint64, tag = "4")]
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_ms: u64,
}

/// Push before a drain.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Reconnect {
    /// Wait this long; already spread over the clients.
    #[prost(uint64, tag = "1")]
    #[serde(default)]
    pub after_ms: u64,
    /// Addresses to try; empty means the same again.
    #[prost(string, repeated, tag = "2")]
    #[serde(default)]
    pub to: Vec<String>,
}

/// Push before a close that ends the session on purpose.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Kicked {
    /// `same_device`, `device_limit`, `platform_limit`, `revoked`.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub reason: String,
}

/// Push: read the conversation anew.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Resync {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
}

/// Push: the user's relation to a conversation changed.
#[derive(Clone, PartialEq, Prost, Serialize, Deserialize)]
pub struct Changed {
    /// Conversation id.
    #[prost(string, tag = "1")]
    #[serde(default)]
    pub conv: String,
    /// `joined` or `left`.
    #[prost(string, tag = "2")]
    #[serde(default)]
    pub kind: String,
}
