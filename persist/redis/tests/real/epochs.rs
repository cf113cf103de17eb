//! Which server may give numbers out, and what a new epoch does to those given.

use std::time::Instant;

use ringway_redis::RedisConfig;
use ringway_stack::RedisOptions;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, device, message, uid};
use ringway_store::ports::{Archive as _, CursorUpdate, PageFrom, SharedState as _, Upkeep as _};

use crate::harness::{Single, until};

fn run(first: u64, count: u64) -> Vec<std::sync::Arc<ringway_engine::event::MessageEvent>> {
    (first..first + count).map(|n| message("p2p:a:b", "a", &format!("c-{n}"), n, now_ms())).collect()
}

#[tokio::test]
async fn a_flushed_server_serves_its_epoch_no_more() {
    let single = Single::start().await;
    let state = single.state().await;
    let stores = single.sql.stores(&state);
    let before = single.sql.epoch().await;
    stores.archive(&run(1, 3), 3).await;
    let lost = run(4, 2);
    assert_eq!(stores.number(&lost).await, [4, 5]);
    single.tell(&["FLUSHALL"]);
    // What had numbers is numbered before what comes now.
    let fresh = state.number(&run(6, 1)).await.unwrap();
    assert_eq!((fresh[0].epoch, fresh[0].seq), (before + 1, 6));
    let again = state.number(&lost).await.unwrap();
    assert_eq!(
        again.iter().map(|number| (number.epoch, number.seq)).collect::<Vec<_>>(),
        [(before + 1, 4), (before + 1, 5)]
    );
    let page = state.page(&conv("p2p:a:b"), PageFrom::After(2), 10).await.unwrap();
    assert_eq!(
        page.items.iter().map(|item| (item.epoch, item.seq, item.msg_id)).collect::<Vec<_>>(),
        [(before, 3, 3), (before + 1, 4, 4), (before + 1, 5, 5), (before + 1, 6, 6)]
    );
}

#[tokio::test]
async fn what_is_archived_keeps_its_number_in_a_new_epoch() {
    let single = Single::start().await;
    let state = single.state().await;
    let events = run(1, 5);
    single.sql.stores(&state).archive(&events, 5).await;
    single.tell(&["FLUSHALL"]);
    let again = state.number(&events).await.unwrap();
    assert!(again.iter().zip(1..).all(|(number, seq)| number.duplicate && number.seq == seq));
    let known = state.known(&conv("p2p:a:b"), "a", "c-3", true).await.unwrap().unwrap();
    assert_eq!((known.seq, known.msg_id), (3, 3));
    let next = state.number(&run(6, 1)).await.unwrap();
    assert_eq!(next[0].seq, 6);
}

#[tokio::test]
async fn a_server_promoted_again_is_another_one() {
    let single = Single::start().await;
    let state = single.state().await;
    let before = single.sql.epoch().await;
    state.number(&run(1, 1)).await.unwrap();
    // The process and its connections stay.
    single.tell(&["REPLICAOF", "127.0.0.1", "1"]);
    single.tell(&["REPLICAOF", "NO", "ONE"]);
    until("a number of the next epoch", async || {
        state.number(&run(2, 1)).await.is_ok_and(|numbers| numbers[0].epoch == before + 1)
    })
    .await;
}

#[tokio::test]
async fn a_process_that_others_have_left_behind_follows_them() {
    let mut single = Single::start().await;
    let (quick, slow) = (single.state().await, single.state().await);
    slow.number(&run(1, 1)).await.unwrap();
    single.server.restart_empty().unwrap();
    until("a number of the new epoch", async || quick.number(&run(2, 1)).await.is_ok()).await;
    until("the new epoch at the other", async || slow.epoch() == quick.epoch()).await;
    // Its own message is numbered again without a call of anyone.
    until("the message of the old epoch", async || slow.head(&conv("p2p:a:b")).await.is_ok_and(|(_, head)| head == 2))
        .await;
    assert_eq!(single.sql.epoch().await, 3, "one epoch for one restart");
}

