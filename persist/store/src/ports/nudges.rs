//! Nudges: a word to the gateways that a user seems to have missed something.

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, Uid};

use super::StoreError;

/// Somebody has not acknowledged what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nudge {
    /// Whose devices.
    pub uid: Uid,
    /// In which conversation.
    pub conv: ConversationId,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// Number of the newest message that is not acknowledged.
    pub seq: u64,
}

/// The gateways that hold sessions, as far as nudges go.
#[async_trait]
pub trait Nudges: Send + Sync {
    /// Tells the nodes that hold sessions of the user to see where the devices stand. Answers how many were told: 0
    /// when no node holds any. A word that is lost on its way does no harm.
    ///
    /// # Errors
    /// It is not known which nodes those are.
    async fn nudge(&self, nudge: &Nudge) -> Result<usize, StoreError>;
}
