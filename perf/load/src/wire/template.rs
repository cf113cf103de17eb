//! A send that is encoded once; for each message only its id, serial and time are patched, under the mask.

use anyhow::{Context as _, ensure};
use ringway_engine::packet::schema::{Command, Send, Signal, Target};
use ringway_engine::packet::{Format, encode_command};

use super::body::{Bodies, MARK_BYTES};
use super::frames::{self, MASK};

/// Command ids begin here, so that they have one width: 11 digits, or 6 bytes of varint.
pub(crate) const FIRST_ID: u64 = 1 << 35;
const SERIAL_AT: usize = MARK_BYTES - SERIAL_DIGITS;
const SERIAL_DIGITS: usize = 10;
const TIME_DIGITS: usize = 16;

/// A masked frame with places to patch.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    frame: Vec<u8>,
    /// Where the payload begins.
    payload: usize,
    format: Format,
    /// Places in the payload.
    id: usize,
    serials: [usize; 2],
    time: usize,
}

impl Template {
    /// A durable message.
    ///
    /// # Errors
    /// The encoded command does not hold its fields where they can be patched.
    pub(crate) fn message(format: Format, bodies: &Bodies, stream: usize, to: Target) -> anyhow::Result<Self> {
        let send = Send {
            to: Some(to),
            client_msg_id: bodies.mark(stream),
            kind: "text".into(),
            body: bodies.blank(stream),
            ..Send::default()
        };
        Self::new(format, &bodies.mark(stream), &Command { id: FIRST_ID, send: Some(send), ..Command::default() })
    }

    /// A call signal.
    ///
    /// # Errors
    /// As [`Template::message`].
    pub(crate) fn signal(format: Format, bodies: &Bodies, stream: usize, to: Target) -> anyhow::Result<Self> {
        let (call, body) = (bodies.mark(stream), bodies.blank(stream));
        let signal = Signal { to: Some(to), call, body, ..Signal::default() };
        Self::new(format, &bodies.mark(stream), &Command { id: FIRST_ID, signal: Some(signal), ..Command::default() })
    }

    fn new(format: Format, mark: &str, command: &Command) -> anyhow::Result<Self> {
        let mut payload = Vec::new();
        encode_command(format, command, &mut payload);
        let id = match format {
            Format::Json => places(&payload, FIRST_ID.to_string().as_bytes()),
            Format::Protobuf => places(&payload, &varint(FIRST_ID)),
        };
        let marks = places(&payload, mark.as_bytes());
        let [first, last] = <[usize; 2]>::try_from(marks).ok().context("a prepared send holds its mark twice")?;
        let id = *id.first().context("a prepared send holds its id")?;
        // The body comes last in both formats, and its time right behind its mark.
        let time = last + MARK_BYTES;
        ensure!(payload.get(time..time + TIME_DIGITS) == Some(b"0000000000000000"), "a prepared send holds its time");
        let mut frame = Vec::new();
        frames::append(&mut frame, frames::data_opcode(format), &payload);
        let at = frame.len() - payload.len();
        Ok(Self { frame, payload: at, format, id, serials: [first + SERIAL_AT, last + SERIAL_AT], time })
    }

    /// Appends the frame of one message.
    pub(crate) fn append(&mut self, serial: u64, intended_ns: u64, out: &mut Vec<u8>) {
        let id = FIRST_ID + serial;
        match self.format {
            Format::Json => self.patch(self.id, &decimal::<11>(id)),
            Format::Protobuf => self.patch(self.id, &varint(id)),
        }
        let digits = decimal::<SERIAL_DIGITS>(serial);
        for at in self.serials {
            self.patch(at, &digits);
        }
        let mut time = [0; TIME_DIGITS];
        for (digit, shift) in time.iter_mut().zip((0..64).step_by(4).rev()) {
            *digit = hex_digit((intended_ns >> shift) as u8 & 15);
        }
        self.patch(self.time, &time);
        out.extend_from_slice(&self.frame);
    }

