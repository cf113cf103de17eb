//! Holes: conversations of which the archive lacks a number below one that it has.
//!
//! ```text
//!   dense ──a higher number is archived──► hole ──what is missing is archived──► dense
//!                                           ▲ │
//!                                           └─┘ the lowest is filled, another is left: its time begins anew
//! ```
//!
//! Writers of one conversation archive in an order of their own, so a hole is common for a moment. One that stays
//! belongs to a message that a node has spooled and cannot forward; readers go on only as long as the shared state has
//! that message. An archive with a single writer in the order of numbers has no holes and does not implement this port.

use async_trait::async_trait;

use super::StoreError;

/// The lowest hole of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hole {
    /// Conversation.
    pub conv: String,
    /// The lowest number that no archived message holds.
    pub first: u64,
    /// Since when it has been the lowest, Unix milliseconds of whoever archived the number above it.
    pub since_ms: u64,
}

/// The holes of an archive.
#[async_trait]
pub trait Holes: Send + Sync {
    /// The lowest hole of each conversation that has one, the oldest first, at most `limit`.
    ///
    /// # Errors
    /// The store could not answer.
    async fn oldest_holes(&self, limit: usize) -> Result<Vec<Hole>, StoreError>;
}
