//! A shard: one pinned thread that owns its connections, its timers and its conversations alone.
//!
//! | File | Noun |
//! |---|---|
//! | `mod` | the shard's state, its table of connections, its tasks |
//! | `accept` | connections coming in, admission |
//! | `intake` | bytes of one connection: PROXY header, TLS, upgrade, frames |
//! | `commands` | what sessions ask for |
//! | `hubs` | the conversations that live here |
//! | `inbox` | what other threads say |
//! | `fanout` | deliveries and transient pushes to the devices here |
//! | `backlog` | catch-up pages |
//! | `output` | queues to sockets, once a turn |
//! | `ticker` | deadlines, acknowledgements, drain |
//!
//! All state sits in one `RefCell` that no code holds over an `.await`. Tasks: one that accepts, one for
//! the inbox, one ticker, one flusher. A connection has none: the ring calls `intake` when bytes came in, when
//! they end and when there is room again. `remove` is called at the end, and the shard's end drops them all.

mod accept;
#[cfg(test)]
mod allocations_tests;
mod backlog;
mod commands;
mod connection;
mod fanout;
mod hubs;
mod inbox;
mod intake;
mod output;
mod send_queue;
mod ticker;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::{IpAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ringway_engine::delivery::Place;
use ringway_engine::effect::{HubEffect, SessionEffect};
use ringway_engine::ids::ConversationId;
use ringway_engine::names::Names;
use ringway_engine::packet::Frames;
use ringway_engine::snowflake::Snowflake;
use ringway_engine::timer::Wheel;
use ringway_hops::Hops;
use ringway_ring::mailbox::{Inbox, Sender};
use ringway_ring::runtime;
use smallvec::SmallVec;

use self::connection::Connection;
use crate::clock;
use crate::groups::Groups;
use crate::index::Index;
use crate::live::Live;
use crate::mail::{ConnectionRef, ToShard, ToUplink};
use crate::metrics::ShardMetrics;
use crate::outbox::Outbox;
use crate::stages::Watch;
use crate::table::Table;
use crate::trace::{Hop, Station, TraceRing};

/// Tick of the shard's timer wheel.
const TICK_MS: u64 = 100;

/// Everything a shard's thread needs to begin.
pub(crate) struct ShardParts {
    pub(crate) index: u16,
    pub(crate) shards: usize,
    /// Node and shard, for message ids; and the highest id known to be used.
    pub(crate) id_node: u16,
    pub(crate) id_floor: u64,
    pub(crate) listener: TcpListener,
    pub(crate) echo: Option<TcpListener>,
    pub(crate) inbox: Inbox<ToShard>,
    pub(crate) peers: Vec<Option<Sender<ToShard>>>,
    pub(crate) uplink: Sender<ToUplink>,
    pub(crate) proxy_protocol: bool,
    /// How long a batch waits for those of other nodes below it; 0 when there are none.
    pub(crate) reorder_wait_ms: u64,
    /// Where hops of traced messages are handed over.
    pub(crate) hops: Option<Hops>,
    pub(crate) live: Arc<Live>,
    pub(crate) metrics: Arc<ShardMetrics>,
}

/// What a shard's tasks listen on.
struct Doors {
    listener: TcpListener,
    echo: Option<TcpListener>,
    inbox: Inbox<ToShard>,
}

type Keys = SmallVec<[u64; 2]>;

/// The shard's state; methods are spread over the files of this folder.
pub(crate) struct Shard {
    index: u16,
    shards: usize,
    connections: Table<Connection>,
    generation: u32,
    /// Connections on the map, by the user that owns them.
    users: Index,
    groups: HashMap<ConversationId, Vec<u64>, RandomState>,
    addresses: HashMap<IpAddr, u32, RandomState>,
    hubs: HashMap<ConversationId, hubs::Home, RandomState>,
    /// Hubs with a batch to commit before this turn ends.
    due: Vec<ConversationId>,
    /// And after it.
    due_after: Vec<ConversationId>,
    /// How long a batch waits for those of other nodes below it; 0: there are no other nodes.
    reorder_wait_ms: u64,
    /// Conversations with a batch that waits.
    holding: Vec<ConversationId>,
    ids: Snowflake,
    peers: Vec<Option<Outbox<ToShard>>>,
    uplink: Outbox<ToUplink>,
    /// Messages of this shard to itself, handled before the turn ends.
    own: VecDeque<ToShard>,
    /// Conversations that a peer shard must be told it missed: first and last place.
    owed: Vec<HashMap<ConversationId, (Place, Place), RandomState>>,
    /// Connections with something to send.
    dirty: Vec<u64>,
    /// Paused connections that may take in again, before the turn ends.
    unparked: Vec<u64>,
    /// What came in on connections that are paused.
    held: HashMap<u64, Vec<u8>, RandomState>,
    /// When the acknowledgements of which connection are handed on, in order of time.
    acked: VecDeque<(u64, u64)>,
    /// Devices whose backlog read brought nothing; tried again at the next tick.
    stalled: Vec<u64>,
    /// Connections to look at, by their place in the table.
    wheel: Wheel<u32>,
    flusher: Option<Waker>,
    effects: Vec<SessionEffect<'static>>,
    hub_effects: Vec<HubEffect>,
    /// Whom a batch is shown to.
    shown_to: Vec<u64>,
    names: Names,
    frames: Frames,
    trace: TraceRing,
    /// Pushes whose acknowledgement is waited for, to time it.
    watch: Watch,
    proxy_protocol: bool,
    live: Arc<Live>,
    metrics: Arc<ShardMetrics>,
    /// Unix milliseconds at which a drain began.
    draining_ms: Option<u64>,
    /// Wakes the accept task so that it ends.
    accept_waker: Option<Waker>,
    finished: bool,
    finish_waker: Option<Waker>,
}

/// The shard's state as its tasks share it.
pub(crate) type Shared = Rc<RefCell<Shard>>;

/// Runs a shard until it is drained, or until the other threads are gone.
pub(crate) async fn run(parts: ShardParts) {
    let (shard, doors) = Shard::new(parts);
    let Doors { listener, echo, inbox } = doors;
    let shared = Rc::new(RefCell::new(shard));
    let handler = runtime::add_handler(Rc::new(intake::Intake(Rc::clone(&shared))));
    runtime::spawn_local(accept::run(Rc::clone(&shared), listener, handler));
    if let Some(echo) = echo {
        runtime::spawn_local(crate::echo::run(echo));
    }
    runtime::spawn_local(output::run_flusher(Rc::clone(&shared)));
    runtime::spawn_local(ticker::run(Rc::clone(&shared), TICK_MS));
    runtime::spawn_local(inbox::run(Rc::clone(&shared), inbox));
    std::future::poll_fn(|context| {
        let mut shard = shared.borrow_mut();
        if shard.finished {
            return std::task::Poll::Ready(());
        }
        shard.finish_waker = Some(context.waker().clone());
        std::task::Poll::Pending
    })
    .await;
}

impl Shard {
    /// The state of a shard that has no connection yet, and where others come in.
    fn new(parts: ShardParts) -> (Self, Doors) {
        let doors = Doors { listener: parts.listener, echo: parts.echo, inbox: parts.inbox };
        let shard = Self {
            index: parts.index,
            shards: parts.shards,
            connections: Table::default(),
            generation: 0,
            users: Index::default(),
            groups: HashMap::default(),
            addresses: HashMap::default(),
            hubs: HashMap::default(),
            due: Vec::new(),
            due_after: Vec::new(),
            ids: Snowflake::new(parts.id_node, parts.id_floor),
            owed: parts.peers.iter().map(|_| HashMap::default()).collect(),
            peers: parts.peers.into_iter().map(|peer| peer.map(Outbox::new)).collect(),
            uplink: Outbox::new(parts.uplink),
            own: VecDeque::new(),
            dirty: Vec::new(),
            unparked: Vec::new(),
            held: HashMap::default(),
            acked: VecDeque::new(),
            stalled: Vec::new(),
            wheel: Wheel::new(TICK_MS, clock::steady_ms()),
            flusher: None,
            effects: Vec::new(),
            hub_effects: Vec::new(),
            shown_to: Vec::new(),
            names: Names::default(),
            frames: Frames::default(),
            trace: TraceRing::new(parts.hops.as_ref()),
            watch: Watch::new(),
            proxy_protocol: parts.proxy_protocol,
            reorder_wait_ms: parts.reorder_wait_ms,
            holding: Vec::new(),
            live: parts.live,
            metrics: parts.metrics,
            draining_ms: None,
            accept_waker: None,
            finished: false,
            finish_waker: None,
        };
        (shard, doors)
    }

