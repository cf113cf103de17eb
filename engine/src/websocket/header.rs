//! One frame header, and everything that can be wrong with it.
//!
//! ```text
//!  byte 0               byte 1           0, 2 or 8 bytes      4 bytes
//! +---+---+---+---+----+------+--------+--------------------+----------+
//! |FIN|RSV|RSV|RSV| op | MASK | length | extended length    | mask key |
//! | 1 | 1 | 1 | 1 | 4  |  1   |   7    | big endian         |          |
//! +---+---+---+---+----+------+--------+--------------------+----------+
//! ```

use std::io::Cursor;

use tungstenite::{
    Error,
    error::ProtocolError as TungsteniteError,
    protocol::frame::{
        FrameHeader,
        coding::{Control, Data, OpCode},
    },
};

use super::{frame::Opcode, protocol_error::ProtocolError};
use crate::limits::CONTROL_BYTES_MAX;

/// Longest header: two bytes, eight of length, four of mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// A client's frame header that keeps every rule which does not depend on earlier frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) is_final: bool,
    pub(super) opcode: Opcode,
    pub(super) mask_key: [u8; 4],
    /// Below 2^63; a control frame's is at most [`CONTROL_BYTES_MAX`].
    pub(super) length: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`, with its size. `None`: more bytes are needed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProtocolError> {
        let mut cursor = Cursor::new(bytes);
        match FrameHeader::parse(&mut cursor) {
            Ok(None) => Ok(None),
            Ok(Some((header, length))) => {
                let size = cursor.position() as usize;
                Self::check(&header, length, size).map(|header| Some((header, size)))
            }
            Err(Error::Protocol(TungsteniteError::InvalidOpcode(code))) => Err(ProtocolError::ReservedOpcode(code)),
            // Reading from memory has no other way to fail.
            Err(_) => Err(ProtocolError::Length),
        }
    }

    fn check(header: &FrameHeader, length: u64, size: usize) -> Result<Self, ProtocolError> {
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(ProtocolError::ReservedBits);
        }
        let mask_key = header.mask.ok_or(ProtocolError::Unmasked)?;
        let opcode = match header.opcode {
            OpCode::Data(Data::Continue) => Opcode::Continuation,
            OpCode::Data(Data::Text) => Opcode::Text,
            OpCode::Data(Data::Binary) => Opcode::Binary,
            OpCode::Control(Control::Close) => Opcode::Close,
            OpCode::Control(Control::Ping) => Opcode::Ping,
            OpCode::Control(Control::Pong) => Opcode::Pong,
            OpCode::Data(Data::Reserved(code)) | OpCode::Control(Control::Reserved(code)) => {
                return Err(ProtocolError::ReservedOpcode(code));
            }
        };
        // `len` is what the shortest form takes; the top bit must be 0 (§5.2).
        if size != header.len(length) || length > i64::MAX as u64 {
            return Err(ProtocolError::Length);
        }
        if matches!(opcode, Opcode::Close | Opcode::Ping | Opcode::Pong) {
            if !header.is_final {
                return Err(ProtocolError::ControlFragmented);
            }
            if length > CONTROL_BYTES_MAX as u64 {
                return Err(ProtocolError::ControlTooLong);
            }
        }
        Ok(Self { is_final: header.is_final, opcode, mask_key, length })
    }
}
