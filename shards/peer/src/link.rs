//! One link: the task that opens it, holds it, and opens it again.
//!
//! ```text
//!             ┌────────────────────── a rest, longer each time ◄─────────┐
//!             ▼                                                          │ failed, broken
//!        connecting ──► greeting ──► standing: words and asks go out ────┤
//!             │             │            │                               │ no longer in the list
//!             └─────────────┴────────────┴── stopped ──► what is queued  ▼
//!                                                        goes out ─────► over
//! ```
//!
//! Runs on the runtime that made the links. What is queued when a link breaks is lost, and asks fail as `Broken`.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ringway_store::ports::NodeRun;
use rkyv::util::AlignedVec;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::backoff::{self, Backoff};
use crate::body::{Body, align};
use crate::counters::{LinkCounters, add, sub};
use crate::error::{ConnectionError, PeerError};
use crate::frame::{Class, Head, class};
use crate::greet::{self, Greeted};
use crate::key::PeerKey;
use crate::limits::{PeerLimits, STEADY};
use crate::open::Open;
use crate::queue::Outgoing;
use crate::stream::{Session, SessionReader, write_queue};
use crate::sync::lock;
use crate::words::Reply;

/// What all links of a process share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) identity: NodeRun,
    pub(crate) key: PeerKey,
    pub(crate) limits: PeerLimits,
    pub(crate) counters: LinkCounters,
    /// See [`crate::queue`].
    pub(crate) amends: Option<Outgoing>,
    /// Counts up whenever a link begins or ceases to stand.
    pub(crate) changes: watch::Sender<u64>,
}

/// A link as its table and its task see it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) run: NodeRun,
    /// `host:port`.
    pub(crate) address: String,
    /// Whether the node is in the list; one that is not keeps its link for as long as it stands.
    pub(crate) listed: AtomicBool,
    open: Mutex<Option<Arc<Open>>>,
}

impl Link {
    pub(crate) fn new(run: NodeRun, address: String) -> Self {
        Self { run, address, listed: AtomicBool::new(true), open: Mutex::new(None) }
    }

    /// The link while it stands.
    pub(crate) fn open(&self) -> Option<Arc<Open>> {
        lock(&self.open).clone()
    }

    /// Opens and holds the link until it is stopped, or broken and no longer listed.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new(&shared.limits);
        let mut failing = None;
        loop {
            let attempt = tokio::select! {
                attempt = self.connect(&shared) => attempt,
                () = stopped(&mut stop) => return,
            };
            match attempt {
                Ok(greeted) => {
                    failing = None;
                    let began = Instant::now();
                    let why = self.hold(greeted, &shared, &mut stop).await;
                    if matches!(why, ConnectionError::Stopped) {
                        return;
                    }
                    tracing::warn!(node = self.run.node, boot = self.run.boot, %why, "a peer link broke");
                    if began.elapsed() >= STEADY {
                        backoff.reset();
                    }
                }
                Err(why) => {
                    add(&shared.counters.failed, 1);
                    // The same failure over and over is one line.
                    let kind = std::mem::discriminant(&why);
                    if failing.replace(kind) != Some(kind) {
                        tracing::warn!(node = self.run.node, address = self.address, %why, "no peer link");
                    }
                }
            }
            if !self.listed.load(Relaxed) {
                return;
            }
            tokio::select! {
                () = sleep(backoff.rest(backoff::random())) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }

    async fn connect(&self, shared: &Shared) -> Result<Greeted, ConnectionError> {
        let limits = &shared.limits;
        let connecting = timeout(Duration::from_millis(limits.connect_ms), TcpStream::connect(&*self.address));
        let socket = connecting.await.map_err(|_| ConnectionError::Late("connection"))??;
        let greeting = greet::open(socket, &shared.identity, &self.run, &shared.key);
        let greeting = timeout(Duration::from_millis(limits.greeting_ms), greeting);
        greeting.await.map_err(|_| ConnectionError::Late("proof"))?
    }

    /// Until it ends; then nothing of it is left.
    async fn hold(&self, greeted: Greeted, shared: &Shared, stop: &mut watch::Receiver<bool>) -> ConnectionError {
        let Greeted { reader, writer, version, outgoing, incoming, .. } = greeted;
        let limits = shared.limits;
        let session = Session { version, limits };
        let open = Arc::new(Open::new(limits.queue_bytes_max, limits.asks_max, shared.amends.clone()));
        let standing = Standing::begin(self, shared, &open);
        tracing::info!(node = self.run.node, boot = self.run.boot, version, "a peer link stands");
        let mut reader = reader.begin(session, incoming);
        let mut writing =
            std::pin::pin!(write_queue(writer, session, outgoing, &open.queue, shared.counters.written()));
        let mut reading = std::pin::pin!(hear(&mut reader, &open, &shared.counters));
        let why = tokio::select! {
            ended = &mut writing => ended.err().unwrap_or(ConnectionError::Closed),
            why = &mut reading => why,
            () = keep_alive(&open, &limits) => ConnectionError::Closed,
            () = stopped(stop) => ConnectionError::Stopped,
        };
        drop(standing);
        if matches!(why, ConnectionError::Stopped) {
            // What was said goes out. The other end closes once it has read all of it; closing earlier, with its
            // answers unread, could take away what it has not read yet.
            let rest = async { tokio::join!(writing, reading) };
            // Past the time it is lost, as words may be.
            let _ = timeout(Duration::from_millis(limits.close_ms), rest).await;
        }
        why
    }
}

/// While it lives, the link is seen to stand.
struct Standing<'a> {
    link: &'a Link,
    shared: &'a Shared,
    open: &'a Open,
}

