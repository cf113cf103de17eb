//! Upkeep: what the daemon does for shared state.

use async_trait::async_trait;

use super::{ArchiveBatch, StoreError};

/// Upkeep of shared state.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// The batch is durable in the archive: the state need not hold its messages and read marks itself.
    /// Idempotent. A call that is never made holds memory for longer, and nothing else.
    ///
    /// # Errors
    /// The state could not be told; the call is to be repeated.
    async fn archived(&self, batch: &ArchiveBatch) -> Result<(), StoreError>;

    /// Writes the cursors taken since the last call.
    ///
    /// # Errors
    /// The store could not answer; they are kept for the next call.
    async fn flush_cursors(&self) -> Result<(), StoreError>;

    /// Reads what makes other calls quicker, while they go on; the daemon calls it once, at its start.
    /// Dropping it leaves them as they are.
    ///
    /// # Errors
    /// The store could not answer; other calls then ask it themselves.
    async fn warm_up(&self) -> Result<(), StoreError>;

    /// Forgets what was not used for a while and can be read again. `now_ms` is Unix time.
    fn forget_idle(&self, now_ms: u64);
}
