//! The protobuf format, walked field by field; tags as in the engine's `v1.proto`.

use super::{Message, Packet, Unreadable, frames};

/// One field: its tag and value.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// Reads length-delimited server packets.
pub(super) fn read(mut payload: &[u8], on: &mut dyn FnMut(&Packet<'_>)) -> Result<(), Unreadable> {
    while !payload.is_empty() {
        let length = varint(&mut payload)?;
        packet(take(&mut payload, length)?, on)?;
    }
    Ok(())
}

/// Appends an `ack`.
pub(super) fn append_ack(conv: &[u8], epoch: u64, seq: u64, out: &mut Vec<u8>) {
    let mut point = Vec::with_capacity(conv.len() + 32);
    point.push(0x0a);
    append_varint(&mut point, conv.len() as u64);
    point.extend_from_slice(conv);
    for (key, value) in [(0x10, epoch), (0x18, seq)] {
        point.push(key);
        append_varint(&mut point, value);
    }
    let mut command = Vec::with_capacity(point.len() + 16);
    // The point's key and length come before it.
    let mut head = vec![0x22];
    append_varint(&mut head, point.len() as u64);
    append_varint(&mut command, (head.len() + point.len()) as u64);
    command.append(&mut head);
    command.append(&mut point);
    frames::append(out, frames::BINARY, &command);
}

fn append_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn packet(bytes: &[u8], on: &mut dyn FnMut(&Packet<'_>)) -> Result<(), Unreadable> {
    let mut id = 0;
    let mut body = None;
    fields(bytes, &mut |tag, value| {
        match value {
            Value::Varint(value) if tag == 1 => id = value,
            Value::Bytes(bytes) => body = Some((tag, bytes)),
            Value::Varint(_) => {}
        }
        Ok(())
    })?;
    match body {
        Some((2, bytes)) => connected(bytes, on)?,
        Some((3, bytes)) => on(&Packet::Sent { id, seq: number(bytes, 4)? }),
        Some((4, bytes)) => on(&Packet::Message(message(bytes)?)),
        Some((5, bytes)) => page(id, bytes, on)?,
        Some((7, _)) => on(&Packet::Receipt),
        Some((8, _)) => on(&Packet::Typing),
        Some((9, bytes)) => {
            let (mut from, mut body): (&[u8], &[u8]) = (b"", b"");
            fields(bytes, &mut |tag, value| {
                match (tag, value) {
                    (3, Value::Bytes(bytes)) => body = bytes,
                    (4, Value::Bytes(bytes)) => from = bytes,
                    _ => {}
                }
                Ok(())
            })?;
            on(&Packet::Signal { from, body });
        }
        Some((10, _)) => on(&Packet::Pong),
        Some((11, _)) => on(&Packet::Done { id }),
        Some((12, bytes)) => on(&Packet::Error { id, code: u32::try_from(number(bytes, 1)?).unwrap_or(u32::MAX) }),
        Some((15, bytes)) => on(&Packet::Resync { conv: text(bytes, 1)? }),
        _ => on(&Packet::Other),
    }
    Ok(())
}

/// A page's messages, and its end.
fn page(id: u64, bytes: &[u8], on: &mut dyn FnMut(&Packet<'_>)) -> Result<(), Unreadable> {
    let (mut conv, mut more): (&[u8], bool) = (b"", false);
    fields(bytes, &mut |tag, value| {
        match (tag, value) {
            (1, Value::Bytes(bytes)) => conv = bytes,
            (2, Value::Bytes(bytes)) => on(&Packet::Message(message(bytes)?)),
            (4, Value::Varint(value)) => more = value != 0,
            _ => {}
        }
        Ok(())
    })?;
    on(&Packet::Page { id, conv, more });
    Ok(())
}

/// What is not recovered, then that the device is connected.
fn connected(bytes: &[u8], on: &mut dyn FnMut(&Packet<'_>)) -> Result<(), Unreadable> {
    fields(bytes, &mut |tag, value| {
        // An entry of a map: key and value, which is absent when it is false.
        if let (5, Value::Bytes(entry)) = (tag, value)
            && number(entry, 2)? == 0
        {
            on(&Packet::Unrecovered { conv: text(entry, 1)? });
        }
        Ok(())
    })?;
    on(&Packet::Connected);
    Ok(())
}

fn message(bytes: &[u8]) -> Result<Message<'_>, Unreadable> {
    let mut message = Message { conv: b"", epoch: 0, seq: 0, from: b"", client_msg_id: b"", body: b"" };
    fields(bytes, &mut |tag, value| {
        match (tag, value) {
            (1, Value::Bytes(bytes)) => message.conv = bytes,
            (3, Value::Varint(value)) => message.epoch = value,
            (4, Value::Varint(value)) => message.seq = value,
            (5, Value::Bytes(bytes)) => message.from = bytes,
            (6, Value::Bytes(bytes)) => message.client_msg_id = bytes,
            (8, Value::Bytes(bytes)) => message.body = bytes,
            _ => {}
        }
        Ok(())
    })?;
    Ok(message)
}

/// The number at a tag, 0 when absent.
fn number(bytes: &[u8], wanted: u64) -> Result<u64, Unreadable> {
    let mut found = 0;
    fields(bytes, &mut |tag, value| {
        if let (true, Value::Varint(value)) = (tag == wanted, value) {
            found = value;
        }
        Ok(())
    })?;
    Ok(found)
}

/// The text at a tag, empty when absent.
fn text(bytes: &[u8], wanted: u64) -> Result<&[u8], Unreadable> {
    let mut found: &[u8] = b"";
    fields(bytes, &mut |tag, value| {
        if let (true, Value::Bytes(bytes)) = (tag == wanted, value) {
            found = bytes;
        }
        Ok(())
    })?;
    Ok(found)
}

fn fields<'a>(
    mut bytes: &'a [u8],
    on: &mut dyn FnMut(u64, Value<'a>) -> Result<(), Unreadable>,
) -> Result<(), Unreadable> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            2 => {
                let length = varint(&mut bytes)?;
                Value::Bytes(take(&mut bytes, length)?)
            }
            1 => Value::Bytes(take(&mut bytes, 8)?),
            5 => Value::Bytes(take(&mut bytes, 4)?),
            _ => return Err(Unreadable),
        };
        on(key >> 3, value)?;
    }
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Unreadable> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or(Unreadable)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Unreadable)
}

fn take<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], Unreadable> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(length).map_err(|_| Unreadable)?).ok_or(Unreadable)?;
    *bytes = rest;
    Ok(taken)
}
