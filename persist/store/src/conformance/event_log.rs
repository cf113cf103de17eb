//! Conformance of [`EventLog`].

use bytes::Bytes;

use crate::ports::{EventLog, LogOffset, LogReadError};

fn records(from: u64, to: u64) -> Vec<Bytes> {
    (from..to).map(|n| Bytes::from(format!("record {n}"))).collect()
}

/// Offsets are dense from 0, reads are bounded and in order, what is released is gone.
pub async fn appends_and_reads(log: &dyn EventLog) {
    assert_eq!(log.end(), LogOffset(0));
    assert!(log.read(LogOffset(0), 10, 1_000).await.unwrap().is_empty());
    assert_eq!(log.append(records(0, 3)).await.unwrap(), LogOffset(0));
    assert_eq!(log.append(records(3, 5)).await.unwrap(), LogOffset(3));
    assert_eq!(log.end(), LogOffset(5));
    log.wait_for(LogOffset(4)).await.unwrap();
    let mut next = 1;
    while next < 5 {
        let page = log.read(LogOffset(next), 2, 1_000).await.unwrap();
        assert!(!page.is_empty() && page.len() <= 2, "bounded, and never empty before the end");
        for record in page {
            assert_eq!(record.offset, LogOffset(next));
            assert_eq!(record.bytes, format!("record {next}"));
            next += 1;
        }
    }
    assert_eq!(log.read(LogOffset(0), 10, 1).await.unwrap().len(), 1, "one record whatever its size");
    assert!(log.read(LogOffset(5), 10, 1_000).await.unwrap().is_empty());
    log.release(LogOffset(2));
    assert!(matches!(log.read(LogOffset(1), 10, 1_000).await, Err(LogReadError::Released(_))));
    assert_eq!(log.read(LogOffset(2), 1, 1_000).await.unwrap()[0].bytes, "record 2");
}

/// A waiter learns of an append that comes later.
pub async fn wakes_a_waiter(log: &dyn EventLog) {
    let end = log.end();
    let append = async {
        tokio::task::yield_now().await;
        log.append(records(0, 1)).await.unwrap()
    };
    let (waited, appended) = tokio::join!(log.wait_for(end), append);
    waited.unwrap();
    assert_eq!(appended, end);
}
