//! The port to all gateways, for the persist daemon and the API.
//!
//! A task of its own reads the list of nodes every second and keeps a link to each; another sees to it that a node
//! which may have missed a signal reads anew what it caches. So a signal is done once every node has applied it or
//! is owed that: a node that is away or hangs holds nobody up for long, and misses nothing.
//!
//! Dropped futures: a signal may have reached some nodes and not others. Whoever dropped it tells it again; signals
//! are idempotent. A server message may be taken all the same; its client message id makes the repeat harmless.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::join_all;
use ringway_engine::ids::{ConversationId, Uid};
use ringway_engine::packet::schema::Sent;
use ringway_store::ports::{
    Gateways, Node, NodeRun, Nudge, Nudges, Routes, ServerMessage, Signal, StoreError, SubmitError,
};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::counters::add;
use crate::debts::Debts;
use crate::error::PeerError;
use crate::link::stopped;
use crate::links::PeerLinks;
use crate::sync::lock;
use crate::trace;
use crate::words::{Ask, Reply, Word};

/// How often the list of nodes is read.
const NODES_EVERY: Duration = Duration::from_secs(1);
/// Time for the store to tell the nodes. Past it the last list stays.
const NODES_LIMIT: Duration = Duration::from_secs(3);
/// Time for a node to apply a signal. Past it the node is owed a resync.
const SIGNAL_LIMIT: Duration = Duration::from_millis(1_500);
/// Time for a node to read anew what it caches. Past it the node is asked again.
const RESYNC_LIMIT: Duration = Duration::from_secs(10);
/// How often it is looked whether a resync is to be asked again; news of any kind are looked at without waiting.
const RESYNC_EVERY: Duration = Duration::from_millis(500);
/// Time for a node to take a server message. Past it another node is asked.
const SUBMIT_LIMIT: Duration = Duration::from_secs(5);
/// Nodes that one server message is tried on. Past it the answer is `Temporary`.
const SUBMIT_TRIES: usize = 3;
/// Time for a node to look something up. Past it the answer goes without the node's part.
const LOOK_LIMIT: Duration = Duration::from_millis(1_500);

/// All gateways. Dropping it ends its tasks; the links stay with whoever shares them.
pub struct RemoteGateways {
    inner: Arc<Inner>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    links: Arc<PeerLinks>,
    routes: Arc<dyn Routes>,
    /// What the nodes said of themselves last; `None` until the list has been read once.
    nodes: Mutex<Option<HashMap<NodeRun, Node>>>,
    debts: Mutex<Debts>,
    /// There is a new debt.
    owed: Notify,
    /// Counts up with each answer to a resync.
    answers: watch::Sender<u64>,
}

impl RemoteGateways {
    /// Begins to follow the list of nodes. From here on the links are this one's to set.
    ///
    /// # Panics
    /// Outside of a tokio runtime, on which its tasks will run.
    #[must_use]
    pub fn start(links: Arc<PeerLinks>, routes: Arc<dyn Routes>) -> Self {
        let inner = Arc::new(Inner {
            links,
            routes,
            nodes: Mutex::new(None),
            debts: Mutex::default(),
            owed: Notify::new(),
            answers: watch::Sender::new(0),
        });
        let (stop, mut stopping) = watch::channel(false);
        let running = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            tokio::select! {
                () = running.follow() => {}
                () = Arc::clone(&running).pay() => {}
                () = stopped(&mut stopping) => {}
            }
        });
        Self { inner, stop, task: Mutex::new(Some(task)) }
    }

    /// Lets every node read anew what it caches. What a process owed when it died is owed by nobody until it starts
    /// again; so whoever takes over telling signals from another process begins with this.
    pub fn resync_all(&self) {
        {
            let mut debts = lock(&self.inner.debts);
            let runs = self.inner.links.runs();
            debts.see(&runs);
            for run in &runs {
                // A run that is gone is not among them.
                let _ = debts.owe(run);
            }
        }
        self.inner.owed.notify_one();
    }

    /// Ends its tasks. The links are closed by whoever made them.
    pub async fn close(&self) {
        self.stop.send_replace(true);
        let task = lock(&self.task).take();
        if let Some(Err(error)) = match task {
            Some(task) => Some(task.await),
            None => None,
        } {
            tracing::error!(%error, "the task that follows the nodes failed");
        }
    }
}

