//! Packets of the client protocol: payload bytes of WebSocket messages to commands and back.
//!
//! Owns the two wire formats and nothing else. It is pure and keeps no state between payloads but room (`frames`); it
//! checks form only. What a command means, who may give it and whether its ids are well formed is
//! the session's business. `PROTOCOL.md` describes all of it for the authors of clients.
//!
//! Three outcomes are told apart while decoding: a [`Request`]; a [`Refusal`], answered by an error
//! while the connection lives; and [`NotTheProtocol`], which ends the connection.

mod asked;
mod construct;
mod frame;
mod frames;
mod json;
mod protobuf;
#[cfg(test)]
mod samples;
mod scan;
pub mod schema;
mod written;

use std::borrow::Cow;

use thiserror::Error;

use crate::errors::ErrorCode;
use crate::limits::COMMANDS_PER_MESSAGE_MAX;
use schema::{Command, Connect, ListConversations, Point, Read, Refresh, Send, ServerPacket, Signal, Sync, Typing};

pub use asked::{Asked, PointRef, SendRef, SignalRef, TargetRef};
pub use frame::{append_frame, encode_frame};
pub use frames::Frames;

/// How packets are written on a connection, agreed by the WebSocket subprotocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// `ringway.v1.json`: text frames, one or more objects split by newline.
    Json,
    /// `ringway.v1.protobuf`: binary frames, varint-delimited messages.
    Protobuf,
}

impl Format {
    /// Both formats, the one a server prefers first.
    pub const ALL: [Self; 2] = [Self::Protobuf, Self::Json];

    /// The name in `Sec-WebSocket-Protocol`.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "ringway.v1.json",
            Self::Protobuf => "ringway.v1.protobuf",
        }
    }

    /// The format of one name in `Sec-WebSocket-Protocol`; names are case-sensitive.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.subprotocol() == name)
    }

    /// Whether its WebSocket messages are text; the other kind is closed 1003.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Json)
    }
}

/// A command whose form is right.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Authenticate and resume.
    Connect(Connect),
    /// Send a durable message.
    Send(Send),
    /// Acknowledge delivery.
    Ack(Point),
    /// Mark read.
    Read(Read),
    /// Read a page of a conversation.
    Sync(Sync),
    /// List conversations.
    Conversations(ListConversations),
    /// Tell that the user is typing.
    Typing(Typing),
    /// Signal a call.
    Signal(Signal),
    /// Ask for a `pong`.
    Ping,
    /// Replace the token.
    Refresh(Refresh),
}

/// A command that is answered by an error; the connection lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The command's id, 0 where it could not be read.
    pub id: u64,
    /// Why.
    pub code: ErrorCode,
    /// For people. Never holds text of the command other than its name.
    pub detail: Cow<'static, str>,
}

impl Refusal {
    /// The answer to the client.
    #[must_use]
    pub fn reply(&self) -> ServerPacket {
        ServerPacket::error(self.id, self.code, self.detail.clone())
    }
}

/// The bytes are no protocol at all: the connection is closed with `NOT_THE_PROTOCOL`. The text says
/// why and holds nothing of the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotTheProtocol(&'static str);

/// Where commands that were read go: each with its id, or its refusal.
type OnCommand<'a, 'p> = &'a mut dyn FnMut(Result<(u64, Asked<'p>), Refusal>);

/// Reads the payload of one WebSocket message and calls `on` for each command, in order. `payload`
/// is what the framing layer passed on, so text is known to be UTF-8; if it is not, nothing worse
/// than an error follows.
///
/// # Errors
/// The payload is not the protocol, or holds more than [`COMMANDS_PER_MESSAGE_MAX`] commands. `on`
/// has then been called for what stood before.
pub fn read_commands<'p>(format: Format, payload: &'p [u8], on: OnCommand<'_, 'p>) -> Result<(), NotTheProtocol> {
    match format {
        Format::Json => json::read_commands(payload, on),
        Format::Protobuf => protobuf::read_commands(payload, on),
    }
}

/// As [`read_commands`], for who keeps the commands.
///
/// # Errors
/// As there.
pub fn decode_commands(
    format: Format,
    payload: &[u8],
    on: &mut dyn FnMut(Result<(u64, Request), Refusal>),
) -> Result<(), NotTheProtocol> {
    read_commands(format, payload, &mut |read| on(read.map(|(id, asked)| (id, asked.into_owned()))))
}

/// Appends one packet to a payload. In JSON the caller puts a newline between two of them.
pub fn encode(format: Format, packet: &ServerPacket, out: &mut Vec<u8>) {
    match format {
        Format::Json => json::encode(packet, out),
        Format::Protobuf => protobuf::encode(packet, out),
    }
}

/// The client's side of [`encode`].
pub fn encode_command(format: Format, command: &Command, out: &mut Vec<u8>) {
    match format {
        Format::Json => json::encode(command, out),
        Format::Protobuf => protobuf::encode(command, out),
    }
}

/// The client's side of [`decode_commands`]. A packet of a newer server is handed over with none of
/// the known fields set, for the client to pass over.
///
/// # Errors
/// The payload is not the protocol; `on` has been called for what stood before.
pub fn decode_server(format: Format, payload: &[u8], on: &mut dyn FnMut(ServerPacket)) -> Result<(), NotTheProtocol> {
    match format {
        Format::Json => json::decode_server(payload, on),
        Format::Protobuf => protobuf::decode_server(payload, on),
    }
}

/// Counts the commands of one payload against the bound.
#[derive(Default)]
struct Count(usize);

impl Count {
    fn one_more(&mut self) -> Result<(), NotTheProtocol> {
        self.0 += 1;
        if self.0 > COMMANDS_PER_MESSAGE_MAX { Err(NotTheProtocol("too many commands in one message")) } else { Ok(()) }
    }
}

const NO_COMMAND: &str = "the command is missing";
const SEVERAL_COMMANDS: &str = "more than one command under one id";

#[cfg(test)]
mod proto_tests;
#[cfg(test)]
mod tests;
