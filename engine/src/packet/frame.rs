//! Packets inside whole server frames: encoded once, shared by every connection of the same format.
//!
//! ```text
//! frame = header of RFC 6455 §5.2 (final, unmasked, text or binary) payload of one packet
//! ```

use bytes::Bytes;
use prost::Message as Prost;

use crate::websocket::{Opcode, write_frame_header};

use super::schema::ServerPacket;
use super::{Format, encode};

/// What JSON adds to the protobuf length of a usual message, and a header: so that most encodings
/// allocate once and little more than they hold.
const JSON_EXTRA_BYTES: usize = 160;
/// Longest length prefix and header.
const PROTOBUF_EXTRA_BYTES: usize = 20;

/// One whole WebSocket frame, header included, that holds this one packet.
#[must_use]
pub fn encode_frame(format: Format, packet: &ServerPacket) -> Bytes {
    let extra = if format.is_text() { JSON_EXTRA_BYTES } else { PROTOBUF_EXTRA_BYTES };
    let mut out = Vec::with_capacity(packet.encoded_len() + extra);
    append_frame(format, packet, &mut out);
    Bytes::from(out)
}

/// As [`encode_frame`], appended to a buffer.
pub fn append_frame(format: Format, packet: &ServerPacket, out: &mut Vec<u8>) {
    let start = out.len();
    encode(format, packet, out);
    // The length is known only now, so the header is written behind the payload and turned before it.
    let payload_len = out.len() - start;
    let opcode = if format.is_text() { Opcode::Text } else { Opcode::Binary };
    write_frame_header(out, opcode, payload_len);
    let header_len = out.len() - start - payload_len;
    if let Some(frame) = out.get_mut(start..) {
        frame.rotate_right(header_len);
    }
}
