//! The port to all gateways over links, with a list of nodes in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, Uid};
use ringway_peer::{Ask, PeerLinks, RemoteGateways, Word};
use ringway_store::ports::{
    Gateways, Node, NodeRun, Nudge, Nudges, Route, Routes, ServerMessage, Signal, StoreError, SubmitError,
};

use crate::harness::{Listening, Mood, count, key, limits, node, run, sent, until};

/// A list of nodes that the test sets; `None` answers an error.
struct Nodes {
    list: Mutex<Option<Vec<Node>>>,
    reads: AtomicU64,
}

#[async_trait]
impl Routes for Nodes {
    async fn enter(&self, _: &Route, _: u64) -> Result<Vec<Route>, StoreError> {
        Ok(Vec::new())
    }

    async fn renew(&self, _: &[Route], _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn leave(&self, _: &[Route]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn seat(&self, _: &NodeRun, _: &[ConversationId], _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn unseat(&self, _: &NodeRun, _: &[ConversationId]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn holders(&self, convs: &[&ConversationId]) -> Result<Vec<Vec<NodeRun>>, StoreError> {
        // The first node holds the user "b", and nobody else.
        let list = self.list.lock().unwrap().clone().unwrap_or_default();
        let first: Vec<NodeRun> = list.into_iter().take(1).map(|node| node.run).collect();
        Ok(convs.iter().map(|conv| if conv.as_str() == "sys:b" { first.clone() } else { Vec::new() }).collect())
    }

    async fn renew_node(&self, _: &Node, _: u64, _: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn leave_node(&self, _: &NodeRun) -> Result<(), StoreError> {
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let nodes = self.list.lock().unwrap().clone();
        self.reads.fetch_add(1, Relaxed);
        nodes.ok_or_else(|| StoreError::new("nodes", "away"))
    }
}

struct Cluster {
    nodes: Arc<Nodes>,
    links: Arc<PeerLinks>,
    gateways: RemoteGateways,
}

impl Cluster {
    fn start(list: Option<Vec<Node>>) -> Self {
        let nodes = Arc::new(Nodes { list: Mutex::new(list), reads: AtomicU64::new(0) });
        let links = Arc::new(PeerLinks::new(run("daemon-1", 1), key(), limits()));
        let routes = Arc::clone(&nodes) as Arc<dyn Routes>;
        Self { gateways: RemoteGateways::start(Arc::clone(&links), routes), nodes, links }
    }

    /// Two gateways, linked and brought up to date.
    async fn of_two() -> (Self, [Listening; 2]) {
        let two = [1, 2].map(|n| Listening::start(run(&format!("gateway-{n}"), 1), limits()));
        let cluster = Self::start(Some(two.iter().map(Listening::node).collect()));
        cluster.settled(2).await;
        (cluster, two)
    }

    fn list(&self, nodes: Vec<Node>) {
        *self.nodes.list.lock().unwrap() = Some(nodes);
    }

    async fn settled(&self, resyncs: u64) {
        until("resyncs", || count(&self.links.counters().resyncs) >= resyncs).await;
    }
}

fn signal(n: u64) -> Signal {
    Signal::SessionRevoked { sid: format!("s-{n}"), until_ms: n }
}

fn message(conv: &str) -> ServerMessage {
    ServerMessage { conv: conv.into(), client_msg_id: "c".into(), kind: "system".into(), body: "{}".into() }
}

#[tokio::test]
async fn the_first_link_to_a_run_begins_with_a_resync_and_later_signals_follow_it() {
    let (cluster, two) = Cluster::of_two().await;
    for n in 0..3 {
        cluster.gateways.signal(signal(n)).await.unwrap();
    }
    let wanted = [Ask::Resync, Ask::Signal(signal(0)), Ask::Signal(signal(1)), Ask::Signal(signal(2))];
    for listening in &two {
        assert_eq!(listening.heard.asks(), wanted);
    }
    // A node that comes later, and one that runs anew.
    let later = Listening::start(run("gateway-3", 1), limits());
    let anew = Listening::start(run("gateway-1", 2), limits());
    cluster.list(vec![two[1].node(), later.node(), anew.node()]);
    cluster.settled(4).await;
    cluster.gateways.signal(signal(9)).await.unwrap();
    for listening in [&later, &anew] {
        assert_eq!(listening.heard.asks(), [Ask::Resync, Ask::Signal(signal(9))]);
    }
    assert_eq!(two[0].heard.asks().len(), 4, "an earlier run is told no more");
}

#[tokio::test]
async fn a_node_that_hangs_holds_a_signal_up_once_and_misses_nothing() {
    let (cluster, two) = Cluster::of_two().await;
    two[0].heard.mood.send_replace(Mood::Hanging);
    let start = Instant::now();
    cluster.gateways.signal(signal(1)).await.unwrap();
    let held_up = start.elapsed();
    assert!(held_up < Duration::from_secs(4), "{held_up:?}");
    // From now on nobody waits for it.
    let start = Instant::now();
    for n in 2..5 {
        cluster.gateways.signal(signal(n)).await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(two[1].heard.asks().len(), 5);
    two[0].heard.mood.send_replace(Mood::Willing);
    cluster.settled(3).await;
    until("all told", || two[0].heard.asks().last() == Some(&Ask::Resync)).await;
    cluster.gateways.signal(signal(5)).await.unwrap();
    let asks = two[0].heard.asks();
    assert_eq!(asks[..2], [Ask::Resync, Ask::Signal(signal(1))]);
    assert_eq!(asks[asks.len() - 2..], [Ask::Resync, Ask::Signal(signal(5))]);
}

#[tokio::test]
async fn a_node_that_is_away_is_brought_up_to_date_before_any_later_signal() {
    let (cluster, [away, _other]) = Cluster::of_two().await;
    let (there, address) = (away.run.clone(), away.server.address());
    away.server.close().await;
    until("the break", || !cluster.links.linked(&there)).await;
    let start = Instant::now();
    cluster.gateways.signal(signal(1)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "nobody waits for a node that is away");
    let back = Listening::start_at(there.clone(), limits(), address);
    cluster.settled(3).await;
    cluster.gateways.signal(signal(2)).await.unwrap();
    assert_eq!(back.heard.asks(), [Ask::Resync, Ask::Signal(signal(2))]);
}

#[tokio::test]
async fn a_node_that_cannot_apply_a_signal_is_asked_to_resync_until_it_has() {
    for mood in [Mood::Temporary, Mood::Refusing] {
        let (cluster, two) = Cluster::of_two().await;
        two[0].heard.mood.send_replace(mood);
        cluster.gateways.signal(signal(1)).await.unwrap();
        until("a failure", || count(&cluster.links.counters().resyncs_failed) >= 1).await;
        two[0].heard.mood.send_replace(Mood::Willing);
        cluster.settled(3).await;
        assert_eq!(two[0].heard.asks().last(), Some(&Ask::Resync));
    }
}

#[tokio::test]
async fn a_list_that_lacks_nodes_does_not_hide_those_that_answer() {
    let (cluster, two) = Cluster::of_two().await;
    let [listed, own] = [Listening::start(run("gateway-3", 1), limits()), Listening::start(run("x", 1), limits())];
    cluster.list(vec![listed.node(), node(&run("daemon-1", 1), own.server.address())]);
    cluster.settled(3).await;
    cluster.gateways.signal(signal(1)).await.unwrap();
    for listening in two.iter().chain([&listed]) {
        assert_eq!(listening.heard.asks(), [Ask::Resync, Ask::Signal(signal(1))]);
    }
    assert!(own.heard.asks().is_empty());
}

#[tokio::test]
async fn until_the_nodes_are_known_a_signal_is_temporary() {
    let cluster = Cluster::start(None);
    let told = cluster.gateways.signal(signal(1)).await;
    assert!(matches!(told, Err(SubmitError::Temporary(_))));
    assert!(!cluster.gateways.ready());
    cluster.list(Vec::new());
    let start = Instant::now();
    while cluster.gateways.signal(signal(1)).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    cluster.gateways.close().await;
    cluster.gateways.close().await;
}

#[tokio::test]
async fn who_takes_over_has_every_node_resync() {
    let (cluster, two) = Cluster::of_two().await;
    cluster.gateways.signal(signal(1)).await.unwrap();
    cluster.gateways.resync_all();
    cluster.gateways.signal(signal(2)).await.unwrap();
    cluster.settled(4).await;
    for listening in &two {
        let asks = listening.heard.asks();
        assert_eq!(asks[..3], [Ask::Resync, Ask::Signal(signal(1)), Ask::Resync]);
    }
}

#[tokio::test]
async fn a_signal_over_closed_links_is_not_taken_for_applied() {
    let (cluster, _two) = Cluster::of_two().await;
    cluster.links.close().await;
    let told = cluster.gateways.signal(signal(1)).await;
    assert!(matches!(told, Err(SubmitError::Temporary(_))), "{told:?}");
    let sent = cluster.gateways.submit(message("group:g")).await;
    assert!(matches!(sent, Err(SubmitError::Temporary(_))), "{sent:?}");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_leaves_the_last_one() {
    let (cluster, two) = Cluster::of_two().await;
    *cluster.nodes.list.lock().unwrap() = None;
    let before = count(&cluster.nodes.reads);
    // One reading may have begun before.
    until("an error", || count(&cluster.nodes.reads) >= before + 2).await;
    cluster.gateways.signal(signal(1)).await.unwrap();
    assert!(cluster.gateways.ready());
    for listening in &two {
        assert_eq!(listening.heard.asks(), [Ask::Resync, Ask::Signal(signal(1))]);
    }
}

#[tokio::test]
async fn a_message_goes_to_an_open_node_and_to_another_when_that_fails() {
    let (cluster, two) = Cluster::of_two().await;
    // Both are first for some conversations.
    let convs: Vec<String> = (0..16).map(|n| format!("group:g{n}")).collect();
    for conv in &convs {
        assert_eq!(cluster.gateways.submit(message(conv)).await.unwrap(), sent(&message(conv)));
    }
    let counts: Vec<usize> = two.iter().map(|listening| listening.heard.asks().len() - 1).collect();
    assert!(counts.iter().sum::<usize>() == 16 && counts.iter().all(|count| *count > 0), "{counts:?}");

    two[0].heard.mood.send_replace(Mood::Temporary);
    for conv in &convs {
        assert_eq!(cluster.gateways.submit(message(conv)).await.unwrap(), sent(&message(conv)));
    }
    two[1].heard.mood.send_replace(Mood::Temporary);
    let answer = cluster.gateways.submit(message("group:g")).await;
    assert!(matches!(&answer, Err(SubmitError::Temporary(why)) if why.contains("busy")), "{answer:?}");
    for listening in &two {
        listening.heard.mood.send_replace(Mood::Refusing);
    }
    let answer = cluster.gateways.submit(message("group:g")).await;
    assert!(matches!(&answer, Err(SubmitError::Refused(why)) if why == "no"), "{answer:?}");
}

#[tokio::test]
async fn a_node_that_is_not_open_takes_no_messages_but_signals() {
    let (cluster, two) = Cluster::of_two().await;
    assert!(cluster.gateways.ready());
    let closed = |listening: &Listening| Node { open: false, ..listening.node() };
    cluster.list(vec![closed(&two[0]), closed(&two[1])]);
    until("the new list", || !cluster.gateways.ready()).await;
    let answer = cluster.gateways.submit(message("group:g")).await;
    assert!(matches!(answer, Err(SubmitError::Temporary(_))), "{answer:?}");
    cluster.gateways.signal(signal(1)).await.unwrap();
    assert_eq!(two[0].heard.asks().last(), Some(&Ask::Signal(signal(1))));
}

#[tokio::test]
async fn traces_and_presence_of_all_nodes_are_put_together() {
    let (cluster, _two) = Cluster::of_two().await;
    let hops: Vec<HashMap<String, serde_json::Value>> =
        serde_json::from_str(&cluster.gateways.trace(42).await).unwrap();
    let seen: Vec<_> = hops.iter().map(|hop| (hop["node"].as_str().unwrap(), hop["at_us"].as_u64())).collect();
    assert_eq!(seen, [("gateway-1", Some(42)), ("gateway-2", Some(42))]);
    let uids = ["daemon", "nobody", "d"].map(|uid| Uid::parse(uid).unwrap());
    let online = cluster.gateways.online(&uids).await;
    assert_eq!(online, [uids[2].clone(), uids[0].clone()]);
    let metrics = cluster.gateways.metrics();
    assert!(metrics.contains("\nringway_peer_links 2\n"), "{metrics}");
}

#[tokio::test]
async fn a_nudge_goes_to_the_nodes_that_hold_the_user() {
    let (cluster, two) = Cluster::of_two().await;
    let conv = ConversationId::parse("p2p:a:b").unwrap();
    let nudge = |uid: &str| Nudge { uid: Uid::parse(uid).unwrap(), conv: conv.clone(), epoch: 2, seq: 7 };
    assert_eq!(cluster.gateways.nudge(&nudge("a")).await.unwrap(), 0, "nobody holds it");
    assert_eq!(cluster.gateways.nudge(&nudge("b")).await.unwrap(), 1);
    until("the nudge", || !two[0].heard.words().is_empty()).await;
    let told = Word::Nudge { uid: "b".into(), conv: "p2p:a:b".into(), epoch: 2, head: 7 };
    assert_eq!(two[0].heard.words(), [told]);
    assert!(two[1].heard.words().is_empty());
}
