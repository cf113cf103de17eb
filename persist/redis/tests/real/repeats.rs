//! Messages that are numbered again long after the keys that knew them have run out.

use std::sync::Arc;

use ringway_engine::event::MessageEvent;
use ringway_engine::limits::DEDUP_MS;
use ringway_redis::RedisConfig;
use ringway_stack::Reply;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, message};
use ringway_store::ports::{
    Archive as _, ArchiveBatch, LogOffset, NumberedMessage, PageFrom, SharedState as _, Upkeep as _,
};

use crate::harness::{Single, tell, until};

/// Messages that were taken `age_ms` ago.
fn run(first: u64, count: u64, age_ms: u64) -> Vec<Arc<MessageEvent>> {
    (first..first + count).map(|n| message("p2p:a:b", "a", &format!("c-{n}"), n, now_ms() - age_ms)).collect()
}

/// Milliseconds that the key of a send has left.
fn left_ms(single: &Single, event: &MessageEvent) -> i64 {
    let key = format!("im:idem:{{{}}}:{}:{}", event.conv, event.from, event.client_msg_id);
    match tell(&single.server, &["PTTL", &key]) {
        Reply::Number(left) => left,
        other => panic!("{other:?}"),
    }
}

/// As if their time had come.
fn forget(single: &Single, events: &[Arc<MessageEvent>]) {
    for event in events {
        tell(&single.server, &["DEL", &format!("im:idem:{{{}}}:{}:{}", event.conv, event.from, event.client_msg_id)]);
    }
}

#[tokio::test]
async fn a_send_is_remembered_until_it_is_archived_and_a_while_longer() {
    let single = Single::start().await;
    let state = single.state().await;
    let events = run(1, 1, 0);
    state.number(&events).await.unwrap();
    assert!(left_ms(&single, &events[0]) > 7 * 24 * 3_600_000, "the daemon may be days behind");
    single.sql.stores(&state).archive(&events, 1).await;
    let left = left_ms(&single, &events[0]);
    assert!(left > i64::try_from(DEDUP_MS).unwrap() && left <= 900_000, "{left} ms");
}

#[tokio::test]
async fn what_the_archive_has_keeps_its_number_however_late_it_is_numbered_again() {
    let single = Single::start().await;
    let state = single.state().await;
    let events = run(1, 300, 3 * DEDUP_MS);
    single.sql.stores(&state).archive(&events, 300).await;
    forget(&single, &events);
    let numbers = state.number(&events).await.unwrap();
    assert!(numbers.iter().zip(1..).all(|(number, seq)| number.duplicate && number.seq == seq && number.msg_id == seq));
    assert_eq!(state.head(&conv("p2p:a:b")).await.unwrap().1, 300);
}

#[tokio::test]
async fn what_waits_for_the_archive_keeps_its_number_when_its_send_is_forgotten() {
    let single = Single::start().await;
    let (gateway, daemon) = (single.state().await, single.state().await);
    let events = run(1, 300, 3 * DEDUP_MS);
    let given = gateway.number(&events).await.unwrap();
    // The id was used again since.
    let again = [message("p2p:a:b", "a", "c-7", 1_007, now_ms())];
    assert_eq!(gateway.number(&again).await.unwrap()[0].seq, 301);
    forget(&single, &events);
    let numbers = daemon.number(&events).await.unwrap();
    for (number, given) in numbers.iter().zip(&given) {
        assert_eq!((number.epoch, number.seq, number.msg_id), (given.epoch, given.seq, given.msg_id));
        assert!(number.duplicate);
    }
    assert_eq!(daemon.head(&conv("p2p:a:b")).await.unwrap().1, 301);
    single.sql.stores(&daemon).archive(&events, 300).await;
    let page = daemon.page(&conv("p2p:a:b"), PageFrom::After(299), 9).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.msg_id).collect::<Vec<_>>(), [300, 1_007]);
}

#[tokio::test]
async fn what_was_archived_leaves_the_memory_of_redis_and_its_keys_end_by_themselves() {
    let single = Single::start().await;
    let state = single.state().await;
    let events = run(1, 50, 0);
    state.number(&events).await.unwrap();
    assert_eq!(tell(&single.server, &["ZCARD", "im:recent:{p2p:a:b}"]), Reply::Number(50));
    single.sql.stores(&state).archive(&events, 50).await;
    assert_eq!(tell(&single.server, &["EXISTS", "im:recent:{p2p:a:b}"]), Reply::Number(0));
    assert_eq!(state.unarchived_bytes(), 0);
    state.acknowledge(Vec::new()).await;
    state.flush_cursors().await.unwrap();
    let Reply::Array(keys) = tell(&single.server, &["KEYS", "*"]) else { panic!("keys") };
    for key in keys {
        let Reply::Text(key) = key else { panic!("{key:?}") };
        let Reply::Number(left) = tell(&single.server, &["PTTL", &key]) else { panic!("{key}") };
        assert!(key == "im:epoch" || left > 0, "{key} stays for ever");
    }
}

#[tokio::test]
async fn what_nobody_said_is_archived_is_let_go_all_the_same() {
    let single = Single::start().await;
    let config = RedisConfig { repair_ms: 1, ..single.config() };
    let (gateway, daemon) = (single.sql.open(config).await.unwrap(), single.state().await);
    let events = run(1, 10, 0);
    gateway.number(&events).await.unwrap();
    let numbers = daemon.number(&events).await.unwrap();
    let messages = events.iter().zip(numbers).map(|(event, number)| NumberedMessage {
        event: Arc::clone(event),
        epoch: number.epoch,
        seq: number.seq,
    });
    let batch = ArchiveBatch { messages: messages.collect(), next_offset: LogOffset(10), ..ArchiveBatch::default() };
    single.sql.archive.commit(&batch).await.unwrap();
    // The daemon dies before it can tell; another one archives what comes next.
    drop(daemon);
    let successor = single.state().await;
    single.sql.stores(&successor).archive(&run(11, 5, 0), 15).await;
    // Readers see each message once, whoever holds it.
    let page = successor.page(&conv("p2p:a:b"), PageFrom::After(0), 100).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.seq).collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
    until("room", async || gateway.unarchived_bytes() == 0).await;
    assert_eq!(tell(&single.server, &["EXISTS", "im:recent:{p2p:a:b}"]), Reply::Number(0));
}
