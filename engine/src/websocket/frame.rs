//! Frames as they are written: by the server without a mask, by a client with one.

use bytes::Bytes;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Control, Data, OpCode},
};

use super::mask;
use crate::limits::CONTROL_BYTES_MAX;

/// What a frame carries (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation,
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
    /// The sender will send nothing more.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// Answers a ping, or just shows life.
    Pong,
}

impl From<Opcode> for OpCode {
    fn from(opcode: Opcode) -> Self {
        match opcode {
            Opcode::Continuation => Self::Data(Data::Continue),
            Opcode::Text => Self::Data(Data::Text),
            Opcode::Binary => Self::Data(Data::Binary),
            Opcode::Close => Self::Control(Control::Close),
            Opcode::Ping => Self::Control(Control::Ping),
            Opcode::Pong => Self::Control(Control::Pong),
        }
    }
}

/// One final, unmasked frame: what a server sends. The buffer has exactly its size.
///
/// The payload of a control frame must not pass [`CONTROL_BYTES_MAX`]; a pong's is a ping's.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    let header = header(opcode, None);
    let mut out = Vec::with_capacity(header.len(payload.len() as u64) + payload.len());
    write(&mut out, &header, payload.len());
    out.extend_from_slice(payload);
    Bytes::from(out)
}

/// Appends the header of one final, unmasked frame whose payload the caller writes behind it: 2 bytes
/// up to a payload of 125, 4 up to 65,535, else 10.
pub fn write_frame_header(out: &mut Vec<u8>, opcode: Opcode, payload_len: usize) {
    write(out, &header(opcode, None), payload_len);
}

/// A server's close frame. The reason is for people; it is cut to the 123 bytes that fit, between
/// characters. (`frame(Opcode::Close, &[])` answers a close that had no code.)
#[must_use]
pub fn close_frame(code: u16, reason: &str) -> Bytes {
    let reason = reason.get(..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)).unwrap_or_default();
    let mut payload = Vec::with_capacity(2 + reason.len());
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(reason.as_bytes());
    frame(Opcode::Close, &payload)
}

/// One final frame as a client sends it, for tests and tools that speak to a server by hand.
#[must_use]
pub fn client_frame(opcode: Opcode, payload: &[u8], mask_key: [u8; 4]) -> Vec<u8> {
    let header = header(opcode, Some(mask_key));
    let mut out = Vec::with_capacity(header.len(payload.len() as u64) + payload.len());
    write(&mut out, &header, payload.len());
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(payload) = out.get_mut(start..) {
        mask::apply(payload, mask_key, 0);
    }
    out
}

fn header(opcode: Opcode, mask: Option<[u8; 4]>) -> FrameHeader {
    FrameHeader { is_final: true, opcode: opcode.into(), mask, ..FrameHeader::default() }
}

fn write(out: &mut Vec<u8>, header: &FrameHeader, payload_len: usize) {
    // Writing into memory has no way to fail.
    let _ = header.format(payload_len as u64, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_takes_as_few_bytes_as_its_length_allows() {
        for (length, header) in [
            (0, vec![0x81, 0]),
            (125, vec![0x81, 125]),
            (126, vec![0x81, 126, 0, 126]),
            (65_535, vec![0x81, 126, 0xff, 0xff]),
            (65_536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let mut out = Vec::new();
            write_frame_header(&mut out, Opcode::Text, length);
            assert_eq!(out, header, "length {length}");
            let whole = frame(Opcode::Text, &vec![b'x'; length]);
            assert_eq!(whole.len(), header.len() + length);
            assert_eq!(whole[..header.len()], header);
        }
    }

    #[test]
    fn the_examples_of_the_rfc_are_written_as_printed() {
        // RFC 6455 §5.7
        assert_eq!(&frame(Opcode::Text, b"Hello")[..], b"\x81\x05Hello");
        assert_eq!(&frame(Opcode::Ping, b"Hello")[..], b"\x89\x05Hello");
        assert_eq!(
            client_frame(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]),
            [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]
        );
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        assert_eq!(&close_frame(1001, "bye")[..], b"\x88\x05\x03\xe9bye");
        let long = close_frame(1001, &"é".repeat(100));
        assert_eq!(long.len(), 2 + 2 + 122, "123 bytes would split the 62nd character");
        assert!(std::str::from_utf8(&long[4..]).is_ok());
    }
}
