//! What clients did and saw, as they wrote it down. Nothing here judges.

use std::collections::{BTreeMap, BTreeSet};

use ringway_engine::packet::schema::{Message, Sent};

/// A message as somebody saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Epoch of the number.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// Its id.
    pub msg_id: u64,
    /// Sender; empty for the server.
    pub from: String,
    /// The sender's id for it.
    pub client_msg_id: String,
    /// Body.
    pub body: String,
}

impl Item {
    /// What stays whatever number it gets: sender and the sender's id for it.
    #[must_use]
    pub fn name(&self) -> (&str, &str) {
        (&self.from, &self.client_msg_id)
    }
}

impl From<&Message> for Item {
    fn from(message: &Message) -> Self {
        Self {
            epoch: message.epoch,
            seq: message.seq,
            msg_id: message.msg_id,
            from: message.from.clone(),
            client_msg_id: message.client_msg_id.clone(),
            body: message.body.clone(),
        }
    }
}

/// A send that went out on a connection, a repeat included.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Conversation.
    pub conv: String,
    /// The sender's id for it.
    pub client_msg_id: String,
    /// Body.
    pub body: String,
}

/// A `sent` reply.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The sender's id for it.
    pub client_msg_id: String,
    /// What the server said.
    pub conv: String,
    /// Id.
    pub msg_id: u64,
    /// Epoch of the number.
    pub epoch: u64,
    /// Number.
    pub seq: u64,
}

impl Acknowledged {
    /// Of a reply to the send of `client_msg_id`.
    #[must_use]
    pub fn of(client_msg_id: &str, sent: &Sent) -> Self {
        let conv = sent.conv.clone();
        let client_msg_id = client_msg_id.to_owned();
        Self { client_msg_id, conv, msg_id: sent.msg_id, epoch: sent.epoch, seq: sent.seq }
    }
}

/// One connection of one device, from `connect` to its end.
#[derive(Debug, Clone, Default)]
pub struct Session {
    /// User.
    pub uid: String,
    /// Device.
    pub device: String,
    /// Sends in the order in which they went out, those left out that the server refused.
    pub attempts: Vec<Attempt>,
    /// Answers.
    pub acknowledged: Vec<Acknowledged>,
    /// Messages pushed or paged, in the order in which they came, by conversation.
    pub seen: BTreeMap<String, Vec<Item>>,
    /// Messages on pages that the device asked for: it has them, in whatever order.
    pub read: BTreeMap<String, Vec<Item>>,
}

impl Session {
    /// One without content yet.
    #[must_use]
    pub fn new(uid: &str, device: &str) -> Self {
        Self { uid: uid.to_owned(), device: device.to_owned(), ..Self::default() }
    }
}

/// Everything that is known of a run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Members of each conversation, the same all the time.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// Connections; those of one device in order.
    pub sessions: Vec<Session>,
    /// Each conversation as it was read back at the end, from its start.
    pub archive: BTreeMap<String, Vec<Item>>,
}
