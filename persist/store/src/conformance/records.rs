//! Conformance of [`Records`], over what archive and directory hold.

use super::shared_state::now_ms;
use super::{conv, device, message, numbered, uid};
use crate::ports::{
    Archive, ArchiveBatch, Cursor, CursorUpdate, Directory, HeldNumber, ListRow, LogOffset, NumberedMessage, Records,
};

async fn archive_pair(archive: &dyn Archive) {
    // Numbers 1 to 6, every third from b; the id of number 6 was used before, long ago.
    let old = now_ms() - 100 * 24 * 3_600_000;
    let from = |n: u64| if n.is_multiple_of(3) { "b" } else { "a" };
    let id = |n: u64| if n == 3 { "c-6".to_owned() } else { format!("c-{n}") };
    let time = |n: u64| if n == 3 { old } else { old + 90 * 24 * 3_600_000 + n };
    let messages = (1..=6).map(|n| numbered(&message("p2p:a:b", from(n), &id(n), 100 + n, time(n)), n));
    let messages: Vec<NumberedMessage> = messages.collect();
    let batch = ArchiveBatch { messages, next_offset: LogOffset(6), ..ArchiveBatch::default() };
    archive.commit(&batch).await.unwrap();
}

/// Archived messages are found by send, by place and by sender.
pub async fn messages(records: &dyn Records, archive: &dyn Archive) {
    archive_pair(archive).await;
    let sends = [("p2p:a:b", "a", "c-9"), ("p2p:a:b", "b", "c-6"), ("p2p:x:y", "a", "c-1"), ("p2p:a:b", "a", "c-1")];
    let found = records.sends(&sends).await.unwrap();
    assert_eq!(found.iter().map(|(at, held)| (*at, held.seq)).collect::<Vec<_>>(), [(1, 6), (3, 1)]);
    let first = found[1].1;
    assert_eq!(first, HeldNumber { epoch: 1, seq: 1, msg_id: 101, ts_ms: first.ts_ms });
    assert!(records.sends(&[]).await.unwrap().is_empty());
    let times = records.times(&[("p2p:a:b", 1), ("p2p:a:b", 7), ("p2p:x:y", 1)]).await.unwrap();
    assert_eq!(times.into_iter().collect::<Vec<_>>(), [(("p2p:a:b".to_owned(), 1), first.ts_ms)]);
    let of_a = records.own_counts(&uid("a"), &[("p2p:a:b", 1, 5), ("p2p:x:y", 0, 9)]).await.unwrap();
    assert_eq!(of_a.get("p2p:a:b"), Some(&3));
    assert_eq!(records.own_counts(&uid("b"), &[("p2p:a:b", 3, 6)]).await.unwrap().get("p2p:a:b"), Some(&1));
    let last = records.messages_at(&[("p2p:a:b", 6), ("p2p:x:y", 1)]).await.unwrap();
    assert_eq!(last.len(), 1);
    assert_eq!((last["p2p:a:b"].msg_id, last["p2p:a:b"].from.as_str()), (106, "b"));
}

/// A user has the conversations that have messages, and all groups.
pub async fn conversations(records: &dyn Records, archive: &dyn Archive, directory: &dyn Directory) {
    super::directory::create_accounts(directory, &["a", "b", "c"]).await;
    directory.create_group("g", "Group", &uid("a"), &[uid("b")], 1).await.unwrap();
    directory.add_members("g", &uid("a"), &[uid("c")], 5, 2).await.unwrap();
    archive_pair(archive).await;
    let names = records.names(&["b", "nobody"]).await.unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), [("b".to_owned(), "B".to_owned())]);
    let group = ListRow { conv: "group:g".into(), name: "Group".into(), ..ListRow::default() };
    let pair = ListRow { conv: "p2p:a:b".into(), head: 6, ..ListRow::default() };
    assert_eq!(records.list(&uid("a"), "", 10).await.unwrap(), [group.clone(), pair.clone()]);
    assert_eq!(records.list(&uid("a"), "", 1).await.unwrap(), std::slice::from_ref(&group));
    assert_eq!(records.list(&uid("a"), "group:g", 10).await.unwrap(), [pair]);
    assert_eq!(records.list(&uid("c"), "", 10).await.unwrap(), [ListRow { joined_seq: 5, ..group }]);
    let fresh = ["p2p:a:b".to_owned(), "p2p:a:c".to_owned()];
    let places = records.places(&uid("a"), &device("phone"), &fresh).await.unwrap();
    let mut found: Vec<_> = places.iter().map(|place| (place.conv.as_str(), place.head)).collect();
    found.sort_unstable();
    assert_eq!(found, [("group:g", 0), ("p2p:a:b", 6), ("p2p:a:c", 0)]);
}

/// Cursors rise by epoch, then by number, for each device, and end where the conversation ends.
pub async fn cursors(records: &dyn Records, archive: &dyn Archive) {
    archive_pair(archive).await;
    let raise =
        |on: &str, epoch, seq| CursorUpdate { uid: uid("b"), device: device(on), conv: conv("p2p:a:b"), epoch, seq };
    let at = async |on: &str| {
        let places = records.places(&uid("b"), &device(on), &[]).await.unwrap();
        (places[0].device_cursor, places[0].user_cursor)
    };
    let cursor = |epoch, seq| Some(Cursor { epoch, seq });
    assert_eq!(at("phone").await, (None, None));
    records.raise_cursors(&[]).await.unwrap();
    records.raise_cursors(&[(raise("phone", 1, 4), 0), (raise("pad", 1, 3), 6)]).await.unwrap();
    records.raise_cursors(&[(raise("phone", 1, 2), 0)]).await.unwrap();
    assert_eq!(at("phone").await, (cursor(1, 4), cursor(1, 4)));
    assert_eq!(at("pad").await, (cursor(1, 3), cursor(1, 4)));
    records.raise_cursors(&[(raise("phone", 1, 99), 0), (raise("pad", 1, 99), 8)]).await.unwrap();
    assert_eq!(at("phone").await, (cursor(1, 6), cursor(1, 8)));
    records.raise_cursors(&[(raise("phone", 2, 5), 0)]).await.unwrap();
    records.raise_cursors(&[(raise("phone", 1, 6), 0)]).await.unwrap();
    assert_eq!(at("new").await, (None, cursor(2, 5)));
    assert_eq!(at("phone").await, (cursor(2, 5), cursor(2, 5)));
}