    fn patch(&mut self, at: usize, text: &[u8]) {
        let key = MASK.iter().cycle().skip(at % MASK.len());
        let place = self.frame.iter_mut().skip(self.payload + at);
        for ((byte, text), key) in place.zip(text).zip(key) {
            *byte = text ^ key;
        }
    }
}

fn hex_digit(value: u8) -> u8 {
    if value < 10 { b'0' + value } else { b'a' + value - 10 }
}

fn decimal<const DIGITS: usize>(mut value: u64) -> [u8; DIGITS] {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
    digits
}

/// Six bytes: the ids' varints all have that many.
fn varint(mut value: u64) -> [u8; 6] {
    let mut bytes = [0; 6];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = (value & 0x7f) as u8 | if at < 5 { 0x80 } else { 0 };
        value >>= 7;
    }
    bytes
}

fn places(haystack: &[u8], needle: &[u8]) -> Vec<usize> {
    let windows = haystack.windows(needle.len()).enumerate();
    windows.filter(|(_, window)| *window == needle).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use ringway_engine::packet::{Request, decode_commands};
    use ringway_engine::websocket::{Decoder, Incoming};

    use super::super::body::{Reading, Stamp};
    use super::*;

    fn check(format: Format, template: &mut Template, serial: u64, intended_ns: u64, bodies: &Bodies) {
        let mut frame = Vec::new();
        template.append(serial, intended_ns, &mut frame);
        let mut seen = 0;
        let on = &mut |incoming: Incoming<'_>| {
            let payload = match incoming {
                Incoming::Text(text) => text.as_bytes(),
                Incoming::Binary(bytes) => bytes,
                other => panic!("{other:?}"),
            };
            decode_commands(format, payload, &mut |command| {
                let (id, request) = command.unwrap();
                assert_eq!(id, FIRST_ID + serial);
                let (mark, body) = match request {
                    Request::Send(send) => (send.client_msg_id, send.body),
                    Request::Signal(signal) => (signal.call, signal.body),
                    other => panic!("{other:?}"),
                };
                assert_eq!(body.len(), 128);
                let stamp = Stamp { stream: 7, serial, intended_ns };
                assert_eq!(bodies.read(body.as_bytes(), Some(mark.as_bytes())), Reading::Ours(stamp));
                seen += 1;
            })
            .unwrap();
            std::ops::ControlFlow::Continue(())
        };
        Decoder::new().feed(&mut frame, 0, on).unwrap();
        assert_eq!(seen, 1);
    }

    #[test]
    fn a_patched_frame_is_the_command_that_was_meant() {
        let bodies = Bodies::new(0xfeed_beef, 128);
        for format in Format::ALL {
            let to = || Target { user: "b".into(), ..Target::default() };
            for mut template in [
                Template::message(format, &bodies, 7, to()).unwrap(),
                Template::signal(format, &bodies, 7, to()).unwrap(),
            ] {
                for (serial, time) in [(0, 0), (1, 0xdead_beef_0123), (9_999_999_999, u64::MAX), (42, 7)] {
                    check(format, &mut template, serial, time, &bodies);
                }
            }
        }
    }

    #[test]
    fn a_changed_body_is_corrupt_and_another_runs_is_foreign() {
        let bodies = Bodies::new(1, 128);
        let body = bodies.blank(3).into_bytes();
        assert!(matches!(bodies.read(&body, None), Reading::Ours(_)));
        assert_eq!(bodies.read(&body, Some(b"another id")), Reading::Corrupt);
        for at in 8..body.len() {
            let mut changed = body.clone();
            changed[at] = b'?';
            assert_eq!(bodies.read(&changed, None), Reading::Corrupt, "byte {at}");
        }
        assert_eq!(bodies.read(&body[..100], None), Reading::Corrupt);
        assert_eq!(Bodies::new(2, 128).read(&body, None), Reading::Foreign);
        assert_eq!(bodies.read(b"{}", None), Reading::Foreign);
    }
}
