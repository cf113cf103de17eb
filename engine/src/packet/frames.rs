//! Where a shard's frames are written: into blocks that are used again, so that a frame costs no allocation.
//!
//! Owned by the shard, called on its thread. A frame is encoded into a buffer of its own, then copied behind the
//! others into a block; who is given a frame shares the block, and it is written anew when nobody holds any of it.
//! A frame that is kept, by a peer that does not read, keeps `BLOCK_BYTES`; a large frame gets memory of its own.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use crate::conversation::Formats;
use crate::effect::DeliveryItem;
use crate::event::MessageEvent;

use super::schema::{Receipt, Sent, ServerPacket, Signal};
use super::written::append_signal;
use super::{Format, append_frame};

/// Bytes of a block.
const BLOCK_BYTES: usize = 16 * 1024;
/// What is longer has no place in one.
const SHARED_BYTES_MAX: usize = BLOCK_BYTES / 4;

/// The frames of a shard; see the module's head.
#[derive(Debug, Default)]
pub struct Frames {
    open: Open,
    packets: Packets,
    block: BytesMut,
    /// The block before it, perhaps held by nobody by now.
    before: BytesMut,
}

/// What is written and not taken yet.
#[derive(Debug, Default)]
struct Open {
    json: Vec<u8>,
    protobuf: Vec<u8>,
}

/// Packets that are filled again and again, so that their texts keep their room.
#[derive(Debug, Default)]
struct Packets {
    message: ServerPacket,
    sent: ServerPacket,
    signal: ServerPacket,
    receipt: ServerPacket,
}

impl Open {
    fn of(&mut self, format: Format) -> &mut Vec<u8> {
        match format {
            Format::Json => &mut self.json,
            Format::Protobuf => &mut self.protobuf,
        }
    }

    fn append(&mut self, formats: Formats, packet: &ServerPacket) -> [Range<u32>; 2] {
        [(formats.json, Format::Json), (formats.protobuf, Format::Protobuf)].map(|(is_read, format)| {
            if !is_read {
                return 0..0;
            }
            let open = self.of(format);
            let start = open.len() as u32;
            append_frame(format, packet, open);
            start..open.len() as u32
        })
    }
}

impl Frames {
    /// One whole WebSocket frame that holds this one packet.
    pub fn encode(&mut self, format: Format, packet: &ServerPacket) -> Bytes {
        append_frame(format, packet, self.open.of(format));
        self.take(format)
    }

    /// Appends the frame of a message with its number, in the formats that are read; its place in each, JSON first.
    pub fn append_message(&mut self, formats: Formats, event: &MessageEvent, epoch: u64, seq: u64) -> [Range<u32>; 2] {
        let packet = &mut self.packets.message;
        event.fill(epoch, seq, packet.message.get_or_insert_default());
        self.open.append(formats, packet)
    }

    /// The answer to a `send`.
    pub fn sent(&mut self, format: Format, id: u64, conv: &str, item: &DeliveryItem) -> Bytes {
        let packet = &mut self.packets.sent;
        packet.id = id;
        let Sent { conv: text, msg_id, epoch, seq, ts } = packet.sent.get_or_insert_default();
        (*msg_id, *epoch, *seq, *ts) = (item.msg_id, item.epoch, item.seq, item.ts_ms);
        fill(text, conv);
        append_frame(format, packet, self.open.of(format));
        self.take(format)
    }

    /// A call's signal.
    pub fn signal(&mut self, format: Format, from: &str, call: &str, body: &str) -> Bytes {
        match format {
            Format::Protobuf => append_signal(from, call, body, &mut self.open.protobuf),
            Format::Json => {
                let packet = &mut self.packets.signal;
                let signal: &mut Signal = packet.signal.get_or_insert_default();
                fill(&mut signal.from, from);
                fill(&mut signal.call, call);
                fill(&mut signal.body, body);
                append_frame(format, packet, &mut self.open.json);
            }
        }
        self.take(format)
    }

    /// Word that a device has received up to a number.
    pub fn delivered(&mut self, format: Format, conv: &str, uid: &str, seq: u64) -> Bytes {
        let packet = &mut self.packets.receipt;
        let receipt: &mut Receipt = packet.receipt.get_or_insert_default();
        fill(&mut receipt.conv, conv);
        fill(&mut receipt.kind, "delivered");
        fill(&mut receipt.uid, uid);
        receipt.seq = seq;
        append_frame(format, packet, self.open.of(format));
        self.take(format)
    }

    /// What was appended in a format.
    pub fn take(&mut self, format: Format) -> Bytes {
        let open = self.open.of(format);
        let length = open.len();
        if length > SHARED_BYTES_MAX {
            return Bytes::from(std::mem::take(open));
        }
        if length == 0 {
            return Bytes::new();
        }
        if self.block.capacity() < length {
            // The block before, if nobody holds any of it, else a new one.
            std::mem::swap(&mut self.block, &mut self.before);
            if !self.block.try_reclaim(BLOCK_BYTES) {
                self.block = BytesMut::with_capacity(BLOCK_BYTES);
            }
        }
        self.block.extend_from_slice(open);
        open.clear();
        self.block.split().freeze()
    }
}

fn fill(text: &mut String, from: &str) {
    text.clear();
    text.push_str(from);
}

#[cfg(test)]
mod tests {
    use super::super::schema::Message;
    use super::super::{encode_frame, samples};
    use super::*;

    #[test]
    fn a_frame_is_the_same_wherever_it_is_written_and_stays_so() {
        let mut frames = Frames::default();
        let mut given = Vec::new();
        for round in 0..200 {
            for format in Format::ALL {
                for packet in samples::server_packets() {
                    given.push((frames.encode(format, &packet), encode_frame(format, &packet)));
                }
                let body = "x".repeat(round * 64);
                let large = ServerPacket::message(Message { body, ..samples::message() });
                given.push((frames.encode(format, &large), encode_frame(format, &large)));
            }
            // Now and then nobody holds anything, and blocks are written anew.
            if round % 7 == 0 {
                for (frame, expected) in given.drain(..) {
                    assert_eq!(frame, expected);
                }
            }
        }
        assert!(given.iter().all(|(frame, expected)| frame == expected));
    }

    #[test]
    fn a_packet_that_is_filled_again_keeps_nothing_of_the_last_one() {
        let mut frames = Frames::default();
        let bodies = [1, 127, 128, 16_383, 16_384, 65_535].map(|length| "x".repeat(length));
        let long = bodies.iter().map(|body| ("alice", "call-1", body.as_str()));
        for (from, call, body) in long.chain([("b", "", "x"), ("", "c", ""), ("", "", "")]) {
            for format in Format::ALL {
                let signal = Signal { to: None, call: call.into(), body: body.into(), from: from.into() };
                let expected = encode_frame(format, &ServerPacket::signal(signal));
                assert_eq!(frames.signal(format, from, call, body), expected);
            }
        }
        for (conv, uid, seq) in [("p2p:alice:bob", "alice", 7), ("p2p:a:b", "b", 1)] {
            let receipt = Receipt { conv: conv.into(), kind: "delivered".into(), uid: uid.into(), seq };
            let expected = encode_frame(Format::Protobuf, &ServerPacket::receipt(receipt));
            assert_eq!(frames.delivered(Format::Protobuf, conv, uid, seq), expected);
        }
    }
}
