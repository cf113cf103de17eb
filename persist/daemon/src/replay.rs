//! Reading a queue again from an earlier place, for repair.
//!
//! What is archived already is recognised by its number and its client message id, so a replay adds what is missing
//! and nothing else. A consumer that runs learns of it by its next commit, and goes back.

use ringway_store::ports::{Archive, LogOffset, LogQueue, LogReadError, StoreError};
use thiserror::Error;

/// Why a queue is not replayed. Nothing was changed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Setting it forward would leave records out.
    #[error("the queue is consumed up to {}, and not yet to {}", .consumed.0, .asked.0)]
    Ahead {
        /// What was asked for.
        asked: LogOffset,
        /// What is recorded.
        consumed: LogOffset,
    },
    /// The queue does not hold that place any more, or does not answer.
    #[error(transparent)]
    Queue(#[from] LogReadError),
    /// The archive did not answer; it may have taken the offset.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Has a queue read again from `from` on. Answers where it was. `archive` is the one of this queue.
///
/// # Errors
/// See [`ReplayError`].
pub async fn replay_from(
    queue: &dyn LogQueue,
    archive: &dyn Archive,
    from: LogOffset,
) -> Result<LogOffset, ReplayError> {
    let consumed = archive.consumed_offset().await?;
    if from > consumed {
        return Err(ReplayError::Ahead { asked: from, consumed });
    }
    queue.read(from, 1, 1).await?;
    archive.set_consumed_offset(from).await?;
    tracing::warn!(queue = queue.name(), from = from.0, was = consumed.0, "the queue is read again");
    Ok(consumed)
}
