//! The messages between shards and uplink: who owns them, and what a full mailbox means.
//!
//! | Message | Owner | When the ring is full |
//! |---|---|---|
//! | requests and their answers | the sender until taken | they wait with the sender, in order (`Outbox`); bounded by the commands in flight |
//! | `Deliver` | shared by reference | past the outbox's bound it is dropped, and `Missed` is owed instead: the devices read the store |
//! | `Transient` | shared by reference | dropped past the outbox's bound; it is at most once by contract |

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use ringway_engine::catchup::Standing;
use ringway_engine::conversation::{Formats, Number, Permission};
use ringway_engine::delivery::Place;
use ringway_engine::devices::KickReason;
use ringway_engine::effect::{Batch, Delivery, Origin, ReadFrom, Submission};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::{Connect, Message, Sent, ServerPacket};
use ringway_engine::session::Identity;
use ringway_store::ports::{CursorUpdate, Page};
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::groups::Groups;
use crate::trace::Hop;

/// A connection of one shard, as others name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ConnectionRef {
    pub(crate) shard: u16,
    pub(crate) connection: u64,
}

/// To the uplink.
#[derive(Debug)]
pub(crate) enum ToUplink {
    /// Check a `connect`; answered by `Opened` or `Refused`.
    Open(Box<Open>),
    /// The device is attached to its shard: put it on the map and say where it stands; `Attached`.
    Attach(ConnectionRef),
    /// The connection is gone.
    Closed(ConnectionRef),
    /// Make durable, then number; `Committed` to `home`.
    Commit { home: u16, conv: ConversationId, entries: Batch, at: Instant },
    /// May this user send here; `Permission` to `home`.
    Permission { home: u16, conv: ConversationId, uid: Uid },
    /// Log a read mark; `Answer`.
    MarkRead { origin: Origin, conv: ConversationId, uid: Uid, seq: u64 },
    /// Cursors moved.
    Acknowledge(Vec<CursorUpdate>),
    /// Read for a client's `sync`; `SyncPage`.
    Sync { origin: Origin, conv: ConversationId, uid: Uid, from: ReadFrom, limit: usize },
    /// Read the next page of a backlog; `CatchUpPage`.
    CatchUp { to: ConnectionRef, conv: ConversationId, after: Place },
    /// A push that is never stored, for devices on other nodes.
    Transient(Arc<Transient>),
    /// List conversations; `Answer`.
    Conversations { origin: Origin, uid: Uid, after: String, limit: usize },
    /// Check a newer token; `Refreshed` or `Answer`.
    Refresh { origin: Origin, token: String },
    /// A server message was numbered or refused.
    ServerAnswer { token: u64, result: Result<Sent, ErrorCode> },
}

/// A `connect` to be checked.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) to: ConnectionRef,
    pub(crate) connect: Connect,
    pub(crate) device: DeviceId,
    /// The token of the upgrade's `Authorization`, if any.
    pub(crate) bearer: Option<String>,
    pub(crate) format: Format,
}

/// Shards that hold somebody of a conversation, and the formats they read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Audience {
    /// Bit n: shard n.
    pub(crate) shards: u64,
    pub(crate) formats: Formats,
}

/// A push that is never stored, encoded once a format; empty in one that nobody reads.
#[derive(Debug)]
pub(crate) struct Transient {
    pub(crate) to: TransientTo,
    /// The connection it came from; not told.
    pub(crate) except: Option<ConnectionRef>,
    pub(crate) json: Bytes,
    pub(crate) protobuf: Bytes,
}

/// Who a transient push is for.
#[derive(Debug)]
pub(crate) enum TransientTo {
    /// All devices of these users.
    Users(SmallVec<[Uid; 2]>),
    /// All attached members of a group.
    Group(ConversationId),
}

/// To a shard. What is large and comes seldom, or from another core at a price anyway, is boxed: a ring of them is
/// touched from end to end.
#[derive(Debug)]
pub(crate) enum ToShard {
    /// The token is good: attach the device to these conversations, then say `Attach`.
    Opened { connection: u64, identity: Arc<Identity>, expires_ms: u64, groups: Groups },
    /// The `connect` is refused.
    Refused { connection: u64, code: ErrorCode },
    /// Where the device stands.
    Attached { connection: u64, session: String, standings: Vec<(ConversationId, Standing)> },
    /// Answer to `Commit`.
    Committed { conv: ConversationId, result: Result<Vec<Number>, ErrorCode>, audience: Audience, at: Instant },
    /// Answer to `Permission`; `None` when nobody could tell.
    Permission { conv: ConversationId, uid: Uid, permission: Option<Permission> },
    /// Answer to a command in flight; `read`: it was a page or a list.
    Answer { connection: u64, packet: Box<ServerPacket>, read: bool },
    /// Answer to `Sync`; `complete`: it reached the head, upwards.
    SyncPage { connection: u64, id: u64, conv: ConversationId, page: Box<Page>, complete: bool },
    /// Answer to `CatchUp`; `None` when the store could not tell.
    CatchUpPage { connection: u64, conv: ConversationId, page: Option<Page> },
    /// Answer to `Refresh`.
    Refreshed { connection: u64, id: u64, expires_ms: u64 },
    /// End a session on purpose.
    Kick { connection: u64, reason: KickReason },
    /// The user is in the conversation from now on; what lies in `(from, head]` is backlog.
    Joined { uid: Uid, conv: ConversationId, from: Place, head: Place },
    /// The user is in it no more.
    Left { uid: Uid, conv: ConversationId },
    /// Cached permissions are void.
    PermissionsChanged { conv: ConversationId, uids: Vec<Uid> },
    /// A message for the hub that lives here.
    Submit(Box<Submission>),
    /// A committed batch for the members that live here.
    Deliver(Arc<Delivery>),
    /// A batch of this conversation could not be handed over.
    Missed { conv: ConversationId, epoch: u64, first: u64, head: u64 },
    /// A batch that another node has committed, for the conversation's home; its messages carry their numbers.
    Arrived { conv: ConversationId, messages: Vec<Message>, audience: Audience },
    /// Where a device stands, after pushes may have been lost.
    Standings {
        connection: u64,
        standings: Vec<(ConversationId, Standing)>,
        /// What it should have acknowledged long ago and has not.
        unacknowledged: Option<(ConversationId, Place)>,
    },
    /// All cached permissions are void.
    ForgetPermissions,
    /// A command failed at its hub.
    Refuse { origin: Origin, code: ErrorCode },
    /// A push that is never stored.
    Transient(Arc<Transient>),
    /// Answer a catch-up read from the hub's recent ring, or pass it on to the uplink.
    Recent { to: ConnectionRef, conv: ConversationId, after: Place },
    /// Tell what is remembered of a message.
    Trace { msg_id: u64, conv: u64, seq: u64, reply: oneshot::Sender<Vec<Hop>> },
    /// Answer when everything before this was handled.
    Barrier(oneshot::Sender<()>),
    /// Stop accepting, tell clients, finish, end.
    Drain,
}
