//! What is said over a link: words, asks and replies, as the rest of the program knows them.

use ringway_engine::event::MessageEvent;
use ringway_engine::packet::schema::Sent;
use ringway_store::ports::{ServerMessage, Signal};

/// One-way. Any of them may be lost (a full queue, a broken link): the queue, the cursors and `sync` repair it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// A committed batch of one conversation. Said by its home hub; lost, the hub that misses it reads the hole from
    /// the store.
    Deliver(Deliver),
    /// Something that is not kept: typing, presence, signals of a call. Said by the node it began on; lost, nobody
    /// makes up for it.
    Transient(TransientPush),
    /// End a session. Said by the node that has its device now; lost, the session lives until it ends by itself.
    Kick {
        /// Its number within the run of the node that is told.
        session: u64,
        /// Why, in the words of the engine.
        reason: String,
    },
    /// A device seems to have missed something: let it catch up. Said by the persist daemon; lost, its messages stay
    /// in the offline queue, which the next nudge or connect reads.
    Nudge {
        /// Whose devices.
        uid: String,
        /// Conversation id.
        conv: String,
        /// Epoch of `head`.
        epoch: u64,
        /// Highest sequence there is.
        head: u64,
    },
    /// Words before this one were lost: whoever hears it reads where its devices stand. The link itself says it
    /// (see [`crate::PeerLinks::with_amends`]).
    Missed,
}

/// Numbered messages of one conversation and one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deliver {
    /// Conversation id; that of every event too.
    pub conv: String,
    /// Epoch of every number.
    pub epoch: u64,
    /// By rising number.
    pub items: Vec<DeliverItem>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverItem {
    /// Its number.
    pub seq: u64,
    /// The message.
    pub event: MessageEvent,
}

/// A push encoded once, by the node it began on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransientPush {
    /// Who is to see it.
    pub to: TransientTo,
    /// As devices that speak JSON get it.
    pub json: Vec<u8>,
    /// As devices that speak protobuf get it.
    pub protobuf: Vec<u8>,
}

/// Who is to see a transient push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransientTo {
    /// These users' devices.
    Users(Vec<String>),
    /// The members of this group, by its conversation id.
    Group(String),
}

/// A question; it is answered, or fails in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Apply a change, then answer `Done`. Signals and resyncs of one process are answered one after the other, in
    /// the order asked.
    Signal(Signal),
    /// Changes may have been missed: read anew whatever is cached of them, then answer `Done`.
    Resync,
    /// Send a message in the server's name; answered by `Sent`.
    Submit(ServerMessage),
    /// The hops of a message; answered by `Trace`.
    Trace(u64),
    /// Which of these users have a session; answered by `Online`.
    Online(Vec<String>),
    /// A sign of life. The link itself answers it, so a handler never sees it.
    Ping,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// It is done.
    Done,
    /// The message is durable and numbered.
    Sent(Sent),
    /// Not now; why.
    Temporary(String),
    /// Never, or not by this node, which may be older than who asks; why.
    Refused(String),
    /// A JSON array of hops.
    Trace(String),
    /// Those that have a session.
    Online(Vec<String>),
}
