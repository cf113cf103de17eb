//! Short ways to build packets: a [`ServerPacket`] for the server, a [`Command`] for clients.

use crate::errors::ErrorCode;

use super::Request;
use super::schema::{
    Changed, Command, Connect, Connected, Conversations, Empty, Kicked, ListConversations, Message, Messages, Point,
    Read, Receipt, Reconnect, Refresh, Resync, Send, Sent, ServerPacket, Signal, Sync, Typing,
};

impl ServerPacket {
    /// Reply to `connect`.
    #[must_use]
    pub fn connected(id: u64, connected: Connected) -> Self {
        Self { id, connected: Some(connected), ..Self::default() }
    }

    /// Reply to `send`.
    #[must_use]
    pub fn sent(id: u64, sent: Sent) -> Self {
        Self { id, sent: Some(sent), ..Self::default() }
    }

    /// Push of a live message.
    #[must_use]
    pub fn message(message: Message) -> Self {
        Self { message: Some(message), ..Self::default() }
    }

    /// Reply to `sync`, or with `id` 0 the push of a backlog page.
    #[must_use]
    pub fn messages(id: u64, messages: Messages) -> Self {
        Self { id, messages: Some(messages), ..Self::default() }
    }

    /// Reply to `conversations`.
    #[must_use]
    pub fn conversations(id: u64, conversations: Conversations) -> Self {
        Self { id, conversations: Some(conversations), ..Self::default() }
    }

    /// Push of a receipt.
    #[must_use]
    pub fn receipt(receipt: Receipt) -> Self {
        Self { receipt: Some(receipt), ..Self::default() }
    }

    /// Push: `uid` is typing in `conv`.
    #[must_use]
    pub fn typing(conv: impl Into<String>, uid: impl Into<String>) -> Self {
        Self { typing: Some(Typing { conv: conv.into(), uid: uid.into() }), ..Self::default() }
    }

    /// Push of call signalling.
    #[must_use]
    pub fn signal(signal: Signal) -> Self {
        Self { signal: Some(signal), ..Self::default() }
    }

    /// Reply to `ping`.
    #[must_use]
    pub fn pong(id: u64) -> Self {
        Self { id, pong: Some(Empty {}), ..Self::default() }
    }

    /// Reply: done.
    #[must_use]
    pub fn reply_ok(id: u64) -> Self {
        Self { id, ok: Some(Empty {}), ..Self::default() }
    }

    /// Reply: refused. `detail` is for people and holds no token or body.
    #[must_use]
    pub fn error(id: u64, code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { id, error: Some(code.reply(detail)), ..Self::default() }
    }

    /// Push before a drain.
    #[must_use]
    pub fn reconnect(after_ms: u64, to: Vec<String>) -> Self {
        Self { reconnect: Some(Reconnect { after_ms, to }), ..Self::default() }
    }

    /// Push before a close on purpose; see [`CloseCode::kicked_reason`](crate::errors::CloseCode::kicked_reason).
    #[must_use]
    pub fn kicked(reason: impl Into<String>) -> Self {
        Self { kicked: Some(Kicked { reason: reason.into() }), ..Self::default() }
    }

    /// Push: read `conv` anew.
    #[must_use]
    pub fn resync(conv: impl Into<String>) -> Self {
        Self { resync: Some(Resync { conv: conv.into() }), ..Self::default() }
    }

    /// Push: the user `joined` or `left` `conv`.
    #[must_use]
    pub fn changed(conv: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { changed: Some(Changed { conv: conv.into(), kind: kind.into() }), ..Self::default() }
    }
}

impl Command {
    /// First command of a connection.
    #[must_use]
    pub fn connect(id: u64, connect: Connect) -> Self {
        Self { id, connect: Some(connect), ..Self::default() }
    }

    /// Sends a durable message.
    #[must_use]
    pub fn send(id: u64, send: Send) -> Self {
        Self { id, send: Some(send), ..Self::default() }
    }

    /// Acknowledges everything of `conv` up to `seq`.
    #[must_use]
    pub fn ack(conv: impl Into<String>, epoch: u64, seq: u64) -> Self {
        Self { ack: Some(Point { conv: conv.into(), epoch, seq }), ..Self::default() }
    }

    /// Marks `conv` read up to `seq`.
    #[must_use]
    pub fn read(id: u64, conv: impl Into<String>, seq: u64) -> Self {
        Self { id, read: Some(Read { conv: conv.into(), seq }), ..Self::default() }
    }

    /// Reads a page.
    #[must_use]
    pub fn sync(id: u64, sync: Sync) -> Self {
        Self { id, sync: Some(sync), ..Self::default() }
    }

    /// Lists conversations.
    #[must_use]
    pub fn conversations(id: u64, list: ListConversations) -> Self {
        Self { id, conversations: Some(list), ..Self::default() }
    }

    /// Tells that the user is typing.
    #[must_use]
    pub fn typing(conv: impl Into<String>) -> Self {
        Self { typing: Some(Typing { conv: conv.into(), uid: String::new() }), ..Self::default() }
    }

    /// Signals a call.
    #[must_use]
    pub fn signal(id: u64, signal: Signal) -> Self {
        Self { id, signal: Some(signal), ..Self::default() }
    }

    /// Asks for a `pong`.
    #[must_use]
    pub fn ping(id: u64) -> Self {
        Self { id, ping: Some(Empty {}), ..Self::default() }
    }

    /// Replaces the token.
    #[must_use]
    pub fn refresh(id: u64, token: impl Into<String>) -> Self {
        Self { id, refresh: Some(Refresh { token: token.into() }), ..Self::default() }
    }
}

impl From<(u64, Request)> for Command {
    fn from((id, request): (u64, Request)) -> Self {
        let command = Self { id, ..Self::default() };
        match request {
            Request::Connect(connect) => Self { connect: Some(connect), ..command },
            Request::Send(send) => Self { send: Some(send), ..command },
            Request::Ack(ack) => Self { ack: Some(ack), ..command },
            Request::Read(read) => Self { read: Some(read), ..command },
            Request::Sync(sync) => Self { sync: Some(sync), ..command },
            Request::Conversations(list) => Self { conversations: Some(list), ..command },
            Request::Typing(typing) => Self { typing: Some(typing), ..command },
            Request::Signal(signal) => Self { signal: Some(signal), ..command },
            Request::Ping => Self { ping: Some(Empty {}), ..command },
            Request::Refresh(refresh) => Self { refresh: Some(refresh), ..command },
        }
    }
}