impl<'a> Standing<'a> {
    fn begin(link: &'a Link, shared: &'a Shared, open: &'a Arc<Open>) -> Self {
        *lock(&link.open) = Some(Arc::clone(open));
        add(&shared.counters.opened, 1);
        add(&shared.counters.linked, 1);
        shared.changes.send_modify(|count| *count += 1);
        Self { link, shared, open }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        *lock(&self.link.open) = None;
        self.open.end();
        add(&self.shared.counters.broken, 1);
        sub(&self.shared.counters.linked, 1);
        self.shared.changes.send_modify(|count| *count += 1);
    }
}

/// Hands answers on until the connection ends.
async fn hear<R: tokio::io::AsyncRead + Unpin>(
    reader: &mut SessionReader<R>,
    open: &Open,
    counters: &LinkCounters,
) -> ConnectionError {
    let mut scratch = AlignedVec::new();
    loop {
        match reader.next(&counters.bytes_in).await {
            Ok((head, body)) => {
                open.hear();
                match class(head.kind) {
                    Class::Reply => open.answered(head.request, reply(head, &body, &mut scratch)),
                    // One-way words towards the opener are of a later version.
                    Class::Word => {}
                    _ => return ConnectionError::Misplaced { version: head.version, kind: head.kind },
                }
            }
            Err(why) => return why,
        }
    }
}

fn reply(head: Head, body: &Bytes, scratch: &mut AlignedVec) -> Result<Reply, PeerError> {
    Body::decode(head.kind, align(scratch, body)).and_then(Reply::try_from).map_err(|error| {
        tracing::warn!(%error, "a peer's answer is not understood");
        PeerError::NotUnderstood
    })
}

/// Asks for a sign of life whenever nothing came for a while. Never ends.
async fn keep_alive(open: &Open, limits: &PeerLimits) {
    let idle = Duration::from_millis(limits.idle_ms);
    let mut next = open.heard() + idle;
    loop {
        sleep_until(next).await;
        let now = Instant::now();
        let due = open.heard() + idle;
        if due <= now {
            open.ping();
            next = now + idle;
        } else {
            next = due;
        }
    }
}

/// Returns once told to stop, or nobody is left to tell.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone.
    let _ = stop.wait_for(|stop| *stop).await;
}
