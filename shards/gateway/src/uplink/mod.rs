//! The uplink: the one thread of a node that talks to log, shared state and directory for all shards.
//!
//! | File | Noun |
//! |---|---|
//! | `mod` | the thread, its state, its mailbox |
//! | `commit` | batches: durable, then numbered |
//! | `unnumbered` | what is in the log and has no number yet |
//! | `open` | tokens checked, devices put on the map |
//! | `sign_ins` | how many of them at once |
//! | `routes` | who is on which shard, in which group |
//! | `reads` | pages, lists, permissions, read marks |
//! | `canary` | whether messages get through |
//! | `cluster` | this node among others |
//! | `signals` | what the API and the daemon ask: changes, server messages, traces |
//!
//! A tokio current-thread runtime; each request that waits is a task of its own, so a slow store delays
//! only what needs it. State is in one `RefCell`, never held over an `.await`. A dropped task loses its
//! answer: that happens only when the process ends, and clients resend.

mod canary;
mod cluster;
mod commit;
mod open;
mod reads;
mod routes;
mod sign_ins;
mod signals;
mod unnumbered;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};
use ringway_engine::effect::Origin;
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::ConversationId;
use ringway_engine::packet::schema::{Sent, ServerPacket};
use ringway_peer::Word;
use ringway_ring::mailbox::{Inbox, Sender};
use ringway_store::ports::{Directory, EventLog, NodeRun, Route, SharedState};
use ringway_store::token::TokenKey;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use self::routes::Routes;
use self::sign_ins::SignIns;
use self::unnumbered::Unnumbered;
use crate::cluster::Cluster;
use crate::live::Live;
use crate::mail::{ConnectionRef, ToShard, ToUplink};
use crate::metrics::UplinkMetrics;
use crate::outbox::Outbox;
use crate::trace::TraceRing;

pub(crate) use canary::Canary;
pub(crate) use signals::Request;

/// Mail taken in one turn.
const TURN_MAX: usize = 4_096;
/// How long mail is left to gather at most.
const MAIL_GATHERS: Duration = Duration::from_millis(3);
/// Devices read what they missed so many at a time: messages do not wait behind them all.
const RETURNS_AT_ONCE: usize = 64;

/// What the gateway stands on.
#[derive(Clone)]
pub struct Ports {
    /// The durable log.
    pub log: Arc<dyn EventLog>,
    /// Numbers and cursors.
    pub state: Arc<dyn SharedState>,
    /// Accounts and groups.
    pub directory: Arc<dyn Directory>,
    /// Checks access tokens.
    pub tokens: Arc<TokenKey>,
    /// The other nodes, when there may be some.
    pub cluster: Option<Cluster>,
}

/// Everything the uplink's thread needs to begin.
pub(crate) struct UplinkParts {
    pub(crate) ports: Ports,
    pub(crate) inbox: Inbox<ToUplink>,
    pub(crate) shards: Vec<Sender<ToShard>>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) words: mpsc::Receiver<Word>,
    pub(crate) live: Arc<Live>,
    pub(crate) metrics: Arc<UplinkMetrics>,
    pub(crate) boot: u64,
}

/// State shared by the uplink's tasks.
pub(crate) struct Uplink {
    ports: Ports,
    live: Arc<Live>,
    metrics: Arc<UplinkMetrics>,
    boot: u64,
    state: RefCell<State>,
    flush: Notify,
    /// Turns of devices that read what they missed.
    returns: Arc<Semaphore>,
    /// Wakes a task that serves sign-ins.
    sign_ins: Notify,
}

struct State {
    shards: Vec<Outbox<ToShard>>,
    routes: Routes,
    trace: TraceRing,
    /// Sign-in sessions whose tokens are refused, until when (Unix ms).
    revoked: HashMap<String, u64, RandomState>,
    /// Connections that closed while their `connect` was being checked.
    opening: HashSet<ConnectionRef, RandomState>,
    sign_ins: SignIns,
    /// Server messages that wait for their number.
    server_messages: HashMap<u64, oneshot::Sender<Result<Sent, ErrorCode>>, RandomState>,
    /// In the log, and still to be numbered before what comes after them.
    unnumbered: Unnumbered,
    /// Counts signals that changed who is in a group: what was read before is read again.
    membership_changes: u64,
    next_token: u64,
    sessions: u64,
    /// Groups that other nodes know to have members here.
    seated: HashSet<ConversationId, RandomState>,
    /// Routes of sessions that have ended, to be removed.
    leaving: Vec<Route>,
    standing_anew: cluster::StandingAnew,
    /// The other nodes.
    nodes: Vec<NodeRun>,
}

