//! Who consumes what, and what becomes of it when somebody goes.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use ringway_persist::WorkersConfig;
use ringway_persist::limits::RECALL_RECORDS;
use ringway_store::conformance::directory::create_accounts;
use ringway_store::conformance::uid;
use ringway_store::ports::{Directory as _, Leases as _, LogQueue as _, LogReadError};

use crate::parts::{RECALL_MS, Shared, quick, until};

#[tokio::test]
async fn processes_share_the_queues_and_take_over_what_a_killed_one_held() {
    let shared = Shared::new(5).await;
    let one = shared.process("one", quick());
    until("one holds all", async || one.held() == 5).await;
    shared.send_to_all();
    shared.all_archived().await;
    let two = shared.process("two", quick());
    until("both hold a share", async || one.held() == 3 && two.held() == 2).await;
    assert!(one.workers.relays() && !two.workers.relays());
    shared.send_to_all();
    shared.all_archived().await;
    let lost = one.workers.queues_held();
    let killed = Instant::now();
    one.kill().await;
    shared.send_to_all();
    until("the other has taken over", async || two.held() == 5 && two.workers.relays()).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert!(lost.iter().all(|queue| two.workers.queues_held().contains(queue)));
    shared.all_archived().await;
    for queue in 0..5 {
        assert_eq!(shared.archived(queue).await, [1, 2, 3]);
    }
    assert!(shared.watched.lock().unwrap().len() >= 15, "each batch was told to whoever watches");
    let text = two.workers.metrics_text();
    assert!(text.contains("\nringway_persist_lease_queues_held 5\n"), "{text}");
    assert!(text.contains("\nringway_persist_lease_members 1\n"), "{text}");
    assert!(text.contains("\nringway_persist_log_lag_records{queue=\"broker-a/4\"} 0\n"), "{text}");
    assert_eq!(text.matches("_archived_messages_total{").count(), 5, "{text}");
    two.stop().await;
}

