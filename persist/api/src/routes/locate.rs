//! Which gateways to try.
//!
//! Asked before there is a token, so a list of nodes is read from the store once a second at most, and told again
//! while the store does not answer: a node that has died meanwhile costs its client one more try.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use ringway_engine::limits::CONNECTIONS_MAX;
use ringway_store::ports::{Node, Routes};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::body::{List, Parameters, json};
use crate::limits::{NODE_LIST_MS, NODE_LIST_TIMEOUT_MS, NODES_TOLD_MAX};
use crate::problem::Problem;
use crate::state::{Api, Nodes};

#[derive(Debug, Serialize, PartialEq)]
struct Place {
    ws: String,
    load: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Wanted {
    /// The version to prefer.
    version: Option<String>,
}

/// The list of nodes as it was read last.
#[derive(Debug, Default)]
pub(crate) struct NodeList(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    nodes: Vec<Node>,
    read: Option<Instant>,
}

impl NodeList {
    /// Reads it anew when it is old. Callers at the same time share one reading; a dropped call leaves the old list.
    async fn nodes(&self, routes: &dyn Routes) -> Vec<Node> {
        let mut last = self.0.lock().await;
        if last.read.is_none_or(|read| read.elapsed() >= Duration::from_millis(NODE_LIST_MS)) {
            match tokio::time::timeout(Duration::from_millis(NODE_LIST_TIMEOUT_MS), routes.nodes()).await {
                Ok(Ok(nodes)) => last.nodes = nodes,
                Ok(Err(error)) => tracing::warn!(%error, "the list of nodes cannot be read: the last one is told"),
                Err(_) => tracing::warn!("the list of nodes is not told in time: the last one is told"),
            }
            last.read = Some(Instant::now());
        }
        last.nodes.clone()
    }
}

/// `GET /v1/locate`: the healthy nodes that take sessions, those of the version asked for first, then by load; while none
/// is healthy, all that take sessions; nothing while there is none. Needs no token: it is asked before there is one.
pub(crate) async fn locate(
    State(api): State<Arc<Api>>,
    Parameters(wanted): Parameters<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let mut items = match &api.parts.nodes {
        Nodes::Own(load) if api.parts.gateways.ready() => {
            vec![Place { ws: api.config.public_ws_url.clone(), load: load().clamp(0.0, 1.0), version: None }]
        }
        Nodes::Own(_) => Vec::new(),
        Nodes::Listed(routes) => ranked(api.node_list.nodes(&**routes).await, wanted.version.as_deref()),
    };
    for item in &mut items {
        item.ws = reachable(&item.ws, host);
    }
    json(StatusCode::OK, &List { items, more: false })
}

/// Those to send people to, best first. Of equals the order is that of their names.
fn ranked(nodes: Vec<Node>, version: Option<&str>) -> Vec<Place> {
    let mut nodes = Node::preferred(nodes);
    nodes.sort_by(|a, b| {
        let key = |node: &Node| (version.is_some_and(|version| node.version != version), node.sessions);
        key(a).cmp(&key(b)).then_with(|| a.run.cmp(&b.run))
    });
    let place = |node: Node| Place {
        load: (node.sessions as f64 / CONNECTIONS_MAX as f64).min(1.0),
        ws: node.ws,
        version: Some(node.version),
    };
    nodes.into_iter().take(NODES_TOLD_MAX).map(place).collect()
}

/// Puts the host that the client asked for in the place of a wildcard one.
fn reachable(url: &str, asked: Option<&str>) -> String {
    for wildcard in ["://0.0.0.0", "://[::]"] {
        let Some((scheme, rest)) = url.split_once(wildcard) else { continue };
        if let Some(host) = asked.map(host_alone).filter(|host| is_host(host)) {
            return format!("{scheme}://{host}{rest}");
        }
    }
    url.to_owned()
}

fn host_alone(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.get(..colon).unwrap_or_default(),
        _ => authority,
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_store::ports::NodeRun;

    fn node(name: &str, sessions: u64, version: &str, open: bool) -> Node {
        let run = NodeRun { node: name.to_owned(), boot: 1 };
        let (peer, ws, version) = (String::new(), format!("wss://{name}/v1/ws"), version.to_owned());
        Node { run, peer, ws, version, sessions, open, healthy: true }
    }

    #[test]
    fn nodes_are_ranked_by_version_and_load_and_closed_ones_left_out() {
        let nodes = || {
            let list = [("c", 5, "2", true), ("a", 9, "1", true), ("b", 9, "1", true), ("d", 0, "1", false)];
            list.map(|(name, sessions, version, open)| node(name, sessions, version, open)).to_vec()
        };
        let check = |version, expected: [&str; 3]| {
            let found: Vec<String> = ranked(nodes(), version).into_iter().map(|place| place.ws).collect();
            assert_eq!(found, expected.map(|name| format!("wss://{name}/v1/ws")), "{version:?}");
        };
        check(None, ["c", "a", "b"]);
        check(Some("1"), ["a", "b", "c"]);
        check(Some("2"), ["c", "a", "b"]);
        check(Some("3"), ["c", "a", "b"]);
        let full = ranked(vec![node("a", u64::MAX, "1", true)], None);
        assert_eq!(full[0], Place { ws: "wss://a/v1/ws".into(), load: 1.0, version: Some("1".into()) });
        assert_eq!(ranked(vec![node("a", 1, "1", true); NODES_TOLD_MAX + 1], None).len(), NODES_TOLD_MAX);
        // Not even for the version asked for.
        let ill = Node { healthy: false, ..node("b", 0, "2", true) };
        assert_eq!(ranked(vec![node("a", 9, "1", true), ill], Some("2")).len(), 1);
    }

    #[test]
    fn a_wildcard_becomes_the_host_asked_for() {
        let check = |url, asked, expected: &str| assert_eq!(reachable(url, asked), expected, "{asked:?}");
        check("ws://0.0.0.0:7400/v1/ws", Some("chat.example:7480"), "ws://chat.example:7400/v1/ws");
        check("ws://[::]:7400/v1/ws", Some("[fd00::1]:7480"), "ws://[fd00::1]:7400/v1/ws");
        check("ws://[::]:7400/v1/ws", Some("[fd00::1]"), "ws://[fd00::1]:7400/v1/ws");
        check("ws://0.0.0.0:7400/v1/ws", Some("evil/x?@"), "ws://0.0.0.0:7400/v1/ws");
        check("ws://0.0.0.0:7400/v1/ws", None, "ws://0.0.0.0:7400/v1/ws");
        check("wss://im.example/v1/ws", Some("other"), "wss://im.example/v1/ws");
    }
}
