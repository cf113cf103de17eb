//! What the state machines ask of the world: plain data, carried out by whoever drives them.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use smallvec::SmallVec;

use crate::errors::{CloseCode, ErrorCode};
use crate::event::MessageEvent;
use crate::ids::{ConversationId, DeviceId, Uid};
use crate::packet::Format;
use crate::packet::schema::{Connect, ServerPacket};

/// The command that an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Shard that holds the connection; [`Origin::SERVER`] for the server's own messages.
    pub shard: u16,
    /// The connection on that shard.
    pub connection: u64,
    /// The command's id (a token of the uplink for server messages).
    pub command: u64,
    /// When it was taken, microseconds of the caller's clock; 0 where nobody has looked. Carried along, for whoever
    /// measures how long a message takes.
    pub taken_us: u64,
}

impl Origin {
    /// The shard number that stands for the uplink.
    pub const SERVER: u16 = u16::MAX;
}

/// A message on its way to its hub.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Who is to be told.
    pub origin: Origin,
    /// The conversation.
    pub conv: ConversationId,
    /// Sender; `None` for the server, which needs no permission.
    pub from: Option<Uid>,
    /// Idempotency key within sender and conversation.
    pub client_msg_id: CompactString,
    /// Message type.
    pub kind: CompactString,
    /// Body.
    pub body: String,
    /// Body encoding.
    pub enc: CompactString,
    /// Whether the client sent it before.
    pub retry: bool,
}

/// From where a client reads a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// Upwards from above this sequence.
    After(u64),
    /// Downwards from below it.
    Before(u64),
}

/// What a session asks for. Some of it still stands in the payload that it came in.
#[derive(Debug, Clone)]
pub enum SessionEffect<'p> {
    /// Queue this packet for the client.
    Reply(Box<ServerPacket>),
    /// Check the token and open a session; answer by `handle_opened` or `handle_refused`.
    Open {
        /// The `connect` as it came (its `token` is never logged).
        connect: Connect,
        /// The checked device id.
        device: DeviceId,
    },
    /// Hand the message to its conversation's hub; counted in flight until it is answered.
    Submit(Submission),
    /// The device has everything up to here.
    Acknowledge {
        /// Conversation.
        conv: ConversationId,
        /// Epoch of `seq`.
        epoch: u64,
        /// Sequence.
        seq: u64,
    },
    /// Log a read mark; counted in flight.
    MarkRead {
        /// The command.
        id: u64,
        /// Conversation.
        conv: ConversationId,
        /// Sequence.
        seq: u64,
    },
    /// Read a page for the client; counted in flight.
    Sync {
        /// The command.
        id: u64,
        /// Conversation.
        conv: ConversationId,
        /// From where.
        from: ReadFrom,
        /// At most this many.
        limit: usize,
    },
    /// List conversations; counted in flight.
    Conversations {
        /// The command.
        id: u64,
        /// After this id.
        after: String,
        /// At most this many.
        limit: usize,
    },
    /// Tell the others in the conversation; lost without harm.
    Typing {
        /// The command, 0 if it wants no error either.
        id: u64,
        /// Conversation.
        conv: ConversationId,
    },
    /// Tell a user's devices; lost without harm.
    Signal {
        /// Whom.
        to: Uid,
        /// Call.
        call: Cow<'p, str>,
        /// Body.
        body: Cow<'p, str>,
    },
    /// Check a newer token of the same user; counted in flight.
    Refresh {
        /// The command.
        id: u64,
        /// The token.
        token: String,
    },
    /// Send a WebSocket ping: the device has been silent.
    Ping,
    /// Send a close frame and end the connection.
    Close(CloseCode),
}

/// One message of a delivery.
#[derive(Debug, Clone)]
pub struct DeliveryItem {
    /// Its number.
    pub seq: u64,
    /// Epoch of `seq`.
    pub epoch: u64,
    /// Its id.
    pub msg_id: u64,
    /// When it was taken, Unix milliseconds.
    pub ts_ms: u64,
    /// Commands to be answered with `sent`.
    pub origins: SmallVec<[Origin; 1]>,
    /// Its frame within [`Delivery::json`]; empty when it was delivered before.
    pub json: Range<u32>,
    /// Its frame within [`Delivery::protobuf`]; likewise.
    pub protobuf: Range<u32>,
    /// The number was known before: answer the origins, show nobody anything.
    pub duplicate: bool,
}

/// One committed batch of a conversation, encoded once a format; shared by every shard and device.
#[derive(Debug)]
pub struct Delivery {
    /// Conversation.
    pub conv: ConversationId,
    /// In the order of the batch; numbers of the new ones rise by one.
    pub items: SmallVec<[DeliveryItem; 1]>,
    /// Complete WebSocket frames of the new items, when anyone reads JSON.
    pub json: Bytes,
    /// Likewise for protobuf.
    pub protobuf: Bytes,
}

impl Delivery {
    /// The buffer of a format.
    #[must_use]
    pub fn buffer(&self, format: Format) -> &Bytes {
        match format {
            Format::Json => &self.json,
            Format::Protobuf => &self.protobuf,
        }
    }
}

impl DeliveryItem {
    /// The item's frame within the buffer of a format.
    #[must_use]
    pub fn range(&self, format: Format) -> &Range<u32> {
        match format {
            Format::Json => &self.json,
            Format::Protobuf => &self.protobuf,
        }
    }
}

/// A message in a commit batch.
#[derive(Debug, Clone)]
pub struct BatchEntry {
    /// What goes into the log.
    pub event: Arc<MessageEvent>,
    /// Whether the archive is to be asked for an earlier number first.
    pub retry: bool,
    /// When its command was taken, as its origin says.
    pub taken_us: u64,
}

/// A commit batch: nearly always one message.
pub type Batch = SmallVec<[BatchEntry; 1]>;

/// What a hub asks for.
#[derive(Debug)]
pub enum HubEffect {
    /// Ask whether a user may send here; answer by `handle_permission`.
    AskPermission(Uid),
    /// Make the batch durable, then number it; answer by `handle_committed`. One at a time.
    Commit(Batch),
    /// Tell the command that it failed.
    Refuse(Origin, ErrorCode),
    /// Tell senders and members.
    Deliver(Arc<Delivery>),
}
