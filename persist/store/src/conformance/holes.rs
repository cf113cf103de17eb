//! Conformance of [`Holes`], with the archive that has them.

use super::message;
use crate::ports::{Archive, ArchiveBatch, Hole, Holes, LogOffset, NumberedMessage};

async fn archive_numbers(archive: &dyn Archive, of: &str, numbers: &[u64]) {
    let one = |seq: &u64| {
        let event = message(of, "a", &format!("c-{seq}"), *seq, 1);
        NumberedMessage { event, epoch: 1, seq: *seq }
    };
    let messages = numbers.iter().map(one).collect();
    archive.commit(&ArchiveBatch { messages, next_offset: LogOffset(1), ..ArchiveBatch::default() }).await.unwrap();
}

/// What is found, by conversation and lowest missing number.
async fn found(holes: &dyn Holes) -> Vec<(String, u64)> {
    let found = holes.oldest_holes(10).await.unwrap();
    assert!(found.is_sorted_by_key(|hole| hole.since_ms) && found.iter().all(|hole| hole.since_ms > 0), "{found:?}");
    let mut found: Vec<(String, u64)> = found.into_iter().map(|hole| (hole.conv, hole.first)).collect();
    found.sort_unstable();
    found
}

async fn of(holes: &dyn Holes, conv: &str) -> Hole {
    holes.oldest_holes(10).await.unwrap().into_iter().find(|hole| hole.conv == conv).unwrap()
}

/// A conversation has one from the commit that leaves it to the one that fills it.
pub async fn are_found_until_filled(holes: &dyn Holes, archive: &dyn Archive) {
    archive_numbers(archive, "p2p:a:b", &[1, 2]).await;
    archive_numbers(archive, "group:g", &[1]).await;
    assert!(found(holes).await.is_empty());
    archive_numbers(archive, "p2p:a:b", &[4, 6]).await;
    // A first number may be missing too.
    archive_numbers(archive, "p2p:a:c", &[2]).await;
    let (a, c) = (("p2p:a:b".to_owned(), 3), ("p2p:a:c".to_owned(), 1));
    assert_eq!(found(holes).await, [a.clone(), c.clone()]);
    assert_eq!(holes.oldest_holes(1).await.unwrap().len(), 1);
    // What comes above does not make it younger.
    let before = of(holes, "p2p:a:b").await;
    archive_numbers(archive, "p2p:a:b", &[7, 9]).await;
    archive_numbers(archive, "p2p:a:b", &[7]).await;
    assert_eq!(of(holes, "p2p:a:b").await, before);
    // The next one is another, as old as what filled the one before.
    archive_numbers(archive, "p2p:a:b", &[3]).await;
    let next = of(holes, "p2p:a:b").await;
    assert!(next.first == 5 && next.since_ms >= before.since_ms, "{next:?}");
    archive_numbers(archive, "p2p:a:b", &[5, 8]).await;
    assert_eq!(found(holes).await, [c]);
    archive_numbers(archive, "p2p:a:c", &[1]).await;
    assert!(found(holes).await.is_empty());
}
