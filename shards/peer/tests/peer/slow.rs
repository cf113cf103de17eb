//! Peers that do not read, do not answer or do not speak.

use std::time::Duration;

use ringway_peer::{Ask, PeerLimits, PeerLinks};
use tokio::net::TcpListener;

use crate::harness::{KEY, Listening, count, key, limits, node, nudge, run, until};
use crate::raw::{DONE, NUDGE, PING, Raw, Who};

/// A link to a server that the test plays.
async fn linked_raw(limits: PeerLimits) -> (PeerLinks, Raw) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let links = PeerLinks::new(run("daemon-1", 1), key(), limits);
    let there = run("gateway-1", 1);
    links.set_nodes(&[node(&there, listener.local_addr().unwrap())]);
    let raw = Raw::accept(&listener, &KEY, &Who::new("gateway-1", 1, 1, 1)).await.unwrap();
    until("a link", || links.linked(&there)).await;
    (links, raw)
}

/// A word of about 100 KB.
fn long(head: u64) -> ringway_peer::Word {
    ringway_peer::Word::Kick { session: head, reason: "x".repeat(100_000) }
}

/// Says words until one is dropped for want of room; answers how many were taken.
async fn fill(links: &PeerLinks, mut next: u64) -> u64 {
    let there = run("gateway-1", 1);
    until("a full queue", || {
        let taken = links.say(&there, long(next));
        next += u64::from(taken);
        !taken
    })
    .await;
    next
}

#[tokio::test]
async fn words_past_the_bound_are_dropped_and_counted_and_the_rest_arrive_in_order() {
    let (links, mut raw) = linked_raw(PeerLimits { queue_bytes_max: 1_000_000, ..limits() }).await;
    let there = run("gateway-1", 1);
    let taken = fill(&links, 0).await;
    let dropped = count(&links.counters().words_dropped);
    assert!(dropped >= 1);
    // Words do not push an ask out.
    let ask = links.ask(&there, Ask::Resync, Duration::from_secs(10));
    let serve = async {
        let mut words = 0;
        loop {
            let (kind, request, body) = raw.receive().await.unwrap();
            match kind {
                18 => {
                    assert_eq!(body[body.len() - 16..body.len() - 8], u64::to_le_bytes(words));
                    words += 1;
                }
                PING => raw.send(DONE, request, &[]).await,
                66 => break raw.send(DONE, request, &[]).await,
                other => panic!("kind {other}"),
            }
        }
        assert_eq!(words, taken);
    };
    let (answer, ()) = tokio::join!(ask, serve);
    assert!(answer.is_ok(), "{answer:?}");
    assert!(links.say(&there, nudge(1)));
    assert_eq!(raw.receive().await.unwrap().0, NUDGE);
    assert_eq!(count(&links.counters().words), taken + 1);
}

#[tokio::test]
async fn a_server_that_does_not_read_is_closed() {
    let (links, raw) = linked_raw(PeerLimits { queue_bytes_max: 1_000_000, write_ms: 200, ..limits() }).await;
    fill(&links, 0).await;
    until("the break", || count(&links.counters().broken) == 1).await;
    drop(raw);
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answers_is_closed() {
    let bounded = PeerLimits { queue_bytes_max: 100_000, write_ms: 200, ..limits() };
    let listening = Listening::start(run("gateway-1", 1), bounded);
    let mut raw = Raw::open(listening.server.address(), &KEY, &Who::new("gateway-2", 1, 1, 1)).await.unwrap();
    // Asks of an unknown kind are cheap to make, and each has an answer; once nothing is read any more, this stops.
    let flood = async {
        loop {
            raw.send(120, 1, &[]).await;
        }
    };
    let server = &listening.server;
    tokio::select! {
        () = flood => {}
        () = until("its end", || count(&server.counters().accepted) == 1 && count(&server.counters().connections) == 0) => {}
    }
}

#[tokio::test]
async fn an_idle_link_asks_for_signs_of_life_and_stays() {
    let quick = PeerLimits { idle_ms: 20, dead_ms: 200, ..limits() };
    let (links, mut raw) = linked_raw(quick).await;
    for _ in 0..20 {
        let (kind, request, body) = raw.receive().await.unwrap();
        assert_eq!((kind, request, body.len()), (PING, 0, 0));
        raw.send(DONE, request, &[]).await;
    }
    assert!(links.linked(&run("gateway-1", 1)));
    assert_eq!(count(&links.counters().broken), 0);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_taken_for_dead() {
    let (links, raw) = linked_raw(PeerLimits { idle_ms: 20, dead_ms: 200, ..limits() }).await;
    until("the break", || count(&links.counters().broken) == 1).await;
    drop(raw);
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_taken_for_dead() {
    let listening = Listening::start(run("gateway-1", 1), PeerLimits { dead_ms: 200, ..limits() });
    let raw = Raw::open(listening.server.address(), &KEY, &Who::new("gateway-2", 1, 1, 1)).await.unwrap();
    raw.bare.expect_close("silence").await;
}

#[tokio::test]
async fn a_flood_from_one_peer_does_not_hold_up_another() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let links = crate::harness::linked(&[listening.node()], limits()).await;
    let mut raw = Raw::open(listening.server.address(), &KEY, &Who::new("gateway-2", 1, 1, 1)).await.unwrap();
    let body = crate::raw::nudge(1);
    let flood = async {
        loop {
            raw.send(NUDGE, 0, &body).await;
        }
    };
    tokio::select! {
        () = flood => {}
        () = async {
            for _ in 0..100 {
                crate::harness::check_alive(&links, &listening.run).await;
            }
        } => {}
    }
}
