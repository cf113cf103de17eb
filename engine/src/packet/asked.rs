//! What clients ask for, read in place: the commands that come with every message borrow their text from the
//! payload. The others are seldom, and own it.
//!
//! ```text
//!             JSON ──serde──► CommandRef ──┐
//!  protobuf, hot ──scan─────────────────── ┼──► Asked ──into_owned──► Request
//!  protobuf, all else ──prost──► Command ──┘
//! ```
//!
//! The wire's own types are in `schema`; a test reads all of them both ways, so the two cannot drift.

use std::borrow::Cow;

use serde::Deserialize;

use super::Request;
use super::schema::{
    Command, Connect, Empty, ListConversations, Point, Read, Refresh, Send, Signal, Sync, Target, Typing, object,
};

/// A command whose form is right, as it stands in its payload.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked<'a> {
    /// Send a durable message.
    Send(SendRef<'a>),
    /// Acknowledge delivery.
    Ack(PointRef<'a>),
    /// Signal a call.
    Signal(SignalRef<'a>),
    /// Anything else. Also those above, where they had to be kept.
    Other(Request),
}

/// [`Send`], borrowed.
#[derive(Clone, PartialEq, Default, Deserialize)]
pub struct SendRef<'a> {
    /// The user or group.
    #[serde(borrow, default, deserialize_with = "object")]
    pub to: Option<TargetRef<'a>>,
    /// Makes the send idempotent.
    #[serde(borrow, default)]
    pub client_msg_id: Cow<'a, str>,
    /// Message type.
    #[serde(borrow, default, rename = "type")]
    pub kind: Cow<'a, str>,
    /// Body.
    #[serde(borrow, default)]
    pub body: Cow<'a, str>,
    /// Body encoding.
    #[serde(borrow, default)]
    pub enc: Cow<'a, str>,
    /// Whether it was sent before.
    #[serde(default)]
    pub retry: bool,
}

/// [`Target`], borrowed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct TargetRef<'a> {
    /// A user's id.
    #[serde(borrow, default)]
    pub user: Cow<'a, str>,
    /// A group's id.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
}

/// [`Point`], borrowed.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct PointRef<'a> {
    /// Conversation id.
    #[serde(borrow, default)]
    pub conv: Cow<'a, str>,
    /// Epoch of `seq`.
    #[serde(default)]
    pub epoch: u64,
    /// Sequence.
    #[serde(default)]
    pub seq: u64,
}

/// [`Signal`], borrowed.
#[derive(Clone, PartialEq, Default, Deserialize)]
pub struct SignalRef<'a> {
    /// The user it is for.
    #[serde(borrow, default, deserialize_with = "object")]
    pub to: Option<TargetRef<'a>>,
    /// The call it belongs to.
    #[serde(borrow, default)]
    pub call: Cow<'a, str>,
    /// Opaque.
    #[serde(borrow, default)]
    pub body: Cow<'a, str>,
    /// Not looked at: the server knows who sent it.
    #[serde(borrow, default)]
    pub from: Cow<'a, str>,
}

/// [`Command`] with what may be borrowed.
#[derive(Default, Deserialize)]
pub(super) struct CommandRef<'a> {
    #[serde(default)]
    id: u64,
    #[serde(default, deserialize_with = "object")]
    connect: Option<Connect>,
    #[serde(borrow, default, deserialize_with = "object")]
    send: Option<SendRef<'a>>,
    #[serde(borrow, default, deserialize_with = "object")]
    ack: Option<PointRef<'a>>,
    #[serde(default, deserialize_with = "object")]
    read: Option<Read>,
    #[serde(default, deserialize_with = "object")]
    sync: Option<Sync>,
    #[serde(default, deserialize_with = "object")]
    conversations: Option<ListConversations>,
    #[serde(default, deserialize_with = "object")]
    typing: Option<Typing>,
    #[serde(borrow, default, deserialize_with = "object")]
    signal: Option<SignalRef<'a>>,
    #[serde(default, deserialize_with = "object")]
    ping: Option<Empty>,
    #[serde(default, deserialize_with = "object")]
    refresh: Option<Refresh>,
}

/// What a command turned out to hold.
pub(super) enum Commanded<'a> {
    /// Exactly one command.
    One(Asked<'a>),
    /// None that this version knows.
    None,
    /// Two or more.
    Several,
}

