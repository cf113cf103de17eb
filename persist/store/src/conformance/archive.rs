//! Conformance of [`Archive`].

use bytes::Bytes;
use ringway_engine::event::ReadEvent;
use ringway_engine::limits::DEDUP_MS;

use super::{conv, message, numbered, seqs};
use crate::ports::{Archive, ArchiveBatch, CommitError, DeadLetter, LogOffset, NumberedMessage, PageFrom};

fn batch(messages: Vec<NumberedMessage>, next_offset: u64) -> ArchiveBatch {
    ArchiveBatch { messages, next_offset: LogOffset(next_offset), ..ArchiveBatch::default() }
}

/// A batch is there as a whole, with its offset, and once however often it is committed.
pub async fn commits(archive: &dyn Archive) {
    assert_eq!(archive.consumed_offset().await.unwrap(), LogOffset(0));
    assert_eq!(archive.highest_msg_id().await.unwrap(), 0);
    let events: Vec<_> = (1..=300).map(|n| message("p2p:a:b", "a", &format!("c-{n}"), 1_000 + n, n)).collect();
    let messages: Vec<_> = events.iter().zip(1..).map(|(event, seq)| numbered(event, seq)).collect();
    let mut first = batch(messages, 300);
    first.reads.push(ReadEvent { conv: "p2p:a:b".into(), uid: "b".into(), seq: 9, ts_ms: 5 });
    let bytes = Bytes::from_static(b"?");
    first.dead_letters.push(DeadLetter { offset: LogOffset(7), reason: "event has no magic".into(), bytes });
    for _ in 0..2 {
        archive.commit(&first).await.unwrap();
    }
    assert_eq!(archive.consumed_offset().await.unwrap(), LogOffset(300));
    assert_eq!(archive.highest_msg_id().await.unwrap(), 1_300);
    let id = conv("p2p:a:b");
    let page = archive.page(&id, PageFrom::After(298), 100).await.unwrap();
    assert_eq!(seqs(&page), [299, 300]);
    assert_eq!(*page[1], events[299].to_message(1, 300));
    let found = archive.message(1_007).await.unwrap().unwrap();
    assert!(found.message.seq == 7 && found.archived_at_ms > 0);
    assert!(archive.message(1).await.unwrap().is_none());
    // Part of it is there already, the rest follows.
    let more = message("p2p:a:b", "b", "c-1", 2_000, 9);
    archive.commit(&batch(vec![numbered(&events[299], 300), numbered(&more, 301)], 302)).await.unwrap();
    assert_eq!(seqs(&archive.page(&id, PageFrom::Before(u64::MAX), 2).await.unwrap()), [300, 301]);
    let empty = batch(Vec::new(), 310);
    archive.commit(&empty).await.unwrap();
    assert_eq!(archive.consumed_offset().await.unwrap(), LogOffset(310));
}

/// Pages are rising in both directions and end at their bounds.
pub async fn pages(archive: &dyn Archive) {
    let id = conv("group:g");
    assert!(archive.page(&id, PageFrom::After(0), 10).await.unwrap().is_empty());
    assert_eq!(archive.first_kept(&id).await.unwrap(), 1);
    let messages = (1..=50).map(|n| numbered(&message("group:g", "a", &format!("c-{n}"), n, n), n));
    let other = numbered(&message("group:other", "a", "c-1", 99, 1), 1);
    archive.commit(&batch(messages.chain([other]).collect(), 51)).await.unwrap();
    for (from, limit, expected) in [
        (PageFrom::After(0), 3, vec![1, 2, 3]),
        (PageFrom::After(48), 10, vec![49, 50]),
        (PageFrom::After(50), 10, vec![]),
        (PageFrom::After(u64::MAX), 10, vec![]),
        (PageFrom::Before(4), 10, vec![1, 2, 3]),
        (PageFrom::Before(40), 2, vec![38, 39]),
        (PageFrom::Before(1), 10, vec![]),
        (PageFrom::Before(0), 10, vec![]),
        (PageFrom::Before(u64::MAX), 2, vec![49, 50]),
    ] {
        assert_eq!(seqs(&archive.page(&id, from, limit).await.unwrap()), expected, "{from:?}");
    }
    assert_eq!(archive.first_kept(&id).await.unwrap(), 1, "nothing was dropped");
}

