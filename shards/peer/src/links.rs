//! All links of a process: which nodes there are, and how to reach each.
//!
//! A link belongs to a run of a node. A run that is in the list is tried for as long as it is there; one that has
//! left the list keeps its link while that stands, because a node that answers lives, whatever an emptied store says.
//! A later run of the same name ends the link of an earlier one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ringway_store::ports::{Node, NodeRun};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::body::Body;
use crate::counters::{LinkCounters, add};
use crate::error::PeerError;
use crate::key::PeerKey;
use crate::limits::PeerLimits;
use crate::link::{Link, Shared};
use crate::queue::Outgoing;
use crate::sync::lock;
use crate::words::{Ask, Reply, Word};

/// Links to other nodes. Shared by whoever says or asks; every call but `ask` and `close` returns at once.
/// Dropping it ends all links as [`PeerLinks::close`] does, unawaited.
#[derive(Debug)]
pub struct PeerLinks {
    shared: Arc<Shared>,
    table: Mutex<Table>,
    runtime: Handle,
}

#[derive(Debug, Default)]
struct Table {
    links: HashMap<NodeRun, Entry>,
    closed: bool,
}

/// A link and the end of its task: dropping the entry stops it.
#[derive(Debug)]
struct Entry {
    link: Arc<Link>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl PeerLinks {
    /// No link yet. `identity` is this process's own run, by which nodes know it; its name must be one that a node
    /// can have.
    ///
    /// # Panics
    /// Outside of a tokio runtime, on which the links will run.
    #[must_use]
    pub fn new(identity: NodeRun, key: PeerKey, limits: PeerLimits) -> Self {
        Self::start(identity, key, limits, None)
    }

    /// As [`PeerLinks::new`]; and each link says [`Word::Missed`] when it begins to stand, because nobody knows what
    /// was said to the node before, and again after words that found its queue full.
    ///
    /// # Panics
    /// As [`PeerLinks::new`].
    #[must_use]
    pub fn with_amends(identity: NodeRun, key: PeerKey, limits: PeerLimits) -> Self {
        let missed = Body::from(&Word::Missed);
        let amends = Outgoing { kind: missed.kind(), request: 0, body: Bytes::from_owner(missed.encode()) };
        Self::start(identity, key, limits, Some(amends))
    }

    fn start(identity: NodeRun, key: PeerKey, limits: PeerLimits, amends: Option<Outgoing>) -> Self {
        let counters = LinkCounters::default();
        let shared = Shared { identity, key, limits, counters, amends, changes: watch::Sender::new(0) };
        Self { shared: Arc::new(shared), table: Mutex::default(), runtime: Handle::current() }
    }

    /// Takes over the list of nodes that live: opens links to new ones, lets go of those that are gone. This process
    /// itself may be among them. Cheap when nothing has changed.
    pub fn set_nodes(&self, nodes: &[Node]) {
        let mut table = lock(&self.table);
        if table.closed {
            return;
        }
        let others = || nodes.iter().filter(|node| node.run.node != self.shared.identity.node);
        let listed: HashSet<&NodeRun> = others().map(|node| &node.run).collect();
        let names: HashSet<&str> = others().map(|node| &*node.run.node).collect();
        table.links.retain(|run, entry| {
            let is_listed = listed.contains(run);
            entry.link.listed.store(is_listed, Relaxed);
            is_listed || (!names.contains(&*run.node) && entry.link.open().is_some())
        });
        for node in others() {
            let moved = table.links.get(&node.run).is_some_and(|entry| entry.link.address != node.peer);
            // A link that ended while its node was not listed begins anew.
            let over = table.links.get(&node.run).is_some_and(|entry| entry.task.is_finished());
            if moved || over || !table.links.contains_key(&node.run) {
                table.links.insert(node.run.clone(), self.begin(node));
            }
        }
    }

    fn begin(&self, node: &Node) -> Entry {
        let link = Arc::new(Link::new(node.run.clone(), node.peer.clone()));
        let (stop, stopped) = watch::channel(false);
        let task = self.runtime.spawn(Arc::clone(&link).run(Arc::clone(&self.shared), stopped));
        Entry { link, stop, task }
    }

    /// Says a word to a node. False if there is no link to this run, its queue is full, or the word is too long: it
    /// is dropped and counted then. Words to one node arrive in the order said, while its link stands.
    pub fn say(&self, run: &NodeRun, word: Word) -> bool {
        self.say_all(std::slice::from_ref(run), &word) == 1
    }

    /// Says a word to several nodes, encoded once. Answers how many have it queued.
    pub fn say_all(&self, runs: &[NodeRun], word: &Word) -> usize {
        let body = Body::from(word);
        let (kind, body) = (body.kind(), Bytes::from_owner(body.encode()));
        let fits = body.len() <= self.shared.limits.frame_bytes_max;
        if !fits {
            tracing::error!(kind, bytes = body.len(), "a word is too long for a frame: dropped");
        }
        let said = runs.iter().filter(|run| {
            let open = self.link(run).and_then(|link| link.open());
            let frame = Outgoing { kind, request: 0, body: body.clone() };
            fits && open.is_some_and(|open| open.queue.push_word(frame).is_ok())
        });
        let said = said.count();
        add(&self.shared.counters.words, said as u64);
        add(&self.shared.counters.words_dropped, (runs.len() - said) as u64);
        said
    }

    /// Asks a node and waits for its answer. Dropping the future gives up the answer; the node may act all the same.
    ///
    /// # Errors
    /// See [`PeerError`].
    pub async fn ask(&self, run: &NodeRun, ask: Ask, limit: Duration) -> Result<Reply, PeerError> {
        let answer = self.answer(run, ask, limit).await;
        add(&self.shared.counters.asks, 1);
        if answer.is_err() {
            add(&self.shared.counters.asks_failed, 1);
        }
        answer
    }

    async fn answer(&self, run: &NodeRun, ask: Ask, limit: Duration) -> Result<Reply, PeerError> {
        let open = self.link(run).and_then(|link| link.open()).ok_or(PeerError::NoLink)?;
        let body = Body::from(ask);
        let (kind, body) = (body.kind(), Bytes::from_owner(body.encode()));
        if body.len() > self.shared.limits.frame_bytes_max {
            return Err(PeerError::TooLong);
        }
        timeout(limit, open.ask(kind, body)?.answer()).await.unwrap_or(Err(PeerError::TimedOut))
    }

    /// Whether the link to this run stands.
    #[must_use]
    pub fn linked(&self, run: &NodeRun) -> bool {
        self.link(run).is_some_and(|link| link.open().is_some())
    }

    /// The runs that are in the list, or that have left it and are still linked; by name.
    #[must_use]
    pub fn runs(&self) -> Vec<NodeRun> {
        let table = lock(&self.table);
        let held = table.links.iter().filter(|(_, entry)| {
            // One that has left the list is let go of when its link breaks, not only at the next list.
            entry.link.listed.load(Relaxed) || entry.link.open().is_some()
        });
        let mut runs: Vec<NodeRun> = held.map(|(run, _)| run.clone()).collect();
        runs.sort();
        runs
    }

    /// Whether the links have been closed: that there is no run then says nothing of the nodes.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.table).closed
    }

    /// Changes whenever a link begins or ceases to stand.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// What all links count.
    #[must_use]
    pub fn counters(&self) -> &LinkCounters {
        &self.shared.counters
    }

    /// Ends all links; what is queued goes out, within [`PeerLimits::close_ms`]. Nothing can be said after.
    pub async fn close(&self) {
        let entries: Vec<Entry> = {
            let mut table = lock(&self.table);
            table.closed = true;
            table.links.drain().map(|(_, entry)| entry).collect()
        };
        for entry in &entries {
            entry.stop.send_replace(true);
        }
        for entry in entries {
            if let Err(error) = entry.task.await {
                tracing::error!(%error, "the task of a peer link failed");
            }
        }
    }

    fn link(&self, run: &NodeRun) -> Option<Arc<Link>> {
        lock(&self.table).links.get(run).map(|entry| Arc::clone(&entry.link))
    }
}
