//! Leases: names that one process of several holds for a while.
//!
//! ```text
//!   free ──hold──► held by A ──hold by A──► held by A, for longer
//!    ▲                │
//!    └── let go, or run out: then anyone's
//! ```
//!
//! **What a holder may assume**: that it is likely alone, and nothing more. Time runs out while a process is paused,
//! while its call is on the way, and on a server whose clock was set; then two act under one name for a moment. So a
//! lease spares work that would be done twice, and decides who does it; that the work is right comes from elsewhere:
//! from the offsets that an archive compares ([`super::CommitError::Moved`]), from epochs ([`super::Epochs`]) and from
//! writes that can be repeated.
//!
//! A holder counts the time of its lease from *before* the call, by a clock that is never set, and renews when a third
//! of it has gone: then two renewals may fail before the name is another's.

use async_trait::async_trait;

use super::StoreError;

/// Named leases. Their time is the store's, so that processes need not agree on theirs. A name or an owner has at most
/// [`LEASE_NAME_BYTES_MAX`](crate::limits::LEASE_NAME_BYTES_MAX) bytes.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes or renews: true when `owner` holds `name` for `ttl_ms` from now. A lease of another owner is taken only
    /// once it has run out. A dropped call may still take it.
    ///
    /// # Errors
    /// The store could not answer; whether the lease is held is not known, and the same call may be repeated.
    async fn hold(&self, name: &str, owner: &str, ttl_ms: u64) -> Result<bool, StoreError>;

    /// Lets go; nothing when `owner` does not hold it.
    ///
    /// # Errors
    /// The store could not answer; the lease runs out by itself.
    async fn let_go(&self, name: &str, owner: &str) -> Result<(), StoreError>;

    /// Leases whose name starts with `prefix` and that have not run out: name and owner, in the order of names by
    /// bytes, at most [`LEASES_LISTED_MAX`](crate::limits::LEASES_LISTED_MAX).
    ///
    /// # Errors
    /// The store could not answer.
    async fn held(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError>;
}