#[tokio::test]
async fn a_cursor_of_an_old_epoch_ends_where_the_epochs_agree() {
    let single = Single::start().await;
    let state = single.state().await;
    let stores = single.sql.stores(&state);
    stores.archive(&run(1, 3), 3).await;
    stores.number(&run(4, 3)).await;
    let (id, user, phone) = (conv("p2p:a:b"), uid("b"), device("phone"));
    let (epoch, _) = state.head(&id).await.unwrap();
    let cursor = CursorUpdate { uid: user.clone(), device: phone.clone(), conv: id.clone(), epoch, seq: 6 };
    state.acknowledge(vec![cursor.clone()]).await;
    state.flush_cursors().await.unwrap();
    single.tell(&["FLUSHALL"]);
    stores.archive(&run(4, 3), 6).await;
    let at = async || state.points(&user, &phone, now_ms()).await.unwrap()[0].clone();
    assert_eq!((at().await.head, at().await.device_cursor), (6, Some(3)), "4 to 6 may be other messages now");
    let (epoch, _) = state.head(&id).await.unwrap();
    state.acknowledge(vec![CursorUpdate { epoch, seq: 5, ..cursor }]).await;
    assert_eq!(at().await.device_cursor, Some(5));
}

#[tokio::test]
async fn a_server_that_may_evict_keys_is_refused() {
    let arguments = ["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"].map(str::to_owned).to_vec();
    let single = Single::start_with(RedisOptions { arguments, ..RedisOptions::default() }).await;
    let refused = single.sql.open(single.config()).await.unwrap_err().to_string();
    assert!(refused.contains("noeviction"), "{refused}");
}

#[tokio::test]
async fn bytes_are_let_go_when_another_process_archives() {
    let single = Single::start().await;
    let (gateway, daemon) = (single.state().await, single.state().await);
    let events = run(1, 20);
    gateway.number(&events).await.unwrap();
    assert!(gateway.unarchived_bytes() > 0);
    let began = Instant::now();
    single.sql.stores(&daemon).archive(&events, 20).await;
    until("room", async || gateway.unarchived_bytes() == 0).await;
    assert!(began.elapsed().as_secs() < 10);
    assert_eq!(single.sql.archive.highest_msg_id().await.unwrap(), 20);
}

/// What the daemons make room for is numbered by them even where none is left; senders wait meanwhile.
#[tokio::test]
async fn a_server_whose_memory_is_full_is_drained() {
    let arguments = ["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"].map(str::to_owned).to_vec();
    let single = Single::start_with(RedisOptions { arguments, ..RedisOptions::default() }).await;
    let gateway = single.state().await;
    let daemon = single.sql.open(RedisConfig { makes_room: true, ..single.config() }).await.unwrap();
    let mut taken = Vec::new();
    let full = loop {
        let events = run(taken.len() as u64 + 1, 50);
        match gateway.number(&events).await {
            Ok(_) => taken.extend(events),
            Err(error) => break error.to_string(),
        }
        assert!(taken.len() < 100_000, "it is never full");
    };
    assert!(full.contains("OOM"), "{full}");
    // There may be room for some that are short.
    let mut others = 200_000..202_000;
    let refused = loop {
        let n = others.next().unwrap();
        let first = message(&format!("p2p:a:c{n}"), "a", "first", n, now_ms());
        if let Err(error) = gateway.number(&[first]).await {
            break error.to_string();
        }
    };
    assert!(refused.contains("OOM"), "the first of a conversation: {refused}");
    assert_eq!(gateway.number(&taken[..2]).await.unwrap()[1].seq, 2, "what has its number needs no memory");
    let (user, phone) = (uid("b"), device("phone"));
    let (epoch, _) = gateway.head(&conv("p2p:a:b")).await.unwrap();
    let cursor = CursorUpdate { uid: user.clone(), device: phone.clone(), conv: conv("p2p:a:b"), epoch, seq: 2 };
    gateway.acknowledge(vec![cursor]).await;
    let point = gateway.points(&user, &phone, now_ms()).await.unwrap()[0].clone();
    assert_eq!(point.device_cursor, Some(2), "what is read is known");
    // In the log and without a number, as a send that was cut off by it.
    taken.extend(run(taken.len() as u64 + 1, 50));
    let stores = single.sql.stores(&daemon);
    let mut consumed = 0;
    for batch in taken.chunks(50) {
        consumed += 50;
        let numbers = stores.number(batch).await;
        assert!(numbers.iter().copied().eq(consumed - 49..=consumed), "{numbers:?}");
        stores.archive(batch, consumed).await;
    }
    let next = run(taken.len() as u64 + 1, 1);
    until("room for whoever sends", async || gateway.number(&next).await.is_ok()).await;
    assert_eq!(gateway.number(&next).await.unwrap()[0].seq, consumed + 1);
}
