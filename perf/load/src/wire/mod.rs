//! The client's side of the protocol, made cheap: frames whose fields are patched in place, packets read
//! without allocating.
//!
//! | File | Holds |
//! |---|---|
//! | `frames` | WebSocket frames: the server's read, the client's appended |
//! | `template` | a send prepared once, patched for each message |
//! | `body` | what a message carries to be checked and timed at the other end |
//! | `protobuf`, `json` | the server's packets, as far as a load generator needs them |
//!
//! Setting up uses the engine's codec; only what happens once a message is written out here. A test reads
//! what the engine writes with both.

pub(crate) mod body;
pub(crate) mod frames;
mod json;
mod protobuf;
pub(crate) mod template;

use ringway_engine::packet::schema::Command;
use ringway_engine::packet::{Format, encode_command};

/// A packet of the server; texts are borrowed bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// Authenticated.
    Connected,
    /// A message is durable.
    Sent {
        /// Id of the command.
        id: u64,
        /// Its number.
        seq: u64,
    },
    /// A message, live or of a backlog page.
    Message(Message<'a>),
    /// A call signal.
    Signal {
        /// Sender.
        from: &'a [u8],
        /// As sent.
        body: &'a [u8],
    },
    /// Refused.
    Error {
        /// Id of the command, 0 when unknown.
        id: u64,
        /// See the protocol's table.
        code: u32,
    },
    /// Answer to a ping.
    Pong,
    /// Answer to a command that changes something: it is done.
    Done {
        /// Id of the command.
        id: u64,
    },
    /// Somebody received or read up to a number.
    Receipt,
    /// Somebody is typing.
    Typing,
    /// The end of a page, whose messages came before.
    Page {
        /// Id of the command; 0: it was pushed.
        id: u64,
        /// Conversation.
        conv: &'a [u8],
        /// Whether there is more.
        more: bool,
    },
    /// Deliveries of a conversation were dropped by the server.
    Resync {
        /// Conversation.
        conv: &'a [u8],
    },
    /// Before `Connected`: what was missed of a conversation does not follow by itself.
    Unrecovered {
        /// Conversation.
        conv: &'a [u8],
    },
    /// Everything else.
    Other,
}

/// A stored message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Conversation.
    pub(crate) conv: &'a [u8],
    /// Epoch of `seq`.
    pub(crate) epoch: u64,
    /// Number in the conversation.
    pub(crate) seq: u64,
    /// Sender, empty for the server.
    pub(crate) from: &'a [u8],
    /// The sender's id of it.
    pub(crate) client_msg_id: &'a [u8],
    /// As sent.
    pub(crate) body: &'a [u8],
}

