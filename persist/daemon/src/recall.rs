//! What was archived shortly before a consumer began, told to its watcher again: whoever consumed before took along
//! what its own watcher still had in mind.
//!
//! Walks back from where the queue is consumed to, until all records of a stretch are older than the newest by the time
//! asked for, and finds the newest message of each conversation with the number that the archive has for it; of the
//! messages all is kept but what they say. Goes on beside the consumer and holds nothing up.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use ringway_engine::event::MessageEvent;
use ringway_store::ports::{Archive, ArchiveBatch, LogOffset, LogQueue, LogReadError, NumberedMessage, StoreError};
use thiserror::Error;

use crate::batch;
use crate::limits::{RECALL_AT_ONCE, RECALL_BYTES, RECALL_GAP_MS, RECALL_RECORDS, RECALLED_RECORDS_MAX};
use crate::metrics::now_ms;

/// Why something may have been left out.
#[derive(Debug, Error)]
pub(crate) enum RecallError {
    #[error(transparent)]
    Queue(#[from] LogReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Recalled {
    /// The newest message of each conversation; nothing else of a batch.
    pub(crate) batch: ArchiveBatch,
    /// Why that may not be all.
    pub(crate) error: Option<RecallError>,
}

/// Messages of the last `recall_ms` before the place that the queue is consumed to.
pub(crate) async fn recall(queue: &dyn LogQueue, archive: &dyn Archive, recall_ms: u64) -> Recalled {
    let mut recalled = Recalled::default();
    let mut events = Vec::new();
    match archive.consumed_offset().await {
        Ok(consumed) => {
            let walked = walk_back(queue, consumed, recall_ms, &mut events).await;
            recalled.error = walked.err().map(RecallError::from);
        }
        Err(error) => recalled.error = Some(error.into()),
    }
    let mut found = stream::iter(events).map(|event| numbered(archive, event)).buffer_unordered(RECALL_AT_ONCE);
    while let Some(found) = found.next().await {
        match found {
            Ok(message) => recalled.batch.messages.extend(message),
            Err(error) => recalled.error = Some(error.into()),
        }
    }
    recalled
}

/// Gathers the newest message of each conversation, the newest first.
async fn walk_back(
    queue: &dyn LogQueue,
    consumed: LogOffset,
    recall_ms: u64,
    events: &mut Vec<Arc<MessageEvent>>,
) -> Result<(), LogReadError> {
    let mut convs = HashSet::new();
    let (mut end, mut since_ms, mut read) = (consumed, None, 0);
    while end.0 > 0 && read < RECALLED_RECORDS_MAX {
        let first = LogOffset(end.0.saturating_sub(RECALL_RECORDS));
        let (first, messages) = messages(queue, first, end).await?;
        read += end.0.saturating_sub(first.0);
        // Against the newest rather than the clock: nothing was archived while nobody consumed. A gateway's clock that is
        // ahead makes nothing old.
        let newest_ms = messages.iter().map(|event| event.ts_ms).max().unwrap_or_default();
        let since_ms = *since_ms.get_or_insert_with(|| {
            let now_ms = now_ms();
            newest_ms.min(now_ms).max(now_ms.saturating_sub(RECALL_GAP_MS)).saturating_sub(recall_ms)
        });
        let is_over = !messages.is_empty() && newest_ms < since_ms;
        for event in messages.into_iter().rev().filter(|event| event.ts_ms >= since_ms) {
            if convs.insert(event.conv.clone()) {
                events.push(event);
            }
        }
        if is_over || first >= end {
            break;
        }
        end = first;
    }
    Ok(())
}

/// The messages of a stretch of a queue, in order and without their bodies, and where it truly begins: what is before
/// that is gone.
async fn messages(
    queue: &dyn LogQueue,
    first: LogOffset,
    end: LogOffset,
) -> Result<(LogOffset, Vec<Arc<MessageEvent>>), LogReadError> {
    let (mut begin, mut next, mut messages) = (first, first, Vec::new());
    while next < end {
        let room = usize::try_from(end.0 - next.0).unwrap_or(usize::MAX);
        match queue.read(next, room, RECALL_BYTES).await {
            Ok(records) if records.is_empty() => break,
            Ok(records) => {
                let mut decoded = batch::decode(&records);
                next = decoded.next_offset;
                // Nobody else has them yet.
                for event in decoded.messages.iter_mut().filter_map(Arc::get_mut) {
                    event.body = String::new();
                }
                messages.append(&mut decoded.messages);
            }
            Err(LogReadError::Released(kept)) if kept > next => (begin, next) = (kept, kept),
            Err(error) => return Err(error),
        }
    }
    Ok((begin, messages))
}

/// An archived message with its number; none if it is not archived: then it is a repeat, or a dead letter.
async fn numbered(archive: &dyn Archive, event: Arc<MessageEvent>) -> Result<Option<NumberedMessage>, StoreError> {
    let found = archive.message(event.msg_id).await?;
    Ok(found.map(|found| NumberedMessage { epoch: found.message.epoch, seq: found.message.seq, event }))
}