/// A page ends near its bound in bytes, with one message at least.
pub async fn pages_are_bounded_in_bytes(archive: &dyn Archive) {
    let id = conv("p2p:a:b");
    let body = "x".repeat(60_000);
    let large = |n: u64| {
        let mut event = (*message("p2p:a:b", "a", &format!("c-{n}"), n, n)).clone();
        event.body.clone_from(&body);
        NumberedMessage { event: event.into(), epoch: 1, seq: n }
    };
    archive.commit(&batch((1..=10).map(large).collect(), 10)).await.unwrap();
    assert_eq!(seqs(&archive.page(&id, PageFrom::After(0), 100).await.unwrap()), [1, 2, 3, 4]);
    assert_eq!(seqs(&archive.page(&id, PageFrom::Before(11), 100).await.unwrap()), [7, 8, 9, 10]);
}

/// A client message id that comes back after its time is a message of its own.
pub async fn reused_ids(archive: &dyn Archive) {
    let messages = (0..3).map(|n| numbered(&message("p2p:a:b", "a", "same", 10 + n, n * (DEDUP_MS + 1)), n + 1));
    let messages: Vec<_> = messages.collect();
    let all = batch(messages, 3);
    archive.commit(&all).await.unwrap();
    archive.commit(&all).await.unwrap();
    let page = archive.page(&conv("p2p:a:b"), PageFrom::After(0), 10).await.unwrap();
    assert_eq!(page.iter().map(|item| item.msg_id).collect::<Vec<_>>(), [10, 11, 12]);
}

/// A number that another message holds is an error, and nothing of its batch is written.
pub async fn refuses_a_taken_number(archive: &dyn Archive) {
    archive.commit(&batch(vec![numbered(&message("p2p:a:b", "a", "c-1", 1, 1), 1)], 1)).await.unwrap();
    let fresh = numbered(&message("p2p:a:c", "a", "c-1", 2, 1), 1);
    let taken = numbered(&message("p2p:a:b", "a", "c-2", 3, 1), 1);
    archive.commit(&batch(vec![fresh, taken], 3)).await.unwrap_err();
    assert_eq!(archive.consumed_offset().await.unwrap(), LogOffset(1));
    assert!(archive.page(&conv("p2p:a:c"), PageFrom::After(0), 10).await.unwrap().is_empty());
}

/// The offset goes where it is set, and a batch is archived once however often it is read.
pub async fn is_set_back(archive: &dyn Archive) {
    let events: Vec<_> = (1..=4).map(|n| message("p2p:a:b", "a", &format!("c-{n}"), n, n)).collect();
    let read = |first: u64, end: u64| {
        let messages = (first..end).map(|n| numbered(&events[n as usize], n + 1)).collect();
        ArchiveBatch { first_offset: Some(LogOffset(first)), ..batch(messages, end) }
    };
    archive.set_consumed_offset(LogOffset(0)).await.unwrap();
    for (first, end) in [(0, 2), (2, 4)] {
        archive.commit(&read(first, end)).await.unwrap();
    }
    archive.set_consumed_offset(LogOffset(1)).await.unwrap();
    assert_eq!(archive.consumed_offset().await.unwrap(), LogOffset(1));
    let ahead = ArchiveBatch { first_offset: Some(LogOffset(4)), ..batch(Vec::new(), 5) };
    let moved = archive.commit(&ahead).await;
    assert!(matches!(moved, Err(CommitError::Moved { read_from: 4, found: 1 })), "{moved:?}");
    archive.commit(&read(1, 3)).await.unwrap();
    archive.commit(&read(3, 4)).await.unwrap();
    assert_eq!(seqs(&archive.page(&conv("p2p:a:b"), PageFrom::After(0), 10).await.unwrap()), [1, 2, 3, 4]);
    archive.set_consumed_offset(LogOffset(9)).await.unwrap();
    assert_eq!(archive.consumed_offset().await.unwrap(), LogOffset(9));
}