/// Runs the uplink until every shard is gone.
pub(crate) async fn run(parts: UplinkParts) {
    let UplinkParts { ports, mut inbox, shards, mut requests, mut words, live, metrics, boot } = parts;
    let hops = ports.cluster.as_ref().and_then(|cluster| cluster.hops.as_ref());
    let state = State {
        shards: shards.into_iter().map(Outbox::new).collect(),
        routes: Routes::default(),
        trace: TraceRing::new(hops),
        revoked: HashMap::default(),
        opening: HashSet::default(),
        sign_ins: SignIns::default(),
        server_messages: HashMap::default(),
        unnumbered: Unnumbered::default(),
        membership_changes: 0,
        next_token: 0,
        sessions: 0,
        seated: HashSet::default(),
        leaving: Vec::new(),
        standing_anew: cluster::StandingAnew::default(),
        nodes: Vec::new(),
    };
    let (state, flush, sign_ins) = (RefCell::new(state), Notify::new(), Notify::new());
    let returns = Arc::new(Semaphore::new(RETURNS_AT_ONCE));
    let uplink = Rc::new(Uplink { ports, live, metrics, boot, state, flush, returns, sign_ins });
    uplink.load_revoked().await;
    tokio::task::spawn_local(flush_mail(Rc::clone(&uplink)));
    let asked = Rc::clone(&uplink);
    tokio::task::spawn_local(async move {
        while let Some(request) = requests.recv().await {
            Rc::clone(&asked).handle_request(request);
        }
    });
    tokio::task::spawn_local(Rc::clone(&uplink).stay_in_cluster());
    tokio::task::spawn_local(Rc::clone(&uplink).sing());
    let hearing = Rc::clone(&uplink);
    tokio::task::spawn_local(async move {
        let (mut heard, mut unheard) = (Vec::new(), 0);
        while words.recv_many(&mut heard, TURN_MAX).await > 0 {
            heard.drain(..).for_each(|word| hearing.hear(word));
            // Some found no room here: their devices look for what those told.
            let dropped = hearing.metrics.unheard.load(Ordering::Relaxed);
            if std::mem::replace(&mut unheard, dropped) != dropped {
                hearing.all_stand_anew();
            }
            // Others get their turn in between.
            tokio::task::yield_now().await;
        }
    });
    let mut commits = Vec::new();
    while inbox.wait().await {
        inbox.drain(TURN_MAX, &mut |_, message| uplink.handle_mail(message, &mut commits));
        let appends = !commits.is_empty();
        for part in commit::parts(std::mem::take(&mut commits)) {
            tokio::task::spawn_local(Rc::clone(&uplink).commit(part));
        }
        uplink.flush.notify_one();
        if appends {
            uplink.let_mail_gather().await;
        }
    }
    uplink.leave_cluster().await;
}

/// Hands mail to the shards, once for all that was said meanwhile.
async fn flush_mail(uplink: Rc<Uplink>) {
    loop {
        uplink.flush.notified().await;
        loop {
            let mut room = true;
            for shard in &mut uplink.state.borrow_mut().shards {
                room &= shard.flush();
            }
            if room {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Uplink {
    /// Leaves mail where it is while the log is at work, so that what comes meanwhile is appended as one, and no shard
    /// has to wake this thread for each message.
    async fn let_mail_gather(&self) {
        // The commits that were just started append first.
        tokio::task::yield_now().await;
        // What else is in the mail is served that much later.
        let _ = tokio::time::timeout(MAIL_GATHERS, self.ports.log.ready()).await;
    }

    fn tell(&self, shard: u16, message: ToShard) {
        if let Some(outbox) = self.state.borrow_mut().shards.get_mut(usize::from(shard)) {
            outbox.push(message);
        }
        self.flush.notify_one();
    }

    fn tell_all(&self, message: impl Fn() -> ToShard) {
        for outbox in &mut self.state.borrow_mut().shards {
            outbox.push(message());
        }
        self.flush.notify_one();
    }

    /// Answers a command in flight.
    fn answer(&self, origin: Origin, packet: ServerPacket) {
        let connection = origin.connection;
        self.tell(origin.shard, ToShard::Answer { connection, packet: Box::new(packet), read: false });
    }

    /// Answers a command that read a page or a list.
    fn answer_read(&self, origin: Origin, packet: ServerPacket) {
        let connection = origin.connection;
        self.tell(origin.shard, ToShard::Answer { connection, packet: Box::new(packet), read: true });
    }

    fn answer_error(&self, origin: Origin, code: ErrorCode, detail: &str) {
        self.answer(origin, ServerPacket::error(origin.command, code, detail.to_owned()));
    }

    /// Reads for a device that has come back, when its turn has come.
    fn in_turn(&self, work: impl Future<Output = ()> + 'static) {
        let returns = Arc::clone(&self.returns);
        tokio::task::spawn_local(async move {
            // The semaphore is never closed.
            let _turn = returns.acquire().await;
            work.await;
        });
    }

    fn handle_mail(self: &Rc<Self>, message: ToUplink, commits: &mut Vec<commit::Commit>) {
        let this = Rc::clone(self);
        match message {
            ToUplink::Commit { home, conv, entries, at } => commits.push(commit::Commit { home, conv, entries, at }),
            ToUplink::Open(open) => self.queue_open(open),
            ToUplink::Attach(to) => self.queue_attach(to),
            ToUplink::Closed(to) => self.closed(to),
            ToUplink::Permission { home, conv, uid } => {
                tokio::task::spawn_local(this.permission(home, conv, uid));
            }
            ToUplink::MarkRead { origin, conv, uid, seq } => {
                tokio::task::spawn_local(this.mark_read(origin, conv, uid, seq));
            }
            ToUplink::Acknowledge(updates) => {
                tokio::task::spawn_local(async move { this.ports.state.acknowledge(updates).await });
            }
            ToUplink::Sync { origin, conv, uid, from, limit } => {
                tokio::task::spawn_local(this.sync(origin, conv, uid, from, limit));
            }
            ToUplink::Transient(push) => {
                tokio::task::spawn_local(this.transient_elsewhere(push));
            }
            ToUplink::CatchUp { to, conv, after } => self.in_turn(this.catch_up(to, conv, after)),
            ToUplink::Conversations { origin, uid, after, limit } => {
                tokio::task::spawn_local(this.conversations(origin, uid, after, limit));
            }
            ToUplink::Refresh { origin, token } => self.refresh(origin, &token),
            ToUplink::ServerAnswer { token, result } => {
                if let Some(reply) = self.state.borrow_mut().server_messages.remove(&token) {
                    // Who asked may have given up; the message stands all the same.
                    let _ = reply.send(result);
                }
            }
        }
    }
}
