//! Packets inside whole server frames: encoded once, shared by every connection of the same format.
//!
//! ```text
//!  0        1          2 .. 4 .. 10
//! +--------+----------+------------------+-------------------+
//! | 8x FIN | length   | 16 or 64 bits    | payload           |
//! | opcode | no mask  | when length is   | one packet        |
//! |        |          | 126 or 127       |                   |
//! +--------+----------+------------------+-------------------+
//! ```

use bytes::Bytes;
use prost::Message as Prost;

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
    write_header(out, format, payload_len);
    let header_len = out.len() - start - payload_len;
    if let Some(frame) = out.get_mut(start..) {
        frame.rotate_right(header_len);
    }
}

fn write_header(out: &mut Vec<u8>, format: Format, len: usize) {
    out.push(if format.is_text() { 0x81 } else { 0x82 });
    match len {
        0..126 => out.push(len as u8),
        126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}
