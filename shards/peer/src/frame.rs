//! The bytes around a body. Pure: no socket, no key, no clock.
//!
//! ```text
//!  0      2         3      4        8            16        20       36
//! +------+---------+------+--------+------------+---------+--------+-------------------+
//! | "RP" | version | kind | bytes  | request id | CRC-32C | tag    | body: rkyv archive|
//! |      |  u8     |  u8  | of body| u64 LE     | u32 LE  | 16 B   | or nothing        |
//! |      |         |      | u32 LE |            |         |        |                   |
//! +------+---------+------+--------+------------+---------+--------+-------------------+
//!  \------------ covered by the CRC ----------/                     \- covered as well -/
//!  \----------------- covered by the tag -----------------/         \- covered as well -/
//! ```
//!
//! The length is judged from the header, before room is made for the body. rkyv's own check passes most single-bit
//! flips, so the CRC is not optional; the tag (see `seal`) is what keeps others out. A greeting has version 0 and no
//! tag; its layout stays as it is for good, because it comes before anything is agreed on.

use bytes::{Buf, BufMut};
use crc_fast::{CrcAlgorithm, Digest};
use thiserror::Error;

/// Bytes in front of a body.
pub(crate) const HEADER_BYTES: usize = 36;
/// Bytes of a tag.
pub(crate) const TAG_BYTES: usize = 16;
const MAGIC: [u8; 2] = *b"RP";
/// What stands before the CRC.
const SUMMED_BYTES: usize = 16;
/// What stands before the tag.
const SEALED_BYTES: usize = 20;

/// Kinds of frames; a number is never used for another thing. A new shape of a body is a new kind.
pub(crate) mod kind {
    /// First frame of each side.
    pub(crate) const HELLO: u8 = 1;
    /// Second frame of each side.
    pub(crate) const PROOF: u8 = 2;
    pub(crate) const DELIVER: u8 = 16;
    pub(crate) const TRANSIENT: u8 = 17;
    pub(crate) const KICK: u8 = 18;
    pub(crate) const NUDGE: u8 = 19;
    pub(crate) const MISSED: u8 = 20;
    pub(crate) const PING: u8 = 64;
    pub(crate) const SIGNAL: u8 = 65;
    pub(crate) const RESYNC: u8 = 66;
    pub(crate) const SUBMIT: u8 = 67;
    pub(crate) const TRACE: u8 = 68;
    pub(crate) const ONLINE: u8 = 69;
    pub(crate) const DONE: u8 = 128;
    pub(crate) const SENT: u8 = 129;
    pub(crate) const TEMPORARY: u8 = 130;
    pub(crate) const REFUSED: u8 = 131;
    pub(crate) const TRACED: u8 = 132;
    pub(crate) const ARE_ONLINE: u8 = 133;
}

/// What a frame is for, which its number tells even where the kind itself is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// 0–15: only before the two sides have proved themselves.
    Greeting,
    /// 16–63: one-way; an unknown one is skipped.
    Word,
    /// 64–127: an unknown one is answered `Refused`.
    Ask,
    /// 128–191: an unknown one fails its ask.
    Reply,
    /// 192–255: nothing; the connection is closed.
    Reserved,
}

/// The class of a kind.
pub(crate) fn class(kind: u8) -> Class {
    match kind {
        0..=15 => Class::Greeting,
        16..=63 => Class::Word,
        64..=127 => Class::Ask,
        128..=191 => Class::Reply,
        192.. => Class::Reserved,
    }
}

/// Why bytes are no frame. The connection is closed: where the next frame would begin is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    /// Not our protocol.
    #[error("not a peer frame")]
    Magic,
    /// Longer than the bound.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// Damaged on the way.
    #[error("a frame fails its checksum")]
    Checksum,
}

/// What stands in front of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Protocol version; 0 in greetings.
    pub(crate) version: u8,
    /// See [`kind`].
    pub(crate) kind: u8,
    /// Names an ask, and the reply to it; 0 in words.
    pub(crate) request: u64,
}

/// A whole frame at the start of a buffer. Its checksum is right; its tag has not been looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) head: Head,
    /// The header's bytes that the tag covers.
    pub(crate) sealed: &'a [u8],
    pub(crate) tag: [u8; TAG_BYTES],
    pub(crate) body: &'a [u8],
    /// Bytes of all of it.
    pub(crate) bytes: usize,
}