impl Inner {
    /// Keeps up with the list of nodes. Never ends.
    async fn follow(&self) {
        let mut ticks = interval(NODES_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            ticks.tick().await;
            let why = match timeout(NODES_LIMIT, self.routes.nodes()).await {
                Ok(Ok(nodes)) => {
                    self.set_nodes(nodes);
                    failing = false;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            if !std::mem::replace(&mut failing, true) {
                tracing::warn!(why, "the list of nodes cannot be read: the last one stays");
            }
        }
    }

    fn set_nodes(&self, list: Vec<Node>) {
        self.links.set_nodes(&list);
        let runs = self.links.runs();
        {
            let mut nodes = lock(&self.nodes);
            let nodes = nodes.get_or_insert_default();
            // One that has left the list and is still linked stays as it was.
            nodes.retain(|run, _| runs.binary_search(run).is_ok());
            nodes.extend(list.into_iter().map(|node| (node.run.clone(), node)));
        }
        lock(&self.debts).see(&runs);
        self.owed.notify_one();
    }

    /// Asks for resyncs that are owed, as soon as there is a link to ask on. Never ends.
    async fn pay(self: Arc<Self>) {
        let mut ticks = interval(RESYNC_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changes = self.links.changes();
        let mut answers = self.answers.subscribe();
        let mut asking = JoinSet::new();
        loop {
            let due = lock(&self.debts).due(Instant::now(), |run| self.links.linked(run));
            for (run, number) in due {
                asking.spawn(Arc::clone(&self).resync(run, number));
            }
            while asking.try_join_next().is_some() {}
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.owed.notified() => {}
                // Neither sender goes away before this does.
                _ = changes.changed() => {}
                _ = answers.changed() => {}
            }
        }
    }

    async fn resync(self: Arc<Self>, run: NodeRun, number: u64) {
        let answer = self.links.ask(&run, Ask::Resync, RESYNC_LIMIT).await;
        let done = answer == Ok(Reply::Done);
        let counters = self.links.counters();
        if done {
            add(&counters.resyncs, 1);
        } else {
            add(&counters.resyncs_failed, 1);
            tracing::warn!(node = run.node, boot = run.boot, why = failure(&answer), "a node has not resynced yet");
        }
        lock(&self.debts).answered(&run, number, done, Instant::now());
        self.answers.send_modify(|count| *count += 1);
    }

    /// Returns once the node has applied the signal, or is owed a resync.
    async fn tell(&self, run: &NodeRun, signal: &Signal) {
        let owed = {
            let mut debts = lock(&self.debts);
            let waits = debts.owes(run) || !self.links.linked(run);
            waits.then(|| debts.owe(run))
        };
        match owed {
            None => {
                let answer = self.links.ask(run, Ask::Signal(signal.clone()), SIGNAL_LIMIT).await;
                if answer != Ok(Reply::Done) {
                    let why = failure(&answer);
                    tracing::warn!(node = run.node, boot = run.boot, why, "a signal is not applied: resync is owed");
                    lock(&self.debts).fail(run, Instant::now());
                    self.owed.notify_one();
                }
            }
            Some(Some((number, true))) if self.links.linked(run) => {
                self.owed.notify_one();
                let mut answers = self.answers.subscribe();
                let paid = answers.wait_for(|_| lock(&self.debts).is_paid(run, number));
                // Past the time it stays owed.
                let _ = timeout(SIGNAL_LIMIT, paid).await;
            }
            // Away, or failing: owed. Gone: nothing left to tell.
            Some(_) => self.owed.notify_one(),
        }
    }

    /// Nodes that take messages, those of a conversation in the same order every time: what it holds of it is warm.
    fn open_nodes(&self, conv: &str) -> Vec<NodeRun> {
        let nodes = lock(&self.nodes);
        let open = nodes.iter().flat_map(HashMap::values).filter(|node| node.open && self.links.linked(&node.run));
        let mut runs: Vec<NodeRun> = open.map(|node| node.run.clone()).collect();
        runs.sort();
        let hash = ConversationId::parse(conv).map_or(0, |conv| conv.stable_hash());
        let first = (hash % runs.len().max(1) as u64) as usize;
        runs.rotate_left(first);
        runs
    }

    /// What each node answers, with its name.
    async fn ask_all(&self, ask: Ask) -> Vec<(String, Reply)> {
        let runs: Vec<NodeRun> = self.links.runs().into_iter().filter(|run| self.links.linked(run)).collect();
        let asks = runs.iter().map(|run| self.links.ask(run, ask.clone(), LOOK_LIMIT));
        let answers = join_all(asks).await;
        let named = runs.into_iter().zip(answers).filter_map(|(run, answer)| match answer {
            Ok(reply) => Some((run.node, reply)),
            Err(why) => {
                tracing::warn!(node = run.node, %why, "a node has not answered");
                None
            }
        });
        named.collect()
    }
}

/// Why an answer is not the one hoped for.
fn failure(answer: &Result<Reply, PeerError>) -> String {
    match answer {
        Ok(Reply::Temporary(why) | Reply::Refused(why)) => why.clone(),
        Ok(_) => "the answer is to something else".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[async_trait]
impl Gateways for RemoteGateways {
    async fn submit(&self, message: ServerMessage) -> Result<Sent, SubmitError> {
        let links = &self.inner.links;
        let mut why = "no gateway is open".to_owned();
        for run in self.inner.open_nodes(&message.conv).into_iter().take(SUBMIT_TRIES) {
            let answer = links.ask(&run, Ask::Submit(message.clone()), SUBMIT_LIMIT).await;
            match answer {
                Ok(Reply::Sent(sent)) => return Ok(sent),
                Ok(Reply::Refused(why)) => return Err(SubmitError::Refused(why)),
                other => why = format!("{}: {}", run.node, failure(&other)),
            }
        }
        Err(SubmitError::Temporary(why))
    }

    async fn signal(&self, signal: Signal) -> Result<(), SubmitError> {
        if lock(&self.inner.nodes).is_none() {
            return Err(SubmitError::Temporary("the nodes are not known yet".to_owned()));
        }
        let runs = self.inner.links.runs();
        if self.inner.links.is_closed() {
            return Err(SubmitError::Temporary("the links to the nodes are closed".to_owned()));
        }
        lock(&self.inner.debts).see(&runs);
        join_all(runs.iter().map(|run| self.inner.tell(run, &signal))).await;
        Ok(())
    }

    async fn trace(&self, msg_id: u64) -> String {
        let answers = self.inner.ask_all(Ask::Trace(msg_id)).await;
        trace::merge(answers.into_iter().filter_map(|(node, reply)| match reply {
            Reply::Trace(json) => Some((node, json)),
            _ => None,
        }))
    }

    fn metrics(&self) -> String {
        self.inner.links.counters().text()
    }

    fn ready(&self) -> bool {
        let nodes = lock(&self.inner.nodes);
        nodes.iter().flat_map(HashMap::values).any(|node| node.open && self.inner.links.linked(&node.run))
    }

    async fn online(&self, uids: &[Uid]) -> Vec<Uid> {
        let ask = Ask::Online(uids.iter().map(|uid| uid.as_str().to_owned()).collect());
        let answers = self.inner.ask_all(ask).await;
        let mut online: Vec<Uid> = Vec::new();
        for (_, reply) in answers {
            if let Reply::Online(found) = reply {
                online.extend(found.iter().filter_map(|uid| Uid::parse(uid).ok()));
            }
        }
        online.sort();
        online.dedup();
        online
    }
}

#[async_trait]
impl Nudges for RemoteGateways {
    async fn nudge(&self, nudge: &Nudge) -> Result<usize, StoreError> {
        // Whoever holds a session of the user holds somebody who is to see what the server says to the user.
        let theirs = ConversationId::parse(&format!("sys:{}", nudge.uid));
        let theirs = theirs.map_err(|error| StoreError::new("routes", error))?;
        let runs = self.inner.routes.holders(&[&theirs]).await?.pop().unwrap_or_default();
        let (uid, conv) = (nudge.uid.as_str().to_owned(), nudge.conv.as_str().to_owned());
        let word = Word::Nudge { uid, conv, epoch: nudge.epoch, head: nudge.seq };
        Ok(self.inner.links.say_all(&runs, &word))
    }
}
