//! Dead letters.

use ringway_store::ports::{Archive, ArchiveBatch, DeadLetter, LogOffset};

use crate::harness::{Opened, batch};

fn letters(offsets: std::ops::Range<u64>, bytes: &'static [u8]) -> ArchiveBatch {
    let letter = |offset| DeadLetter { offset: LogOffset(offset), reason: format!("no {offset}"), bytes: bytes.into() };
    let (first, next) = (offsets.start, offsets.end);
    ArchiveBatch { dead_letters: offsets.map(letter).collect(), ..batch(Vec::new(), first, next) }
}

#[tokio::test]
async fn records_that_are_no_events_are_kept_and_listed_newest_first() {
    let opened = Opened::new().await;
    let large: &'static [u8] = vec![7; 3 * 1024 * 1024].leak();
    for batch in [letters(0..2, b"?"), letters(2..3, b""), letters(3..4, large)] {
        opened.archive.commit(&batch).await.unwrap();
        opened.archive.commit(&batch).await.unwrap();
    }
    assert_eq!(opened.archive.consumed_offset().await.unwrap(), LogOffset(4));
    let found = opened.database.dead_letters(3).await.unwrap();
    assert_eq!(found.iter().map(|letter| letter.offset.0).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!((found[0].bytes.len(), found[0].bytes_kept), (4_096, 2 * 1024 * 1024));
    assert_eq!((found[2].log.as_str(), found[2].reason.as_str(), &*found[2].bytes), ("log", "no 1", &b"?"[..]));
    assert!(found[2].archived_ms > 0);
}
