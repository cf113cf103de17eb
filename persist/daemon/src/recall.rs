//! What was archived shortly before a consumer began, told to its watcher again: whoever consumed before took along
//! what its own watcher still had in mind.
//!
//! Walks back from where the queue is consumed to, until a record is older than the newest by the time asked for, and
//! tells the newest message of each conversation with the number that the archive has for it. Goes on beside the
//! consumer and holds nothing up; what it cannot read it leaves out, loudly.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ringway_engine::event::MessageEvent;
use ringway_store::ports::{Archive, ArchiveBatch, LogOffset, LogQueue, LogReadError, NumberedMessage, StoreError};

use crate::batch;
use crate::limits::{RECALL_AT_ONCE, RECALL_BYTES, RECALL_GAP_MS, RECALL_RECORDS, RECALLED_RECORDS_MAX};
use crate::metrics::now_ms;

/// Why nothing more was recalled.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecallError {
    #[error(transparent)]
    Queue(#[from] LogReadError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Messages of the last `recall_ms` before the place that the queue is consumed to: the newest of each conversation.
pub(crate) async fn recall(
    queue: &dyn LogQueue,
    archive: &dyn Archive,
    recall_ms: u64,
) -> Result<ArchiveBatch, RecallError> {
    let events = newest(queue, archive.consumed_offset().await?, recall_ms).await?;
    let numbered = stream::iter(events).map(|event| numbered(archive, event)).buffer_unordered(RECALL_AT_ONCE);
    let messages = numbered.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await?;
    Ok(ArchiveBatch { messages, ..ArchiveBatch::default() })
}

async fn newest(
    queue: &dyn LogQueue,
    consumed: LogOffset,
    recall_ms: u64,
) -> Result<Vec<Arc<MessageEvent>>, LogReadError> {
    let (mut convs, mut events) = (HashSet::new(), Vec::new());
    let (mut end, mut since_ms, mut read) = (consumed, None, 0);
    while end.0 > 0 && read < RECALLED_RECORDS_MAX {
        let first = LogOffset(end.0.saturating_sub(RECALL_RECORDS));
        let (first, messages) = messages(queue, first, end).await?;
        read += end.0.saturating_sub(first.0);
        let newest_ms = messages.iter().map(|event| event.ts_ms).max();
        // Against the newest rather than the clock: nothing was archived while nobody consumed.
        let since_ms = *since_ms.get_or_insert_with(|| {
            newest_ms.unwrap_or_default().max(now_ms().saturating_sub(RECALL_GAP_MS)).saturating_sub(recall_ms)
        });
        let is_over = messages.first().is_some_and(|event| event.ts_ms < since_ms);
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
    Ok(events)
}

/// The messages of a stretch of a queue, in order, and where it truly begins: what is before that is gone.
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
                let decoded = batch::decode(&records);
                next = decoded.next_offset;
                messages.extend(decoded.messages);
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
