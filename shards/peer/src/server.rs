//! The listening end: accepts peers, keeps strangers out, gives what peers say to a handler.
//!
//! A connection counts as a stranger until it has proved itself. Strangers have a place each in a short queue: a new
//! one pushes the oldest out when it is full, so that those who stay silent do not keep peers out.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ringway_store::ports::NodeRun;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::connection;
use crate::counters::{ServerCounters, add, sub};
use crate::error::ConnectionError;
use crate::greet;
use crate::hello::is_node_name;
use crate::key::PeerKey;
use crate::limits::PeerLimits;
use crate::link::stopped;
use crate::quiet::Quiet;
use crate::sync::lock;
use crate::words::{Ask, Reply, Word};

/// A rest after the system refused to accept (out of descriptors): trying at once would only burn the processor.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What a node does with what peers say.
#[async_trait]
pub trait PeerHandler: Send + Sync + 'static {
    /// A peer has proved itself, and will say and ask from now on. It may be new to this node.
    fn meet(&self, _peer: &NodeRun) {}

    /// A word, in the order said on its link. It must not block: nothing else of that link is heard meanwhile.
    fn hear(&self, from: &NodeRun, word: Word);

    /// Answers an ask; never [`Ask::Ping`]. Past [`PeerLimits::answer_ms`], or when the connection ends, the future
    /// is dropped; but a signal or resync that has begun is let finish when the connection ends.
    async fn answer(&self, from: &NodeRun, ask: Ask) -> Reply;
}

/// What the connections of a server share.
pub(crate) struct Served {
    pub(crate) identity: NodeRun,
    pub(crate) key: PeerKey,
    pub(crate) limits: PeerLimits,
    pub(crate) handler: Arc<dyn PeerHandler>,
    pub(crate) counters: Arc<ServerCounters>,
    pub(crate) quiet: Quiet,
    pub(crate) turns: Turns,
    strangers: Mutex<VecDeque<(u64, oneshot::Sender<()>)>>,
    proved: AtomicUsize,
}

/// A server that listens. Dropping it ends it as [`PeerServer::close`] does, unawaited.
pub struct PeerServer {
    address: SocketAddr,
    counters: Arc<ServerCounters>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl PeerServer {
    /// Serves on a bound listener. `identity` is the node's own run; links that look for another are told so.
    ///
    /// # Errors
    /// The listener's, or the identity has no name that a node can have.
    ///
    /// # Panics
    /// Outside of a tokio runtime, on which the server will run.
    pub fn start(
        listener: StdListener,
        identity: NodeRun,
        key: PeerKey,
        limits: PeerLimits,
        handler: Arc<dyn PeerHandler>,
    ) -> std::io::Result<Self> {
        if !is_node_name(&identity.node) {
            let message = format!("{:?} is no name of a node", identity.node);
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message));
        }
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let counters = Arc::new(ServerCounters::default());
        let served = Arc::new(Served {
            identity,
            key,
            limits,
            handler,
            counters: Arc::clone(&counters),
            quiet: Quiet::default(),
            turns: Turns::default(),
            strangers: Mutex::default(),
            proved: AtomicUsize::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, served, stopped));
        Ok(Self { address, counters, stop, task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    #[must_use]
    pub fn counters(&self) -> &Arc<ServerCounters> {
        &self.counters
    }

    /// Stops accepting, answers what has been asked within [`PeerLimits::close_ms`], ends every connection. A signal or
    /// resync that has begun is let finish even past that, unanswered.
    pub async fn close(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task of the peer server failed");
        }
    }
}

async fn accept(listener: TcpListener, served: Arc<Served>, mut stop: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, address)) => {
                    number += 1;
                    add(&served.counters.accepted, 1);
                    let pushed_out = served.enter(number);
                    connections.spawn(Arc::clone(&served).connection(number, socket, address, pushed_out, stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a peer connection cannot be accepted");
                    sleep(ACCEPT_REST).await;
                }
            },
            Some(ended) = connections.join_next() => tell_panic(ended),
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        tell_panic(ended);
    }
}

