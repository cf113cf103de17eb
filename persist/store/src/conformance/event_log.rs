//! Conformance of [`EventLog`] and [`LogQueue`].

use bytes::Bytes;

use crate::ports::{EventLog, LogOffset, LogQueue, LogReadError, NewRecord};

/// The key of every record here: they are in one queue.
pub const KEY: u64 = 7;

fn records(from: u64, to: u64) -> Vec<NewRecord> {
    (from..to).map(|n| NewRecord { key: KEY, bytes: Bytes::from(format!("record {n}")) }).collect()
}

/// Offsets are dense from 0, reads are bounded and in order. `queue` is the empty one of [`KEY`].
pub async fn appends_and_reads(log: &dyn EventLog, queue: &dyn LogQueue) {
    assert_eq!(queue.end(), LogOffset(0));
    assert!(queue.read(LogOffset(0), 10, 1_000).await.unwrap().is_empty());
    log.append(records(0, 3)).await.unwrap();
    log.append(records(3, 5)).await.unwrap();
    queue.wait_for(LogOffset(4)).await.unwrap();
    assert_eq!(queue.end(), LogOffset(5));
    let mut next = 1;
    while next < 5 {
        let page = queue.read(LogOffset(next), 2, 1_000).await.unwrap();
        assert!(!page.is_empty() && page.len() <= 2, "bounded, and never empty before the end");
        for record in page {
            assert_eq!(record.offset, LogOffset(next));
            assert_eq!(record.bytes, format!("record {next}"));
            next += 1;
        }
    }
    assert_eq!(queue.read(LogOffset(0), 10, 1).await.unwrap().len(), 1, "one record whatever its size");
    assert!(queue.read(LogOffset(5), 10, 1_000).await.unwrap().is_empty());
}

/// What is released is gone, and nothing else; after [`appends_and_reads`].
pub async fn lets_go_of_what_is_released(queue: &dyn LogQueue) {
    queue.release(LogOffset(2));
    assert!(matches!(queue.read(LogOffset(1), 10, 1_000).await, Err(LogReadError::Released(_))));
    assert_eq!(queue.read(LogOffset(2), 1, 1_000).await.unwrap()[0].bytes, "record 2");
}

/// A waiter learns of an append that comes later.
pub async fn wakes_a_waiter(log: &dyn EventLog, queue: &dyn LogQueue) {
    let end = queue.end();
    let append = async {
        tokio::task::yield_now().await;
        log.append(records(0, 1)).await.unwrap();
    };
    let (waited, ()) = tokio::join!(queue.wait_for(end), append);
    waited.unwrap();
    assert_eq!(queue.read(end, 1, 1_000).await.unwrap()[0].offset, end);
}