#[tokio::test]
async fn whoever_stops_in_order_lets_go_at_once() {
    let shared = Shared::new(4).await;
    // Waiting for them to run out would take longer than this test may.
    let config = || WorkersConfig { lease_ms: 600_000, ..quick() };
    let one = shared.process("one", config());
    until("one holds all", async || one.held() == 4).await;
    let two = shared.process("two", config());
    until("both hold a share", async || one.held() == 2 && two.held() == 2).await;
    one.stop().await;
    let held = shared.leases.held("").await.unwrap();
    assert!(held.iter().all(|(_, owner)| owner == "two"), "{held:?}");
    until("the other has taken over", async || two.held() == 4 && two.workers.relays()).await;
    shared.send_to_all();
    shared.all_archived().await;
    two.stop().await;
    assert!(shared.leases.held("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_that_cannot_be_renewed_stops_its_consumer() {
    let shared = Shared::new(2).await;
    let one = shared.process("one", quick());
    until("one holds all", async || one.held() == 2).await;
    shared.leases.away.store(true, Relaxed);
    until("it says so", async || one.workers.not_ready().iter().any(|why| why.starts_with("leases"))).await;
    // It goes on as long as its leases last.
    shared.send_to_all();
    shared.all_archived().await;
    until("nothing is held", async || one.held() == 0 && !one.workers.relays()).await;
    assert!(one.workers.metrics_text().contains("\nringway_persist_lease_lost_total 3\n"));
    shared.leases.away.store(false, Relaxed);
    until("all is held again", async || one.held() == 2 && one.workers.not_ready().is_empty()).await;
    shared.send_to_all();
    shared.all_archived().await;
    one.stop().await;
}

#[tokio::test]
async fn two_consumers_of_one_queue_archive_everything_once() {
    let shared = Shared::new(1).await;
    shared.leases.generous.store(true, Relaxed);
    let (one, two) = (shared.process("one", quick()), shared.process("two", quick()));
    until("both hold it", async || one.held() == 1 && two.held() == 1).await;
    for _ in 0..300 {
        shared.send(0);
        tokio::task::yield_now().await;
    }
    shared.all_archived().await;
    shared.send(0);
    shared.all_archived().await;
    assert_eq!(shared.archived(0).await, (1..=301).collect::<Vec<_>>());
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_queue_that_does_not_answer_is_read_when_it_does() {
    let shared = Shared::new(2).await;
    *shared.queues[0].fault.lock().unwrap() = Some(LogReadError::Unavailable("away".into()));
    let one = shared.process("one", quick());
    until("one holds all", async || one.held() == 2).await;
    shared.send_to_all();
    until("the other queue goes on", async || shared.archived(1).await == [1]).await;
    until("it is tried again", async || !one.workers.metrics_text().contains("_store_retries_total 0\n")).await;
    assert!(one.workers.not_ready().is_empty());
    *shared.queues[0].fault.lock().unwrap() = None;
    shared.all_archived().await;
    one.stop().await;
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_stops_alone_and_says_so() {
    for fault in [LogReadError::Damaged("bytes".into()), LogReadError::Released(Default::default())] {
        let shared = Shared::new(3).await;
        *shared.queues[1].fault.lock().unwrap() = Some(fault.clone());
        let one = shared.process("one", quick());
        shared.send_to_all();
        until("it says so", async || !one.workers.not_ready().is_empty()).await;
        assert_eq!(one.workers.not_ready(), [format!("queue/broker-a/1: {fault}")]);
        let text = one.workers.metrics_text();
        assert!(text.contains("\nringway_persist_queues_failed 1\n"), "{text}");
        for _ in 0..3 {
            shared.send(0);
            shared.send(2);
        }
        until("the others go on", async || {
            shared.archived(0).await == [1, 2, 3, 4] && shared.archived(2).await == [1, 2, 3, 4]
        })
        .await;
        // Its lease is kept, so no other process fails in its turn.
        let two = shared.process("two", quick());
        until("the rest is shared", async || one.held() == 2 && two.held() == 1).await;
        assert!(one.workers.queues_held().contains(&"broker-a/1".to_owned()));
        assert!(two.workers.not_ready().is_empty());
        one.stop().await;
        two.stop().await;
    }
}

#[tokio::test]
async fn the_outbox_is_relayed_by_one_and_whoever_begins_is_told_first() {
    let shared = Shared::new(1).await;
    create_accounts(&*shared.directory, &["a"]).await;
    let one = shared.process("one", quick());
    until("one relays", async || one.workers.relays()).await;
    let two = shared.process("two", quick());
    for n in 0..5 {
        shared.directory.create_group(&format!("g-{n}"), "G", &uid("a"), &[], 1).await.unwrap();
    }
    until("relayed", async || shared.directory.outbox(1).await.unwrap().is_empty()).await;
    let mut expected: Vec<String> = (1..=5).map(|n| format!("outbox-{n}")).collect();
    expected.insert(0, "one begins".to_owned());
    assert_eq!(*shared.told.0.lock().unwrap(), expected);
    assert!(!two.workers.relays());
    one.stop().await;
    until("the other relays", async || two.workers.relays()).await;
    shared.directory.create_group("g-5", "G", &uid("a"), &[], 1).await.unwrap();
    until("relayed", async || shared.directory.outbox(1).await.unwrap().is_empty()).await;
    expected.extend(["two begins", "outbox-6"].map(str::to_owned));
    assert_eq!(*shared.told.0.lock().unwrap(), expected);
    two.stop().await;
}

/// Whoever consumed took along what its watcher kept in mind; the next one is told of it again.
#[tokio::test]
async fn whoever_takes_over_is_told_what_was_archived_last() {
    let shared = Shared::new(1).await;
    shared.send_of(0, "group:old", 3 * RECALL_MS);
    shared.send_of(0, "group:quiet", 2 * RECALL_MS);
    // More than one stretch of the way back.
    for _ in 0..RECALL_RECORDS {
        shared.send_of(0, "group:busy", RECALL_MS / 2);
    }
    shared.send_of(0, "group:new", 0);
    let one = shared.process("one", quick());
    shared.all_archived().await;
    one.kill().await;
    // A watcher may be told of one twice.
    let told_to = |name: &str| -> BTreeSet<(String, u64)> {
        let watched = shared.watched.lock().unwrap();
        let of = watched.iter().filter(|(owner, ..)| owner == name);
        of.map(|(_, conv, seq)| (conv.clone(), *seq)).collect()
    };
    let expected = [("group:busy".to_owned(), RECALL_RECORDS), ("group:new".to_owned(), 1)].into();
    let two = shared.process("two", quick());
    until("it is told", async || told_to("two").len() == 2).await;
    assert_eq!(told_to("two"), expected, "the newest of each conversation, and nothing that is old");
    two.kill().await;

    // What the queue does not hold any more is nobody's; what it has goes on.
    shared.queues[0].lose(shared.queues[0].end().0 - 1);
    shared.send_of(0, "group:later", 0);
    let three = shared.process("three", quick());
    until("it is told", async || told_to("three").len() == 2).await;
    assert_eq!(told_to("three"), [("group:later".to_owned(), 1), ("group:new".to_owned(), 1)].into());
    three.stop().await;
}