/// The frame that `buffer` starts with; `None` while it is not all there.
///
/// # Errors
/// See [`FrameError`]; as early as the bytes at hand tell.
pub(crate) fn decode(buffer: &[u8], body_bytes_max: usize) -> Result<Option<Frame<'_>>, FrameError> {
    if !buffer.iter().zip(MAGIC).all(|(found, wanted)| *found == wanted) {
        return Err(FrameError::Magic);
    }
    let Some((header, rest)) = buffer.split_at_checked(HEADER_BYTES) else { return Ok(None) };
    let (sealed, tag) = header.split_at(SEALED_BYTES);
    let (summed, mut crc) = sealed.split_at(SUMMED_BYTES);
    let mut fields = summed;
    fields.advance(MAGIC.len());
    let (version, kind) = (fields.get_u8(), fields.get_u8());
    let length = fields.get_u32_le() as usize;
    let request = fields.get_u64_le();
    if length > body_bytes_max {
        return Err(FrameError::TooLong(length));
    }
    let Some(body) = rest.get(..length) else { return Ok(None) };
    if checksum(summed, body) != crc.get_u32_le() {
        return Err(FrameError::Checksum);
    }
    let tag = <[u8; TAG_BYTES]>::try_from(tag).unwrap_or_default();
    Ok(Some(Frame { head: Head { version, kind, request }, sealed, tag, body, bytes: HEADER_BYTES + length }))
}

/// Appends a frame. `tag` is given the header's bytes before the tag, and the body.
pub(crate) fn encode(out: &mut Vec<u8>, head: Head, body: &[u8], tag: impl FnOnce(&[u8], &[u8]) -> [u8; TAG_BYTES]) {
    let start = out.len();
    out.put_slice(&MAGIC);
    out.put_u8(head.version);
    out.put_u8(head.kind);
    // Bodies are bounded where they are made.
    out.put_u32_le(body.len() as u32);
    out.put_u64_le(head.request);
    let crc = checksum(out.get(start..).unwrap_or_default(), body);
    out.put_u32_le(crc);
    let tag = tag(out.get(start..).unwrap_or_default(), body);
    out.put_slice(&tag);
    out.put_slice(body);
}

/// CRC-32C (RFC 3720) of both parts.
fn checksum(summed: &[u8], body: &[u8]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(summed);
    digest.update(body);
    // A 32-bit CRC in the low half of the crate's common result type.
    (digest.finalize() & u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 1_024;

    fn bytes(kind: u8, request: u64, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, Head { version: 1, kind, request }, body, |sealed, body| {
            assert_eq!((sealed.len(), body.len()), (SEALED_BYTES, body.len()));
            [7; TAG_BYTES]
        });
        out
    }

    proptest! {
        #[test]
        fn a_frame_survives_its_encoding(kind: u8, request: u64, body in prop::collection::vec(any::<u8>(), 0..MAX)) {
            let mut stream = bytes(kind, request, &body);
            let length = stream.len();
            stream.extend_from_slice(b"RP");
            let frame = decode(&stream, MAX).unwrap().unwrap();
            prop_assert_eq!(frame.head, Head { version: 1, kind, request });
            prop_assert_eq!((frame.body, frame.bytes, frame.tag), (&body[..], length, [7; TAG_BYTES]));
            for cut in [1, HEADER_BYTES - 1, length - 1] {
                prop_assert_eq!(decode(&stream[..cut], MAX), Ok(None));
            }
        }

        #[test]
        fn a_flipped_bit_outside_the_tag_is_seen(
            body in prop::collection::vec(any::<u8>(), 0..MAX), at in any::<prop::sample::Index>(), bit in 0..8_u8,
        ) {
            let mut frame = bytes(kind::NUDGE, 3, &body);
            let at = at.index(frame.len());
            prop_assume!(!(SEALED_BYTES..HEADER_BYTES).contains(&at));
            frame[at] ^= 1 << bit;
            // A length that became longer only waits for more, which a connection does not do for ever.
            let seen = decode(&frame, MAX);
            prop_assert!(matches!(seen, Err(_) | Ok(None)), "{seen:?}");
        }

        #[test]
        fn any_bytes_are_refused_or_waited_for(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes, MAX);
        }
    }

    #[test]
    fn a_length_past_the_bound_is_refused_from_the_header() {
        let frame = bytes(kind::NUDGE, 0, &[0; 11]);
        assert_eq!(decode(&frame[..HEADER_BYTES], 10), Err(FrameError::TooLong(11)));
        assert_eq!(decode(&frame[..HEADER_BYTES], 11), Ok(None));
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_byte() {
        assert_eq!(decode(b"G", MAX), Err(FrameError::Magic));
        assert_eq!(decode(b"RQ", MAX), Err(FrameError::Magic));
    }
}
