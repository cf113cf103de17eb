//! Releases side by side: an older and a newer peer, played by hand.

use std::time::Duration;

use ringway_peer::{Ask, PeerError, PeerLinks, Reply};
use tokio::net::TcpListener;

use crate::harness::{KEY, Listening, count, key, limits, node, nudge, run, until};
use crate::raw::{Bare, DONE, HELLO, NUDGE, PING, REFUSED, Raw, Who, greeting, nudge as nudge_body};

const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_newer_peer_is_served_at_the_common_version() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let mut newer = Raw::open(listening.server.address(), &KEY, &Who::new("gateway-2", 1, 1, 3)).await.unwrap();
    assert_eq!(newer.version, 1);
    // A word and an ask that came with a later version.
    newer.send(60, 0, b"a later word").await;
    newer.send(120, 7, b"a later ask").await;
    newer.send(NUDGE, 0, &nudge_body(4)).await;
    newer.send(PING, 8, &[]).await;
    let (kind, request, body) = newer.receive().await.unwrap();
    assert_eq!((kind, request), (REFUSED, 7));
    assert!(String::from_utf8_lossy(&body).contains("kind 120 is not known here"), "{body:?}");
    assert_eq!(newer.receive().await.unwrap(), (DONE, 8, Vec::new()));
    until("the word it knows", || listening.heard.heads() == [4]).await;
    assert_eq!(count(&listening.server.counters().unknown), 2);
}

#[tokio::test]
async fn a_hello_may_grow() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let mut bare = Bare::connect(listening.server.address()).await;
    let mine = [Who::new("gateway-2", 1, 1, 2).hello(), b"what a later version adds".to_vec()].concat();
    bare.write(&greeting(HELLO, &mine)).await;
    let theirs = bare.read_greeting(HELLO).await.unwrap();
    let proof = crate::raw::derived(&KEY, crate::raw::OPENER_PROOF, 1, &mine, &theirs);
    bare.write(&greeting(crate::raw::PROOF, &proof)).await;
    bare.read_greeting(crate::raw::PROOF).await.unwrap();
}

#[tokio::test]
async fn who_speaks_no_common_version_is_told_ours_and_closed() {
    let listening = Listening::start(run("gateway-1", 1), limits());
    let mut bare = Bare::connect(listening.server.address()).await;
    bare.write(&greeting(HELLO, &Who::new("gateway-2", 1, 2, 3).hello())).await;
    let theirs = bare.read_greeting(HELLO).await.unwrap();
    assert_eq!(theirs[..2], [1, 1]);
    bare.expect_close("no version in common").await;
    until("its count", || count(&listening.server.counters().no_version) == 1).await;
}

/// Links to a node whose server the test plays.
async fn link_to(versions: (u8, u8)) -> (PeerLinks, TcpListener, Who) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let links = PeerLinks::new(run("daemon-1", 1), key(), limits());
    links.set_nodes(&[node(&run("gateway-1", 1), listener.local_addr().unwrap())]);
    (links, listener, Who::new("gateway-1", 1, versions.0, versions.1))
}

#[tokio::test]
async fn a_link_speaks_to_a_newer_server_at_the_common_version() {
    let (links, listener, newer) = link_to((1, 2)).await;
    let there = run("gateway-1", 1);
    let mut raw = Raw::accept(&listener, &KEY, &newer).await.unwrap();
    assert_eq!((raw.version, &raw.theirs[..2]), (1, &[1, 1][..]));
    until("a link", || links.linked(&there)).await;
    assert!(links.say(&there, nudge(6)));
    assert_eq!(raw.receive().await.unwrap(), (NUDGE, 0, nudge_body(6)));
    // A word towards the opener is of a later version, and so is this kind of an answer.
    raw.send(60, 0, b"a later word").await;
    let answer = async {
        let (kind, request, _) = raw.receive().await.unwrap();
        raw.send(190, request, b"a later answer").await;
        kind
    };
    let (kind, asked) = tokio::join!(answer, links.ask(&there, Ask::Resync, LIMIT));
    assert_eq!((kind, asked), (66, Err(PeerError::NotUnderstood)));
    let answer = async {
        let (_, request, _) = raw.receive().await.unwrap();
        raw.send(DONE, request, &[]).await;
    };
    assert_eq!(tokio::join!(answer, links.ask(&there, Ask::Resync, LIMIT)).1, Ok(Reply::Done));
}

#[tokio::test]
async fn a_link_keeps_trying_a_server_without_a_common_version() {
    let (links, listener, newer) = link_to((2, 3)).await;
    for attempt in 1..=2 {
        let mut bare = Bare(listener.accept().await.unwrap().0);
        bare.read_greeting(HELLO).await.unwrap();
        bare.write(&greeting(HELLO, &newer.hello())).await;
        bare.expect_close("no version in common").await;
        until("a failure", || count(&links.counters().failed) >= attempt).await;
    }
    // Rolled back, it is found again.
    let older = Who { lowest: 1, highest: 1, ..newer };
    let _raw = Raw::accept(&listener, &KEY, &older).await.unwrap();
    until("a link", || links.linked(&run("gateway-1", 1))).await;
}
