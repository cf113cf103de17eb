//! The protobuf format: binary, each message behind its length.
//!
//! ```text
//! payload = *( length message )       length: varint, bytes of the message
//! message = fields of `Command` or `ServerPacket` in proto/ringway/v1.proto
//! ```
//!
//! A message whose fields can be walked but not read (a wrong wire type, a string that is not UTF-8)
//! is refused; one that cannot even be walked is not the protocol.

use std::borrow::Cow;

use prost::Message as Prost;

use crate::errors::ErrorCode;

use super::asked::{Asked, CommandRef, Commanded};
use super::scan::scan;
use super::schema::{Command, Empty, ServerPacket};
use super::{Count, NO_COMMAND, NotTheProtocol, OnCommand, Refusal, SEVERAL_COMMANDS};

/// Longest varint of a message's length.
const LENGTH_BYTES_MAX: usize = 10;

pub(super) fn read_commands<'p>(payload: &'p [u8], on: OnCommand<'_, 'p>) -> Result<(), NotTheProtocol> {
    let mut count = Count::default();
    let mut rest = payload;
    while let Some(message) = next(&mut rest)? {
        count.one_more()?;
        on(read_command(message)?);
    }
    Ok(())
}

pub(super) fn decode_server(payload: &[u8], on: &mut dyn FnMut(ServerPacket)) -> Result<(), NotTheProtocol> {
    let mut rest = payload;
    while let Some(message) = next(&mut rest)? {
        on(ServerPacket::decode(message).map_err(|_| NotTheProtocol("not a packet in protobuf"))?);
    }
    Ok(())
}

pub(super) fn encode<T: Prost>(packet: &T, out: &mut Vec<u8>) {
    // prost asks how much room there is, and a Vec always says enough: it would grow field by field.
    out.reserve(packet.encoded_len() + LENGTH_BYTES_MAX);
    let written = packet.encode_length_delimited(out);
    debug_assert!(written.is_ok(), "a Vec grows");
}

/// Splits the next message off.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, NotTheProtocol> {
    if rest.is_empty() {
        return Ok(None);
    }
    let length = prost::decode_length_delimiter(&mut *rest).map_err(|_| NotTheProtocol("not a length in protobuf"))?;
    let (message, tail) = rest.split_at_checked(length).ok_or(NotTheProtocol("a length beyond the payload"))?;
    *rest = tail;
    Ok(Some(message))
}

fn read_command(message: &[u8]) -> Result<Result<(u64, Asked<'_>), Refusal>, NotTheProtocol> {
    if let Some(read) = scan(message) {
        return Ok(Ok(read));
    }
    match Command::decode(message).map(|command| CommandRef::from(command).single()) {
        Ok((id, Commanded::One(asked))) => Ok(Ok((id, asked))),
        Ok((id, Commanded::Several)) => Ok(Err(malformed(id, SEVERAL_COMMANDS))),
        Ok((id, Commanded::None)) => Ok(Err(no_known_command(id, message))),
        Err(_) => refuse(message).map(Err),
    }
}

/// Only the id of a command; walks over all other fields.
#[derive(Clone, PartialEq, Prost)]
struct OnlyId {
    #[prost(uint64, tag = "1")]
    id: u64,
}

fn refuse(message: &[u8]) -> Result<Refusal, NotTheProtocol> {
    match (OnlyId::decode(message), Empty::decode(message)) {
        (Ok(only), _) => Ok(malformed(only.id, "a field cannot be read")),
        (Err(_), Ok(_)) => Ok(malformed(0, "the id cannot be read")),
        (Err(_), Err(_)) => Err(NotTheProtocol("not a message in protobuf")),
    }
}

fn no_known_command(id: u64, message: &[u8]) -> Refusal {
    // Whatever is longer than the id alone holds a field that this version does not know.
    if message.len() > (OnlyId { id }).encoded_len() {
        Refusal { id, code: ErrorCode::UnknownCommand, detail: Cow::Borrowed("unknown command") }
    } else {
        malformed(id, NO_COMMAND)
    }
}

fn malformed(id: u64, detail: &'static str) -> Refusal {
    Refusal { id, code: ErrorCode::Malformed, detail: Cow::Borrowed(detail) }
}
