//! What the application is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ringway_engine::packet::schema::{Changed, ErrorReply, Message, Receipt, Signal, Typing};

/// The connection as the application sees it.
///
/// ```text
///               ┌───────────────────────────────┐
///               ▼                               │ time is up
///  start ─► Connecting ──► Connected ──► Waiting ┘
///               │              │  lost, drained   ▲
///               │ failed       └──────────────────┤
///               ├─────────────────────────────────┘
///               └──► Closed ◄── refused for good, kicked, `Client::close`
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// A connection is being made.
    Connecting {
        /// Tries in a row that failed before this one.
        attempt: u32,
        /// Where.
        url: String,
    },
    /// Authenticated; sends flow.
    Connected {
        /// The user the token names.
        uid: String,
        /// Names this session in the server's logs and traces.
        session: String,
        /// For each resume point: whether all that was missed follows by itself. Where it does not,
        /// the client pages without being asked.
        recovered: BTreeMap<String, bool>,
    },
    /// Not connected; the next try is at `until`.
    Waiting {
        /// When.
        until: Instant,
        /// Why the connection ended or was not made.
        reason: String,
    },
    /// Ended for good; the client does not come back. Last event.
    Closed {
        /// Close code, or 1000 when the application closed.
        code: u16,
        /// Why.
        reason: String,
    },
}

/// What the application is told, in the order it happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The connection changed.
    State(State),
    /// A message: each one once, in the order of its conversation, own ones included. The body is
    /// inflated already; `enc` is set only when that failed.
    Message(Arc<Message>),
    /// Somebody received or read up to a sequence.
    Receipt(Receipt),
    /// Somebody types.
    Typing(Typing),
    /// Call signalling.
    Signal(Signal),
    /// The user joined or left a conversation.
    Changed(Changed),
    /// The server refused something that has no reply: `typing`, `signal`, an acknowledgement.
    Refused(ErrorReply),
}
