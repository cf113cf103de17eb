//! The protobuf of `send`, `ack` and `signal`, read in place.
//!
//! prost owns every string it reads. These three come with every message, so their fields are walked here: each at
//! most once, by keys of one byte, in any order. Whatever else stands in a message, or is wrong with it, is no matter
//! of this walk: it gives up, and prost reads the message anew. What it does read, prost would read the same; a test
//! and a fuzz target compare the two.

use std::borrow::Cow;

use prost::encoding::decode_varint;

use super::asked::{Asked, PointRef, SendRef, SignalRef, TargetRef};

/// A field's value.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

/// The id and the command of a message, if it is one of the three and plainly written.
pub(super) fn scan(message: &[u8]) -> Option<(u64, Asked<'_>)> {
    let (mut id, mut asked) = (0, None);
    let mut fields = Fields::of(message);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Varint(value)) => id = value,
            // A second command is told by prost.
            (3, Value::Bytes(bytes)) if asked.is_none() => asked = Some(Asked::Send(send(bytes)?)),
            (4, Value::Bytes(bytes)) if asked.is_none() => asked = Some(Asked::Ack(point(bytes)?)),
            (9, Value::Bytes(bytes)) if asked.is_none() => asked = Some(Asked::Signal(signal(bytes)?)),
            _ => return None,
        }
    }
    Some((id, asked?))
}

fn send(bytes: &[u8]) -> Option<SendRef<'_>> {
    let mut send = SendRef::default();
    let mut fields = Fields::of(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => send.to = Some(target(bytes)?),
            (2, Value::Bytes(bytes)) => send.client_msg_id = text(bytes)?,
            (3, Value::Bytes(bytes)) => send.kind = text(bytes)?,
            (4, Value::Bytes(bytes)) => send.body = text(bytes)?,
            (5, Value::Bytes(bytes)) => send.enc = text(bytes)?,
            (6, Value::Varint(value)) => send.retry = value != 0,
            _ => return None,
        }
    }
    Some(send)
}

fn point(bytes: &[u8]) -> Option<PointRef<'_>> {
    let mut point = PointRef::default();
    let mut fields = Fields::of(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => point.conv = text(bytes)?,
            (2, Value::Varint(value)) => point.epoch = value,
            (3, Value::Varint(value)) => point.seq = value,
            _ => return None,
        }
    }
    Some(point)
}

fn signal(bytes: &[u8]) -> Option<SignalRef<'_>> {
    let mut signal = SignalRef::default();
    let mut fields = Fields::of(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => signal.to = Some(target(bytes)?),
            (2, Value::Bytes(bytes)) => signal.call = text(bytes)?,
            (3, Value::Bytes(bytes)) => signal.body = text(bytes)?,
            (4, Value::Bytes(bytes)) => signal.from = text(bytes)?,
            _ => return None,
        }
    }
    Some(signal)
}

fn target(bytes: &[u8]) -> Option<TargetRef<'_>> {
    let mut target = TargetRef::default();
    let mut fields = Fields::of(bytes);
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => target.user = text(bytes)?,
            (2, Value::Bytes(bytes)) => target.group = text(bytes)?,
            _ => return None,
        }
    }
    Some(target)
}

fn text(bytes: &[u8]) -> Option<Cow<'_, str>> {
    simdutf8::basic::from_utf8(bytes).ok().map(Cow::Borrowed)
}

/// The fields of one message.
struct Fields<'a> {
    rest: &'a [u8],
    /// Bit n: field n was there.
    seen: u16,
}

impl<'a> Fields<'a> {
    fn of(rest: &'a [u8]) -> Self {
        Self { rest, seen: 0 }
    }

    /// The next field's number, 1 to 15, and its value; `Some(None)` at the end, `None` for what is not walked here.
    fn next(&mut self) -> Option<Option<(u8, Value<'a>)>> {
        let Some((key, rest)) = self.rest.split_first() else { return Some(None) };
        self.rest = rest;
        let number = key >> 3;
        if *key >= 0x80 || number == 0 || self.seen & (1 << number) != 0 {
            return None;
        }
        self.seen |= 1 << number;
        let value = decode_varint(&mut self.rest).ok()?;
        match key & 7 {
            0 => Some(Some((number, Value::Varint(value)))),
            2 => {
                let (bytes, rest) = self.rest.split_at_checked(usize::try_from(value).ok()?)?;
                self.rest = rest;
                Some(Some((number, Value::Bytes(bytes))))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as Prost;

    use super::super::asked::{CommandRef, Commanded};
    use super::super::samples;
    use super::super::schema::{Command, Send};
    use super::*;

    /// What is read in place is what prost reads.
    fn check(message: &[u8]) -> bool {
        let Some((id, asked)) = scan(message) else { return false };
        let (of_prost, commanded) = CommandRef::from(Command::decode(message).unwrap()).single();
        let Commanded::One(read) = commanded else { panic!("prost reads another number of commands: {message:?}") };
        assert_eq!((id, asked.into_owned()), (of_prost, read.into_owned()), "{message:?}");
        true
    }

    #[test]
    fn the_three_are_read_in_place_and_no_others() {
        for command in samples::commands() {
            let is_hot = command.send.is_some() || command.ack.is_some() || command.signal.is_some();
            assert_eq!(check(&command.encode_to_vec()), is_hot, "{command:?}");
        }
        let empty = Command { send: Some(Send::default()), ..Command::default() };
        assert!(check(&empty.encode_to_vec()));
    }

    #[test]
    fn what_is_not_plainly_written_is_left_to_prost() {
        let ack = Command::ack("p2p:a:b", 1, 2).encode_to_vec();
        for more in [
            // The same command again, another one, an id twice, an unknown field, a key of two bytes, a group.
            &ack[..],
            &[0x52, 0],
            &[0x08, 1, 0x08, 2],
            &[0x7a, 0],
            &[0x88, 0x00, 1],
            &[0x0b, 0x0c],
            // Cut short, or beyond the end.
            &[0x08],
            &[0x22, 9],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
        ] {
            assert!(scan(&[&ack, more].concat()).is_none(), "{more:?}");
        }
        assert!(scan(&[0x22, 3, 0x0a, 1, 0xff]).is_none(), "text that is not UTF-8");
        assert!(scan(&[0x22, 2, 0x08, 1]).is_none(), "text that is a number");
        assert!(scan(&[]).is_none() && scan(&[0x08, 7]).is_none(), "no command");
    }

    proptest! {
        #[test]
        fn whatever_is_done_to_a_message_it_is_read_as_prost_reads_it(
            sample in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 0..4),
        ) {
            let samples = samples::commands();
            let mut message = samples[sample.index(samples.len())].encode_to_vec();
            for (at, byte, how) in changes {
                let at = at.index(message.len() + 1);
                match how {
                    0 => message.insert(at, byte),
                    1 => message.truncate(at),
                    _ => message.iter_mut().skip(at).take(1).for_each(|old| *old = byte),
                }
            }
            check(&message);
        }
    }
}
