//! How a node ends: told to, or killed.

use std::path::Path;
use std::time::Duration;

use ringway_client::http::{Api, From};
use ringway_client::{Client, Options, State, user};
use rustix::process::Signal;
use tempfile::tempdir;

use crate::program::{Node, block_on, token};

/// The promise of the drain.
const DRAIN: Duration = Duration::from_secs(10);

/// Sends one message from alice to bob, and answers its number.
async fn send(node: &Node, data: &Path, body: &str) -> u64 {
    let (client, mut events) = Client::connect(Options::new(node.url("ws"), "test", token(data, "alice"))).unwrap();
    let reading = tokio::spawn(async move { while events.next().await.is_some() {} });
    let sent = client.send(user("bob"), body).await.unwrap();
    client.close().await;
    reading.await.unwrap();
    sent.seq
}

async fn history(node: &Node, data: &Path) -> Vec<(u64, String)> {
    let api = Api::new(&node.url("api")).unwrap();
    let page = api.history(&token(data, "bob"), "p2p:alice:bob", From::After(0), 100).await.unwrap();
    page.items.into_iter().map(|message| (message.seq, message.body)).collect()
}

#[test]
fn a_node_told_to_end_drains_its_clients_and_exits_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let folder = tempdir().unwrap();
        let data = folder.path();
        let node = Node::start(data, &[]);
        let options = Options::new(node.url("ws"), "test", token(data, "alice"));
        block_on(async {
            let (client, mut events) = Client::connect(options).unwrap();
            let reading = tokio::spawn(async move { while events.next().await.is_some() {} });
            client.wait_for(|state| matches!(state, State::Connected { .. })).await.unwrap();
            node.signal(signal);
            client.wait_for(|state| !matches!(state, State::Connected { .. })).await.unwrap();
            client.close().await;
            reading.await.unwrap();
        });
        let (status, took) = node.wait();
        assert_eq!(status.code(), Some(0), "{signal:?}");
        assert!(took < DRAIN, "{took:?}");
        assert!(!data.join("ringway.json").exists(), "the address file is left behind");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_and_after_a_drain() {
    let folder = tempdir().unwrap();
    let data = folder.path();
    token(data, "bob");
    let node = Node::start(data, &[]);
    assert_eq!(block_on(send(&node, data, "one")), 1);
    node.crash();
    let node = Node::start(data, &[]);
    assert_eq!(block_on(history(&node, data)), [(1, "one".to_owned())]);
    assert_eq!(block_on(send(&node, data, "two")), 2);
    node.signal(Signal::TERM);
    assert!(node.wait().0.success());
    let node = Node::start(data, &[]);
    assert_eq!(block_on(history(&node, data)), [(1, "one".to_owned()), (2, "two".to_owned())]);
}