fn tell_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "the task of a peer connection failed");
    }
}

impl Served {
    /// Gives a stranger its place.
    fn enter(&self, number: u64) -> oneshot::Receiver<()> {
        let (push_out, pushed_out) = oneshot::channel();
        let mut strangers = lock(&self.strangers);
        strangers.push_back((number, push_out));
        if strangers.len() > self.limits.greetings_max {
            // Dropped, its end is seen by the connection.
            strangers.pop_front();
        }
        pushed_out
    }

    async fn connection(
        self: Arc<Self>,
        number: u64,
        socket: TcpStream,
        address: SocketAddr,
        pushed_out: oneshot::Receiver<()>,
        mut stop: watch::Receiver<bool>,
    ) {
        let greeting =
            timeout(Duration::from_millis(self.limits.greeting_ms), greet::accept(socket, &self.identity, &self.key));
        let greeted = tokio::select! {
            greeted = greeting => greeted.unwrap_or(Err(ConnectionError::Late("proof"))),
            _ = pushed_out => Err(ConnectionError::TooMany),
            () = stopped(&mut stop) => Err(ConnectionError::Stopped),
        };
        lock(&self.strangers).retain(|(stranger, _)| *stranger != number);
        let placed = greeted.and_then(|greeted| Ok((Place::take(&self).ok_or(ConnectionError::TooMany)?, greeted)));
        let (place, greeted) = match placed {
            Ok(placed) => placed,
            Err(why) => return self.refused(address, &why),
        };
        let (node, boot) = (greeted.peer.node.clone(), greeted.peer.boot);
        tracing::info!(node, boot, %address, version = greeted.version, "a peer is connected");
        self.handler.meet(&greeted.peer);
        let why = connection::serve(greeted, &self, &mut stop).await;
        drop(place);
        if self.count_bad(&why) {
            tracing::warn!(node, boot, %address, %why, "a peer's connection is closed");
        } else {
            tracing::info!(node, boot, %address, %why, "a peer's connection ended");
        }
    }

    fn refused(&self, address: SocketAddr, why: &ConnectionError) {
        add(&self.counters.refused, 1);
        self.count_bad(why);
        if matches!(why, ConnectionError::ClosedEarly | ConnectionError::Stopped) {
            // Whoever looks whether the port is open does this.
            tracing::debug!(%address, %why, "a connection to the peer port ended");
        } else if let Some(held_back) = self.quiet.may_speak(Instant::now()) {
            tracing::warn!(%address, %why, held_back, "a connection to the peer port is refused");
        }
    }

    /// Counts what no sound peer does, and says whether it was that.
    fn count_bad(&self, why: &ConnectionError) -> bool {
        let counter = match why {
            ConnectionError::Proof => &self.counters.wrong_key,
            ConnectionError::Versions { .. } => &self.counters.no_version,
            ConnectionError::Frame(_)
            | ConnectionError::Forged
            | ConnectionError::Misplaced { .. }
            | ConnectionError::Hello => &self.counters.bad_frames,
            _ => return false,
        };
        add(counter, 1);
        true
    }
}

/// One of the places for those who have proved themselves.
struct Place<'a>(&'a Served);

impl<'a> Place<'a> {
    fn take(served: &'a Served) -> Option<Self> {
        let max = served.limits.connections_max;
        let taken = served.proved.fetch_update(Relaxed, Relaxed, |count| (count < max).then_some(count + 1));
        taken.ok().map(|_| {
            add(&served.counters.connections, 1);
            Self(served)
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.proved.fetch_sub(1, Relaxed);
        sub(&self.0.counters.connections, 1);
    }
}

/// Whose turn it is to change something: one lock for each process that does.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// The lock of a process, by its node's name. Names that nobody uses are forgotten.
    pub(crate) fn of(&self, node: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = lock(&self.0);
        turns.retain(|name, turn| name == node || Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(node.to_owned()).or_default())
    }
}
