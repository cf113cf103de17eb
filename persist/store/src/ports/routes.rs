//! Routes: which node holds which user, and which nodes are there. Soft state: all of it runs out by itself, and is
//! put back by the nodes that live, so that an emptied store is whole again after one renewal.
//!
//! ```text
//!   connect ──enter──► entry (uid, device) ──renew, every third of its time──► stays
//!                        │
//!                        ├── leave, by the same node, boot and session ──► gone
//!                        ├── enter of the device elsewhere ──► replaced, and told to whoever entered
//!                        └── not renewed ──► runs out
//! ```
//!
//! An entry is fenced: only its own (node, boot, session) renews or removes it, so a node that comes back from a
//! pause cannot take away what a later session has entered. Times are those of the store's server.

use async_trait::async_trait;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};

use super::StoreError;

/// A run of a node: what is left of an earlier run is not this one's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRun {
    /// The node's name, `[a-z0-9-]{1,32}`.
    pub node: String,
    /// Drawn anew at each start.
    pub boot: u64,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Which run of which node.
    pub run: NodeRun,
    /// Where peers and the daemon reach it, `host:port`.
    pub peer: String,
    /// Where clients reach it, a `ws://` or `wss://` URL.
    pub ws: String,
    /// What it runs, as `/v1/locate` may be asked for.
    pub version: String,
    /// Sessions it holds.
    pub sessions: u64,
    /// Whether it takes new sessions: false while it drains or is not ready.
    pub open: bool,
    /// Whether it has all that it stands on and messages get through it. One that has not said so for a while is not:
    /// it died, or is cut off from the store.
    pub healthy: bool,
}

impl Node {
    /// Those of `nodes` that people are best sent to: the open and healthy ones. While none is healthy, all that are
    /// open: what they all lack is no better elsewhere, and they serve as far as they can.
    #[must_use]
    pub fn preferred(mut nodes: Vec<Self>) -> Vec<Self> {
        nodes.retain(|node| node.open);
        if nodes.iter().any(|node| node.healthy) {
            nodes.retain(|node| node.healthy);
        }
        nodes
    }
}

/// A session of a user's device on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// User.
    pub uid: Uid,
    /// Device; a user has one route a device.
    pub device: DeviceId,
    /// The node that holds it.
    pub run: NodeRun,
    /// Number of the session within the node's run.
    pub session: u64,
    /// The device's platform class, in the words of the engine.
    pub class: String,
    /// When it was opened, Unix milliseconds of the node.
    pub opened_ms: u64,
}

/// Routes and nodes.
#[async_trait]
pub trait Routes: Send + Sync {
    /// Enters a session for `ttl_ms`. Answers the user's other routes, the one that it has replaced among them.
    ///
    /// # Errors
    /// The store could not answer; the entry may be there.
    async fn enter(&self, route: &Route, ttl_ms: u64) -> Result<Vec<Route>, StoreError>;

    /// Lets entries stay for another `ttl_ms`, and puts back those that are missing. A device that has been entered by
    /// another session meanwhile is left to it.
    ///
    /// # Errors
    /// The store could not answer; the same call may be repeated.
    async fn renew(&self, routes: &[Route], ttl_ms: u64) -> Result<(), StoreError>;

    /// Removes entries that are still those of these sessions.
    ///
    /// # Errors
    /// The store could not answer; they run out.
    async fn leave(&self, routes: &[Route]) -> Result<(), StoreError>;

    /// Says, for `ttl_ms`, that this run holds members of these groups.
    ///
    /// # Errors
    /// The store could not answer; the same call may be repeated.
    async fn seat(&self, run: &NodeRun, groups: &[ConversationId], ttl_ms: u64) -> Result<(), StoreError>;

    /// Says that it does no more.
    ///
    /// # Errors
    /// The store could not answer; it runs out.
    async fn unseat(&self, run: &NodeRun, groups: &[ConversationId]) -> Result<(), StoreError>;

    /// For each conversation, in the order asked: the runs that hold somebody who is to see it, each once, by name.
    /// Sees whatever was entered or seated before the call.
    ///
    /// # Errors
    /// The store could not answer.
    async fn holders(&self, convs: &[&ConversationId]) -> Result<Vec<Vec<NodeRun>>, StoreError>;

    /// Says, for `ttl_ms`, that a node lives, and for `healthy_ms` that it is healthy, if it is. A later run of the same
    /// name takes its place.
    ///
    /// # Errors
    /// The store could not answer; the same call may be repeated.
    async fn renew_node(&self, node: &Node, ttl_ms: u64, healthy_ms: u64) -> Result<(), StoreError>;

    /// Says that this run has ended.
    ///
    /// # Errors
    /// The store could not answer; it runs out.
    async fn leave_node(&self, run: &NodeRun) -> Result<(), StoreError>;

    /// The nodes that live, by name.
    ///
    /// # Errors
    /// The store could not answer.
    async fn nodes(&self) -> Result<Vec<Node>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_sent_to_healthy_nodes_while_there_is_one() {
        let node = |name: &str, open, healthy| Node {
            run: NodeRun { node: name.to_owned(), boot: 1 },
            peer: String::new(),
            ws: String::new(),
            version: String::new(),
            sessions: 0,
            open,
            healthy,
        };
        let check = |nodes: &[(&str, bool, bool)], expected: &[&str]| {
            let nodes = nodes.iter().map(|(name, open, healthy)| node(name, *open, *healthy)).collect();
            let names: Vec<String> = Node::preferred(nodes).into_iter().map(|node| node.run.node).collect();
            assert_eq!(names, expected);
        };
        check(&[("a", true, true), ("b", true, false), ("c", false, true), ("d", true, true)], &["a", "d"]);
        check(&[("a", true, false), ("b", true, false), ("c", false, true), ("d", false, false)], &["a", "b"]);
        check(&[("a", false, true)], &[]);
    }
}
