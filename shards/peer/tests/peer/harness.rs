//! What the tests share: a node that writes down what it hears, links to it, and waiting with a deadline.

use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ringway_engine::event::MessageEvent;
use ringway_engine::packet::schema::Sent;
use ringway_peer::{Ask, Deliver, DeliverItem, PeerHandler, PeerKey, PeerLimits, PeerLinks, PeerServer, Reply, Word};
use ringway_store::ports::{Node, NodeRun, ServerMessage};
use tokio::sync::watch;

pub(crate) const KEY: [u8; 32] = [7; 32];
/// Far above what anything takes; a failing test fails here.
const DEADLINE: Duration = Duration::from_secs(15);

pub(crate) fn key() -> PeerKey {
    PeerKey::from_bytes(&KEY).unwrap()
}

pub(crate) fn run(node: &str, boot: u64) -> NodeRun {
    NodeRun { node: node.into(), boot }
}

/// The defaults with short rests, so that links come back soon.
pub(crate) fn limits() -> PeerLimits {
    PeerLimits { rest_min_ms: 5, rest_max_ms: 50, ..PeerLimits::DEFAULT }
}

/// Polls until it holds.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < DEADLINE, "{caller}: {what}: not in time");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub(crate) fn count(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

/// Writes down what it hears and what it is asked. Answers as told.
pub(crate) struct Recorder {
    pub(crate) words: Mutex<Vec<Word>>,
    pub(crate) asks: Mutex<Vec<Ask>>,
    /// What signals, resyncs and submits are answered.
    pub(crate) mood: watch::Sender<Mood>,
    pub(crate) answered: AtomicU64,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Mood {
    Willing,
    /// Waits until the mood changes.
    Hanging,
    Temporary,
    Refusing,
}

impl Recorder {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            words: Mutex::default(),
            asks: Mutex::default(),
            mood: watch::Sender::new(Mood::Willing),
            answered: AtomicU64::new(0),
        })
    }

    pub(crate) fn words(&self) -> Vec<Word> {
        self.words.lock().unwrap().clone()
    }

    pub(crate) fn asks(&self) -> Vec<Ask> {
        self.asks.lock().unwrap().clone()
    }

    /// Heads of the nudges heard.
    pub(crate) fn heads(&self) -> Vec<u64> {
        let words = self.words.lock().unwrap();
        words.iter().filter_map(|word| if let Word::Nudge { head, .. } = word { Some(*head) } else { None }).collect()
    }
}

#[async_trait]
impl PeerHandler for Recorder {
    fn hear(&self, _from: &NodeRun, word: Word) {
        self.words.lock().unwrap().push(word);
    }

    async fn answer(&self, from: &NodeRun, ask: Ask) -> Reply {
        self.asks.lock().unwrap().push(ask.clone());
        if matches!(ask, Ask::Signal(_) | Ask::Resync | Ask::Submit(_)) {
            let mut mood = self.mood.subscribe();
            let mood = *mood.wait_for(|mood| *mood != Mood::Hanging).await.unwrap();
            match mood {
                Mood::Temporary => return Reply::Temporary("busy".into()),
                Mood::Refusing => return Reply::Refused("no".into()),
                Mood::Willing | Mood::Hanging => {}
            }
        }
        self.answered.fetch_add(1, Relaxed);
        match ask {
            Ask::Submit(message) => Reply::Sent(sent(&message)),
            Ask::Trace(msg_id) => Reply::Trace(format!(r#"[{{"at_us":{msg_id},"station":"sent"}}]"#)),
            Ask::Online(uids) => Reply::Online(uids.into_iter().filter(|uid| from.node.starts_with(uid)).collect()),
            _ => Reply::Done,
        }
    }
}

pub(crate) fn sent(message: &ServerMessage) -> Sent {
    Sent { conv: message.conv.clone(), msg_id: 5, epoch: 1, seq: 2, ts: 3 }
}

/// A node's server with its recorder.
pub(crate) struct Listening {
    pub(crate) server: PeerServer,
    pub(crate) heard: Arc<Recorder>,
    pub(crate) run: NodeRun,
}

impl Listening {
    pub(crate) fn start(run: NodeRun, limits: PeerLimits) -> Self {
        Self::start_at(run, limits, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    pub(crate) fn start_at(run: NodeRun, limits: PeerLimits, address: SocketAddr) -> Self {
        let heard = Recorder::new();
        let listener = TcpListener::bind(address).unwrap();
        let handler = Arc::clone(&heard) as Arc<dyn PeerHandler>;
        let server = PeerServer::start(listener, run.clone(), key(), limits, handler).unwrap();
        Self { server, heard, run }
    }

    pub(crate) fn node(&self) -> Node {
        node(&self.run, self.server.address())
    }
}

pub(crate) fn node(run: &NodeRun, address: SocketAddr) -> Node {
    Node {
        run: run.clone(),
        peer: address.to_string(),
        ws: "ws://localhost/v1/ws".into(),
        version: "1".into(),
        sessions: 0,
        open: true,
        healthy: true,
    }
}

/// Links of a process named `daemon-1` to these nodes, once all of them stand.
pub(crate) async fn linked(nodes: &[Node], limits: PeerLimits) -> PeerLinks {
    let links = PeerLinks::new(run("daemon-1", 1), key(), limits);
    links.set_nodes(nodes);
    for node in nodes {
        until("a link", || links.linked(&node.run)).await;
    }
    links
}

/// The link answers.
pub(crate) async fn check_alive(links: &PeerLinks, run: &NodeRun) {
    until("a link", || links.linked(run)).await;
    let answer = links.ask(run, Ask::Trace(4), Duration::from_secs(10)).await;
    assert_eq!(answer, Ok(Reply::Trace(r#"[{"at_us":4,"station":"sent"}]"#.into())));
}

/// A word with a number to tell it by.
pub(crate) fn nudge(head: u64) -> Word {
    Word::Nudge { uid: "a".into(), conv: "p2p:a:b".into(), epoch: 1, head }
}

/// A batch of messages.
pub(crate) fn deliver(first_seq: u64, count: u64, body: &str) -> Word {
    let conv = "group:g".to_owned();
    let items = (first_seq..first_seq + count).map(|seq| {
        let event = MessageEvent {
            conv: conv.as_str().into(),
            msg_id: 1_000 + seq,
            from: "a".into(),
            client_msg_id: format!("c-{seq}").into(),
            kind: "text".into(),
            body: body.into(),
            enc: "".into(),
            ts_ms: seq,
        };
        DeliverItem { seq, event }
    });
    Word::Deliver(Deliver { conv: conv.clone(), epoch: 3, items: items.collect() })
}
