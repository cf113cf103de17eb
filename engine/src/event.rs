//! Events of the durable log (journal, queue): what is written before anyone is told.
//!
//! ```text
//!  0      2         3      4            8          12
//! +------+---------+------+------------+-----------+----------------------------+
//! | "RW" | version | kind | body bytes | CRC-32C   | body: rkyv archive          |
//! |      |  u8     |  u8  | u32 LE     | of body   |                            |
//! +------+---------+------+------------+-----------+----------------------------+
//! ```
//!
//! rkyv's own check passes most single-bit flips, so the CRC is not optional. A new shape of a body
//! is a new version; decoders keep the old ones.

use std::cell::RefCell;

use bytes::Bytes;
use compact_str::CompactString;
use rkyv::{Archive, Deserialize, Serialize, rancor::Error as RkyvError, util::AlignedVec};
use thiserror::Error;

use crate::packet::schema::Message;

const MAGIC: [u8; 2] = *b"RW";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 12;
const KIND_MESSAGE: u8 = 1;
const KIND_READ: u8 = 2;

/// A durable event of one conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message that waits for its number.
    Message(MessageEvent),
    /// Somebody read up to a sequence.
    Read(ReadEvent),
}

/// A message as its hub accepted it; the number comes after it is durable.
///
/// What is short as a rule (up to 24 bytes) lies in place: a message is made on one thread and dropped on another, which
/// is what costs an allocator most. In the log they are strings like any other.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct MessageEvent {
    /// Conversation id.
    pub conv: CompactString,
    /// Snowflake.
    pub msg_id: u64,
    /// Sender's user id; empty for the server.
    pub from: CompactString,
    /// The sender's id for it.
    pub client_msg_id: CompactString,
    /// Message type.
    pub kind: CompactString,
    /// Body.
    pub body: String,
    /// Body encoding, empty or `deflate`.
    pub enc: CompactString,
    /// Unix milliseconds at which the hub took it.
    pub ts_ms: u64,
}

/// A read mark.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ReadEvent {
    /// Conversation id.
    pub conv: String,
    /// Who read.
    pub uid: String,
    /// Up to and including.
    pub seq: u64,
    /// Unix milliseconds.
    pub ts_ms: u64,
}

/// Why bytes are not an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EventError {
    /// Shorter than the header, or than the header says.
    #[error("event is cut short")]
    Short,
    /// Not an event at all.
    #[error("event has no magic")]
    Magic,
    /// Written by a newer version.
    #[error("event has unknown version {0} or kind {1}")]
    Unknown(u8, u8),
    /// Damaged.
    #[error("event fails its checksum or structure check")]
    Damaged,
}

impl MessageEvent {
    /// The message as clients and the archive see it, once numbered.
    #[must_use]
    pub fn to_message(&self, epoch: u64, seq: u64) -> Message {
        let mut message = Message::default();
        self.fill(epoch, seq, &mut message);
        message
    }

    /// As [`MessageEvent::to_message`], in place of another message, whose texts give their room.
    pub fn fill(&self, epoch: u64, seq: u64, message: &mut Message) {
        let Self { conv, msg_id, from, client_msg_id, kind, body, enc, ts_ms } = self;
        let texts = [
            (&mut message.conv, conv),
            (&mut message.from, from),
            (&mut message.client_msg_id, client_msg_id),
            (&mut message.kind, kind),
            (&mut message.enc, enc),
        ];
        for (text, new) in texts {
            text.clear();
            text.push_str(new);
        }
        message.body.clone_from(body);
        (message.msg_id, message.epoch, message.seq, message.ts) = (*msg_id, epoch, seq, *ts_ms);
    }

    /// The event of a message that was numbered elsewhere.
    #[must_use]
    pub fn of_message(message: Message) -> Self {
        let Message { conv, msg_id, from, client_msg_id, kind, body, enc, ts, epoch: _, seq: _ } = message;
        Self {
            conv: conv.into(),
            msg_id,
            from: from.into(),
            client_msg_id: client_msg_id.into(),
            kind: kind.into(),
            body,
            enc: enc.into(),
            ts_ms: ts,
        }
    }
}

impl Event {
    /// The bytes that go into the log.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Message(event) => encode_message(event),
            Self::Read(event) => framed(KIND_READ, |body| rkyv::api::high::to_bytes_in(event, body)),
        }
    }

    /// Checks header, checksum and structure.
    ///
    /// # Errors
    /// See [`EventError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, EventError> {
        let (header, body) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(EventError::Short)?;
        let [m0, m1, version, kind, l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        if [m0, m1] != MAGIC {
            return Err(EventError::Magic);
        }
        if version != VERSION {
            return Err(EventError::Unknown(version, kind));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let body = body.get(..length).ok_or(EventError::Short)?;
        if crc32c(body) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(EventError::Damaged);
        }
        // rkyv reads in place and wants its alignment.
        let mut aligned = AlignedVec::<16>::with_capacity(body.len());
        aligned.extend_from_slice(body);
        match kind {
            KIND_MESSAGE => rkyv::from_bytes::<MessageEvent, RkyvError>(&aligned).map(Self::Message),
            KIND_READ => rkyv::from_bytes::<ReadEvent, RkyvError>(&aligned).map(Self::Read),
            _ => return Err(EventError::Unknown(version, kind)),
        }
        .map_err(|_| EventError::Damaged)
    }
}

/// The bytes that go into the log for a message; as [`Event::encode`], without owning it.
#[must_use]
pub fn encode_message(event: &MessageEvent) -> Bytes {
    framed(KIND_MESSAGE, |body| rkyv::api::high::to_bytes_in(event, body))
}

thread_local! {
    /// Where bodies are written first: rkyv wants an alignment that lies behind the header otherwise.
    static BODY: RefCell<AlignedVec> = RefCell::default();
}

fn framed(kind: u8, write: impl FnOnce(AlignedVec) -> Result<AlignedVec, RkyvError>) -> Bytes {
    BODY.with_borrow_mut(|kept| {
        // Serializing strings and integers into memory has no way to fail.
        let body = write(std::mem::take(kept)).unwrap_or_default();
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, kind]);
        out.extend_from_slice(&(body.len() as u32).to_le_bytes());
        out.extend_from_slice(&crc32c(&body).to_le_bytes());
        out.extend_from_slice(&body);
        *kept = body;
        kept.clear();
        Bytes::from(out)
    })
}

fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(body: &str) -> Event {
        Event::Message(MessageEvent {
            conv: "p2p:a:b".into(),
            msg_id: 7,
            from: "a".into(),
            client_msg_id: "c-1".into(),
            kind: "text".into(),
            body: body.into(),
            enc: "".into(),
            ts_ms: 1,
        })
    }

    #[test]
    fn an_event_survives_its_encoding() {
        let read = Event::Read(ReadEvent { conv: "group:g".into(), uid: "a".into(), seq: 9, ts_ms: 2 });
        for event in [message(""), message("héllo"), read] {
            assert_eq!(Event::decode(&event.encode()).unwrap(), event);
        }
    }

    proptest! {
        #[test]
        fn a_flipped_bit_is_seen(body in ".{0,200}", at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let event = message(&body);
            let mut bytes = event.encode().to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(Event::decode(&bytes).is_err());
        }
    }
}
