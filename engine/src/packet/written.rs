//! The frame of a signal in protobuf, written in place.
//!
//! prost walks every field that a packet could have, twice. A signal is the one push that is made for a single reader
//! and no log, so what writing it costs is a good part of what it costs at all. A test compares it with prost's.

use prost::encoding::{encode_varint, encoded_len_varint};

use crate::websocket::{Opcode, write_frame_header};

/// Longest header of a frame.
const HEADER_BYTES_MAX: usize = 10;
/// The field of `ServerPacket` that holds a signal.
const SIGNAL: u8 = 9;

/// Appends the frame of a packet that holds this signal and nothing else. Empty texts are left out, as proto3 has it.
pub(super) fn append_signal(from: &str, call: &str, body: &str, out: &mut Vec<u8>) {
    let texts = [(2, call), (3, body), (4, from)];
    let signal = texts.iter().map(|(_, text)| if text.is_empty() { 0 } else { field_len(text.len()) }).sum();
    let packet = field_len(signal);
    let payload = encoded_len_varint(packet as u64) + packet;
    out.reserve(HEADER_BYTES_MAX + payload);
    write_frame_header(out, Opcode::Binary, payload);
    encode_varint(packet as u64, out);
    begin_field(SIGNAL, signal, out);
    for (number, text) in texts {
        if !text.is_empty() {
            begin_field(number, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Bytes of a field, numbered 1 to 15, that holds so many.
fn field_len(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64) + bytes
}

/// What stands before them: number and wire type, then the length.
fn begin_field(number: u8, bytes: usize, out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    encode_varint(bytes as u64, out);
}