/// The payload cannot be read as the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// Reads the payload of one WebSocket message; items of pages come as messages.
///
/// # Errors
/// [`Unreadable`]; `on` has been called for what stood before.
pub(crate) fn read(format: Format, payload: &[u8], on: &mut dyn FnMut(&Packet<'_>)) -> Result<(), Unreadable> {
    match format {
        Format::Json => json::read(payload, on),
        Format::Protobuf => protobuf::read(payload, on),
    }
}

/// Appends a command as one masked frame. Allocates; for what is not sent once a message.
pub(crate) fn append_command(format: Format, command: &Command, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    encode_command(format, command, &mut payload);
    frames::append(out, frames::data_opcode(format), &payload);
}

/// Appends an `ack`.
pub(crate) fn append_ack(format: Format, conv: &[u8], epoch: u64, seq: u64, out: &mut Vec<u8>) {
    match format {
        Format::Json => json::append_ack(conv, epoch, seq, out),
        Format::Protobuf => protobuf::append_ack(conv, epoch, seq, out),
    }
}

#[cfg(test)]
mod tests {
    use ringway_engine::packet::encode;
    use ringway_engine::packet::schema::{self, ServerPacket};

    use super::*;

    fn message(seq: u64) -> schema::Message {
        schema::Message {
            conv: "p2p:a:b".into(),
            msg_id: 7_300_000_000_000_000_001,
            epoch: 3,
            seq,
            from: "a".into(),
            client_msg_id: "c-1".into(),
            kind: "text".into(),
            body: "say \"hi\"\n".into(),
            enc: String::new(),
            ts: 1_790_000_000_123,
        }
    }

    fn check(packets: &[ServerPacket], expected: &[Packet<'_>]) {
        for format in Format::ALL {
            let mut payload = Vec::new();
            for packet in packets {
                if format == Format::Json && !payload.is_empty() {
                    payload.push(b'\n');
                }
                encode(format, packet, &mut payload);
            }
            let mut at = 0;
            read(format, &payload, &mut |packet| {
                assert_eq!(packet, &expected[at], "{format:?}");
                at += 1;
            })
            .unwrap();
            assert_eq!(at, expected.len(), "{format:?}");
            assert_eq!(read(format, &payload[..payload.len() - 1], &mut |_| {}), Err(Unreadable), "{format:?}");
        }
    }

    fn read_as(seq: u64) -> Packet<'static> {
        Packet::Message(Message {
            conv: b"p2p:a:b",
            epoch: 3,
            seq,
            from: b"a",
            client_msg_id: b"c-1",
            body: b"say \"hi\"\n",
        })
    }

    #[test]
    fn an_acknowledgement_is_what_the_engine_would_write() {
        for format in Format::ALL {
            for (epoch, seq) in [(1, 1), (1, 127), (2, 128), (300, u64::from(u32::MAX))] {
                let point = schema::Point { conv: "p2p:a:b".into(), epoch, seq };
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                append_ack(format, b"p2p:a:b", epoch, seq, &mut ours);
                append_command(format, &Command { ack: Some(point), ..Command::default() }, &mut theirs);
                assert_eq!(ours, theirs, "{format:?} {epoch} {seq}");
            }
        }
    }

    #[test]
    fn what_the_engine_writes_is_read_in_both_formats() {
        let page =
            schema::Messages { conv: "p2p:a:b".into(), items: vec![message(1), message(2)], head: 2, more: true };
        let sent = schema::Sent { conv: "p2p:a:b".into(), msg_id: 1, epoch: 3, seq: 9, ts: 5 };
        let receipt = schema::Receipt { conv: "p2p:a:b".into(), kind: "read".into(), uid: "b".into(), seq: 3 };
        let signal = schema::Signal { to: None, call: "x".into(), body: "offer".into(), from: "b".into() };
        let recovered = [("p2p:a:b".to_owned(), true), ("p2p:a:c".to_owned(), false)].into();
        let connected = schema::Connected { uid: "a".into(), recovered, ..schema::Connected::default() };
        let packets = [
            ServerPacket { id: 1 << 35, sent: Some(sent), ..ServerPacket::default() },
            ServerPacket { message: Some(message(300)), ..ServerPacket::default() },
            ServerPacket { id: 7, messages: Some(page), ..ServerPacket::default() },
            ServerPacket { receipt: Some(receipt), ..ServerPacket::default() },
            ServerPacket { signal: Some(signal), ..ServerPacket::default() },
            ServerPacket::error(7, ringway_engine::errors::ErrorCode::Busy, "full"),
            ServerPacket { id: 1, connected: Some(connected), ..ServerPacket::default() },
            ServerPacket { resync: Some(schema::Resync { conv: "group:1".into() }), ..ServerPacket::default() },
            ServerPacket { id: 9, ok: Some(schema::Empty {}), ..ServerPacket::default() },
            ServerPacket { typing: Some(schema::Typing::default()), ..ServerPacket::default() },
        ];
        let expected = [
            Packet::Sent { id: 1 << 35, seq: 9 },
            read_as(300),
            read_as(1),
            read_as(2),
            Packet::Page { id: 7, conv: b"p2p:a:b", more: true },
            Packet::Receipt,
            Packet::Signal { from: b"b", body: b"offer" },
            Packet::Error { id: 7, code: 4291 },
            Packet::Unrecovered { conv: b"p2p:a:c" },
            Packet::Connected,
            Packet::Resync { conv: b"group:1" },
            Packet::Done { id: 9 },
            Packet::Typing,
        ];
        check(&packets, &expected);
    }
}