    /// The connection under a key, if it is still the one that the key was made for.
    fn connection(&mut self, key: u64) -> Option<&mut Connection> {
        find(&mut self.connections, key)
    }

    fn reference(&self, key: u64) -> ConnectionRef {
        ConnectionRef { shard: self.index, connection: key }
    }

    /// Takes a connection off the map and out of the table, and says so to the uplink.
    fn remove(&mut self, key: u64) {
        if self.connection(key).is_none() {
            return;
        }
        self.detach(key);
        let Some(connection) = self.connections.remove(key as u32) else { return };
        self.held.remove(&key);
        if let Some(count) = self.addresses.get_mut(&connection.address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&connection.address);
            }
        }
        self.metrics.counters.connections.sub(1);
        self.live.connections.fetch_sub(1, Ordering::Relaxed);
        self.uplink.push(ToUplink::Closed(self.reference(key)));
        self.wake_flusher();
    }

    /// The connections here of a user's devices on the map.
    fn keys_of(&self, uid: &str) -> impl Iterator<Item = u64> {
        let found = self.users.candidates(uid).filter_map(|slot| Some((slot, self.connections.get(slot)?)));
        let held = found.filter(move |(_, connection)| connection.owner_uid() == Some(uid));
        held.map(|(slot, connection)| connection::key(connection.generation, slot))
    }

    /// Puts a device on the shard's map: live messages reach it from now on.
    fn attach(&mut self, key: u64, groups: Groups) {
        let Some(connection) = self.connection(key) else { return };
        let Some(identity) = connection.session.identity().map(Arc::clone) else { return };
        let format = connection.format;
        connection.owner = Some(Arc::clone(&identity));
        connection.groups = groups.clone();
        connection.device.hold();
        for group in &*groups {
            self.groups.entry_ref(group).or_default().push(key);
        }
        let connections = &self.connections;
        self.users.insert(key as u32, identity.uid.as_str(), |slot| connections.get(slot)?.owner_uid());
        self.metrics.counters.sessions.add(1);
        self.live.readers_of(format).fetch_add(1, Ordering::Relaxed);
    }

    fn detach(&mut self, key: u64) {
        self.flush_acks_of(key);
        let Some(connection) = self.connection(key) else { return };
        let (groups, format) = (std::mem::take(&mut connection.groups), connection.format);
        let Some(owner) = connection.owner.take() else { return };
        self.live.readers_of(format).fetch_sub(1, Ordering::Relaxed);
        for group in &*groups {
            self.leave_group(group, key);
        }
        if self.users.remove(key as u32, owner.uid.as_str()) {
            self.metrics.counters.sessions.sub(1);
        }
    }

    fn leave_group(&mut self, group: &ConversationId, key: u64) {
        let Some(members) = self.groups.get_mut(group) else { return };
        if let Some(at) = members.iter().position(|held| *held == key) {
            members.swap_remove(at);
        }
        if members.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Gives a message to a shard, this one included.
    fn tell(&mut self, shard: u16, message: ToShard) {
        match self.peers.get_mut(usize::from(shard)) {
            Some(Some(peer)) => peer.push(message),
            _ if shard == self.index => self.own.push_back(message),
            _ => tracing::error!(shard, "message for a shard that does not exist"),
        }
    }

    /// Remembers a hop of a message; gives its time.
    fn note(&mut self, station: Station, msg_id: u64, conv: u64, seq: u64, who: u64) -> u64 {
        let at_us = clock::unix_us();
        self.trace.note(Hop { at_us, station, msg_id, conv, seq, who, shard: self.index });
        at_us
    }

    fn wake_flusher(&mut self) {
        if let Some(waker) = self.flusher.take() {
            waker.wake();
        }
    }
}

/// The connection under a key, for who needs other parts of the shard beside it.
fn find(connections: &mut Table<Connection>, key: u64) -> Option<&mut Connection> {
    connections.get_mut(key as u32).filter(|found| found.generation == (key >> 32) as u32)
}
