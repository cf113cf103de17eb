//! What the daemon and the API ask of the gateways.

use async_trait::async_trait;
use ringway_engine::ids::Uid;
use ringway_engine::packet::schema::Sent;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A change that live sessions and caches must follow within two seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// These users are now members of the conversation.
    MembersAdded {
        /// Conversation id.
        conv: String,
        /// Who.
        uids: Vec<String>,
    },
    /// These users are members no more.
    MembersRemoved {
        /// Conversation id.
        conv: String,
        /// Who.
        uids: Vec<String>,
    },
    /// Tokens of this session are refused from now on and its sockets closed.
    SessionRevoked {
        /// The `sid` of the tokens.
        sid: String,
        /// Unix milliseconds after which no such token can be valid.
        until_ms: u64,
    },
}

/// A message from the server itself, numbered and delivered like any other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMessage {
    /// Conversation id.
    pub conv: String,
    /// Makes a repeat harmless.
    pub client_msg_id: String,
    /// Message type, `system`.
    pub kind: String,
    /// Body.
    pub body: String,
}

/// Why a server message was not taken.
#[derive(Debug, Clone, Error)]
pub enum SubmitError {
    /// Try again later.
    #[error("gateway cannot take the message now: {0}")]
    Temporary(String),
    /// It will never be taken.
    #[error("message refused: {0}")]
    Refused(String),
}

/// The gateways, as seen by the daemon and the API.
#[async_trait]
pub trait Gateways: Send + Sync {
    /// Sends a message in the server's name; durable and numbered when `Ok`.
    ///
    /// # Errors
    /// See [`SubmitError`].
    async fn submit(&self, message: ServerMessage) -> Result<Sent, SubmitError>;

    /// Applies a change; returns when every shard has it.
    ///
    /// # Errors
    /// The gateway is going away; what is not applied is read anew by its successor.
    async fn signal(&self, signal: Signal) -> Result<(), SubmitError>;

    /// A JSON text with the hops of a message that this node remembers (an array, oldest first).
    async fn trace(&self, msg_id: u64) -> String;

    /// Prometheus text of all shards.
    fn metrics(&self) -> String;

    /// True once the node serves, false again while it drains.
    fn ready(&self) -> bool;

    /// Users with a live session among those given (for tests and the admin pages).
    async fn online(&self, uids: &[Uid]) -> Vec<Uid>;
}
