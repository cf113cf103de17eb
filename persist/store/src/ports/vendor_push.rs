//! Vendor push: what wakes a device that holds no connection, by way of whoever made it (or of an operator's own
//! service).

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, Uid};
use thiserror::Error;

/// There is something unread. It says where, never what: bodies do not leave by this way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushNotice {
    /// Who is to look.
    pub uid: Uid,
    /// In which conversation.
    pub conv: ConversationId,
    /// Number of the newest unread message.
    pub seq: u64,
    /// Its id.
    pub msg_id: u64,
    /// Its sender; empty for the server.
    pub from: String,
    /// Its type.
    pub kind: String,
}

/// Why a notice was not taken.
#[derive(Debug, Clone, Error)]
pub enum PushError {
    /// The vendor does not answer, or asks for patience: the same notice may be taken later.
    #[error("push vendor cannot take a notice now: {0}")]
    Temporary(String),
    /// It will never take this one.
    #[error("push vendor refuses a notice: {0}")]
    Refused(String),
}

/// A push vendor. Best effort: what it loses is found at the next connect.
#[async_trait]
pub trait VendorPush: Send + Sync {
    /// Hands a notice over. A dropped call may still do so.
    ///
    /// # Errors
    /// See [`PushError`].
    async fn push(&self, notice: &PushNotice) -> Result<(), PushError>;
}