impl<'a> CommandRef<'a> {
    /// Turns the wire's struct of options into the one command that it holds.
    pub(super) fn single(self) -> (u64, Commanded<'a>) {
        let Self { id, connect, send, ack, read, sync, conversations, typing, signal, ping, refresh } = self;
        let mut held = Commanded::None;
        hold(&mut held, connect, |connect| Asked::Other(Request::Connect(connect)));
        hold(&mut held, send, Asked::Send);
        hold(&mut held, ack, Asked::Ack);
        hold(&mut held, read, |read| Asked::Other(Request::Read(read)));
        hold(&mut held, sync, |sync| Asked::Other(Request::Sync(sync)));
        hold(&mut held, conversations, |list| Asked::Other(Request::Conversations(list)));
        hold(&mut held, typing, |typing| Asked::Other(Request::Typing(typing)));
        hold(&mut held, signal, Asked::Signal);
        hold(&mut held, ping, |_| Asked::Other(Request::Ping));
        hold(&mut held, refresh, |refresh| Asked::Other(Request::Refresh(refresh)));
        (id, held)
    }
}

fn hold<'a, T>(held: &mut Commanded<'a>, field: Option<T>, wrap: fn(T) -> Asked<'a>) {
    if let Some(value) = field {
        *held = match held {
            Commanded::None => Commanded::One(wrap(value)),
            Commanded::One(_) | Commanded::Several => Commanded::Several,
        };
    }
}

impl Asked<'_> {
    /// The same, kept beyond its payload.
    #[must_use]
    pub fn into_owned(self) -> Request {
        match self {
            Self::Send(send) => Request::Send(Send {
                to: send.to.map(TargetRef::into_owned),
                client_msg_id: send.client_msg_id.into_owned(),
                kind: send.kind.into_owned(),
                body: send.body.into_owned(),
                enc: send.enc.into_owned(),
                retry: send.retry,
            }),
            Self::Ack(point) => {
                Request::Ack(Point { conv: point.conv.into_owned(), epoch: point.epoch, seq: point.seq })
            }
            Self::Signal(signal) => Request::Signal(Signal {
                to: signal.to.map(TargetRef::into_owned),
                call: signal.call.into_owned(),
                body: signal.body.into_owned(),
                from: signal.from.into_owned(),
            }),
            Self::Other(request) => request,
        }
    }
}

impl TargetRef<'_> {
    fn into_owned(self) -> Target {
        Target { user: self.user.into_owned(), group: self.group.into_owned() }
    }
}

impl From<Target> for TargetRef<'_> {
    fn from(Target { user, group }: Target) -> Self {
        Self { user: user.into(), group: group.into() }
    }
}

impl From<Send> for SendRef<'_> {
    fn from(Send { to, client_msg_id, kind, body, enc, retry }: Send) -> Self {
        let to = to.map(TargetRef::from);
        Self { to, client_msg_id: client_msg_id.into(), kind: kind.into(), body: body.into(), enc: enc.into(), retry }
    }
}

impl From<Point> for PointRef<'_> {
    fn from(Point { conv, epoch, seq }: Point) -> Self {
        Self { conv: conv.into(), epoch, seq }
    }
}

impl From<Signal> for SignalRef<'_> {
    fn from(Signal { to, call, body, from }: Signal) -> Self {
        Self { to: to.map(TargetRef::from), call: call.into(), body: body.into(), from: from.into() }
    }
}

impl From<Request> for Asked<'_> {
    fn from(request: Request) -> Self {
        match request {
            Request::Send(send) => Self::Send(send.into()),
            Request::Ack(point) => Self::Ack(point.into()),
            Request::Signal(signal) => Self::Signal(signal.into()),
            other => Self::Other(other),
        }
    }
}

impl From<Command> for CommandRef<'_> {
    fn from(command: Command) -> Self {
        let Command { id, connect, send, ack, read, sync, conversations, typing, signal, ping, refresh } = command;
        let (send, ack, signal) = (send.map(SendRef::from), ack.map(PointRef::from), signal.map(SignalRef::from));
        Self { id, connect, send, ack, read, sync, conversations, typing, signal, ping, refresh }
    }
}

impl std::fmt::Debug for SendRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Packets end up in logs, bodies must not.
        write!(f, "SendRef {{ to: {:?}, body: <{} bytes>, .. }}", self.to, self.body.len())
    }
}

impl std::fmt::Debug for SignalRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SignalRef {{ to: {:?}, body: <{} bytes>, .. }}", self.to, self.body.len())
    }
}
