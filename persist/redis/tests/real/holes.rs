//! Numbers whose messages are archived out of order.

use std::sync::Arc;

use ringway_engine::event::MessageEvent;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, message};
use ringway_store::ports::{
    Archive as _, ArchiveBatch, NumberedMessage, Page, PageFrom, SharedState as _, Upkeep as _,
};

use crate::harness::Single;

fn run(first: u64, count: u64) -> Vec<Arc<MessageEvent>> {
    (first..first + count).map(|n| message("p2p:a:b", "a", &format!("c-{n}"), n, now_ms())).collect()
}

fn seqs(page: &Page) -> Vec<u64> {
    page.items.iter().map(|item| item.seq).collect()
}

/// Archives some of the events under the numbers they have.
async fn archive(single: &Single, state: &ringway_redis::RedisState, events: &[Arc<MessageEvent>]) {
    let numbers = state.number(events).await.unwrap();
    let messages = events.iter().zip(numbers);
    let messages = messages.map(|(event, number)| NumberedMessage {
        event: Arc::clone(event),
        epoch: number.epoch,
        seq: number.seq,
    });
    let batch = ArchiveBatch { messages: messages.collect(), ..ArchiveBatch::default() };
    single.sql.archive.commit(&batch).await.unwrap();
    state.archived(&batch).await.unwrap();
}

#[tokio::test]
async fn what_the_archive_does_not_have_yet_is_read_from_redis() {
    let single = Single::start().await;
    let state = single.state().await;
    let events = run(1, 9);
    state.number(&events).await.unwrap();
    archive(&single, &state, &[&events[..2], &events[4..6], &events[8..]].concat()).await;
    let id = conv("p2p:a:b");
    for (from, limit, expected) in [
        (PageFrom::After(0), 100, (1..=9).collect::<Vec<u64>>()),
        (PageFrom::After(1), 3, vec![2, 3, 4]),
        (PageFrom::After(2), 2, vec![3, 4]),
        (PageFrom::After(4), 100, vec![5, 6, 7, 8, 9]),
        (PageFrom::Before(u64::MAX), 4, vec![6, 7, 8, 9]),
        (PageFrom::Before(7), 100, (1..=6).collect()),
    ] {
        assert_eq!(seqs(&state.page(&id, from, limit).await.unwrap()), expected, "{from:?}");
    }
}

#[tokio::test]
async fn a_hole_that_an_epoch_leaves_is_filled_first_and_hides_what_lies_above() {
    let single = Single::start().await;
    let (gateway, daemon) = (single.state().await, single.state().await);
    let events = run(1, 6);
    gateway.number(&events).await.unwrap();
    // 3 and 5 are in somebody's spool when the server is lost.
    archive(&single, &daemon, &[&events[..2], &events[3..4], &events[5..]].concat()).await;
    drop(gateway);
    single.tell(&["FLUSHALL"]);
    let id = conv("p2p:a:b");
    let page = daemon.page(&id, PageFrom::After(0), 100).await.unwrap();
    assert_eq!((seqs(&page), page.head, page.more), (vec![1, 2], 6, true));
    let page = daemon.page(&id, PageFrom::Before(u64::MAX), 100).await.unwrap();
    assert_eq!((seqs(&page), page.more), (vec![1, 2], false));
    let list = daemon.conversations(&ringway_store::conformance::uid("b"), "", 9).await.unwrap();
    assert_eq!(list.items[0].head, 6);
    // A new message takes the first hole, as readers may see nothing above it.
    let numbers = daemon.number(&run(7, 1)).await.unwrap();
    assert_eq!(numbers[0].seq, 3);
    let page = daemon.page(&id, PageFrom::After(0), 100).await.unwrap();
    assert_eq!((seqs(&page), page.more), (vec![1, 2, 3, 4], true));
    // Places rise: what was archived above the hole is of the new epoch too, before that has archived anything.
    let epochs: Vec<u64> = page.items.iter().map(|item| item.epoch).collect();
    assert_eq!(epochs, [page.epoch - 1, page.epoch - 1, page.epoch, page.epoch]);
    assert_eq!(seqs(&daemon.page(&id, PageFrom::Before(u64::MAX), 2).await.unwrap()), [3, 4]);
    // The spooled ones arrive.
    let late = [Arc::clone(&events[2]), Arc::clone(&events[4])];
    let numbers = daemon.number(&late).await.unwrap();
    assert_eq!(numbers.iter().map(|number| number.seq).collect::<Vec<_>>(), [5, 7]);
    archive(&single, &daemon, &[late.to_vec(), run(7, 1)].concat()).await;
    let page = single.sql.archive.page(&id, PageFrom::After(0), 100).await.unwrap();
    assert_eq!(page.iter().map(|item| item.msg_id).collect::<Vec<_>>(), [1, 2, 7, 4, 3, 6, 5]);
    assert!(page.iter().skip(2).all(|item| item.epoch == numbers[0].epoch), "{page:?}");
}
