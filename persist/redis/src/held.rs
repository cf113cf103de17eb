//! How messages and their numbers are written in Redis.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ringway_engine::event::{Event, MessageEvent, encode_message};
use ringway_store::ports::{HeldNumber, StoreError};

/// `epoch seq msg_id ts_ms`.
pub(crate) fn write(number: &HeldNumber) -> String {
    let HeldNumber { epoch, seq, msg_id, ts_ms } = number;
    format!("{epoch} {seq} {msg_id} {ts_ms}")
}

/// Reads what [`write`] wrote.
pub(crate) fn read(text: &str) -> Result<HeldNumber, StoreError> {
    let mut parts = text.split(' ').map(str::parse::<u64>);
    match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(epoch)), Some(Ok(seq)), Some(Ok(msg_id)), Some(Ok(ts_ms)), None) => {
            Ok(HeldNumber { epoch, seq, msg_id, ts_ms })
        }
        _ => Err(StoreError::new("redis", format!("{text:?} is no number of a message"))),
    }
}

/// A member of the set of unarchived messages: the sender, a newline (no user id has one), the encoded event.
pub(crate) fn member(event: &MessageEvent) -> Bytes {
    let encoded = encode_message(event);
    let mut member = BytesMut::with_capacity(event.from.len() + 1 + encoded.len());
    member.extend_from_slice(event.from.as_bytes());
    member.extend_from_slice(b"\n");
    member.extend_from_slice(&encoded);
    member.freeze()
}

/// Reads what [`member`] wrote.
pub(crate) fn event(member: &[u8]) -> Result<Arc<MessageEvent>, StoreError> {
    let damaged = |what: &str| StoreError::new("redis", format!("an unarchived message is damaged: {what}"));
    let encoded = member.iter().position(|byte| *byte == b'\n').and_then(|at| member.get(at + 1..));
    match Event::decode(encoded.ok_or_else(|| damaged("no sender"))?) {
        Ok(Event::Message(event)) => Ok(Arc::new(event)),
        Ok(Event::Read(_)) => Err(damaged("it is a read mark")),
        Err(error) => Err(damaged(&error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringway_store::conformance::message;

    #[test]
    fn a_member_is_read_as_it_was_written() {
        for from in ["a", ""] {
            let written = message("p2p:a:b", from, "c\n-1", 7, 9);
            assert_eq!(event(&member(&written)).unwrap(), written);
        }
        assert!(event(b"a").is_err() && event(b"a\nRW").is_err());
    }

    proptest! {
        #[test]
        fn a_number_is_read_as_it_was_written(epoch: u64, seq: u64, msg_id: u64, ts_ms: u64) {
            let number = HeldNumber { epoch, seq, msg_id, ts_ms };
            prop_assert_eq!(read(&write(&number)).unwrap(), number);
        }

        #[test]
        fn nothing_else_is_taken_for_a_number(text in "[0-9 -]{0,30}") {
            if let Ok(number) = read(&text) {
                prop_assert_eq!(write(&number).split(' ').count(), text.split(' ').count());
            }
        }
    }
}
