//! A send that is encoded once; for each message only its id, serial and time are patched, under the mask.

use anyhow::{Context as _, ensure};

use super::body::MARK_BYTES;
use super::frames::{self, MASK};

/// Command ids begin here, so that they have one width: 11 digits, or 6 bytes of varint.
pub(crate) const FIRST_ID: u64 = 1 << 35;
const SERIAL_AT: usize = MARK_BYTES - SERIAL_DIGITS;
const SERIAL_DIGITS: usize = 10;
const TIME_DIGITS: usize = 16;

/// How a command's id is written, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    /// It has none.
    None,
    /// Eleven digits.
    Decimal,
    /// Six bytes.
    Varint,
}

/// A masked frame with places to patch.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    frame: Vec<u8>,
    /// Where the payload begins.
    payload: usize,
    form: Id,
    /// Places in the payload.
    id: usize,
    serials: Vec<usize>,
    time: usize,
}

impl Template {
    /// Of a payload that holds [`FIRST_ID`], in the form given, and one or more times the mark, at last before the
    /// body's time.
    ///
    /// # Errors
    /// The payload does not hold its fields where they can be patched.
    pub(crate) fn new(opcode: u8, payload: &[u8], mark: &str, form: Id) -> anyhow::Result<Self> {
        let id = match form {
            Id::None => Some(0),
            Id::Decimal => places(payload, FIRST_ID.to_string().as_bytes()).first().copied(),
            Id::Varint => places(payload, &varint(FIRST_ID)).first().copied(),
        };
        let id = id.context("a prepared send holds its id")?;
        let marks = places(payload, mark.as_bytes());
        // The body comes last everywhere, and its time right behind its mark.
        let time = marks.last().context("a prepared send holds its mark")? + MARK_BYTES;
        ensure!(payload.get(time..time + TIME_DIGITS) == Some(b"0000000000000000"), "a prepared send holds its time");
        let mut frame = Vec::new();
        frames::append(&mut frame, opcode, payload);
        let at = frame.len() - payload.len();
        Ok(Self { frame, payload: at, form, id, serials: marks.iter().map(|mark| mark + SERIAL_AT).collect(), time })
    }

    /// The same with another frame behind it, which is never changed.
    pub(crate) fn followed_by(mut self, opcode: u8, payload: &[u8]) -> Self {
        frames::append(&mut self.frame, opcode, payload);
        self
    }

    /// Appends the frame of one message.
    pub(crate) fn append(&mut self, id: u64, serial: u64, intended_ns: u64, out: &mut Vec<u8>) {
        match self.form {
            Id::None => {}
            Id::Decimal => self.patch(self.id, &decimal::<11>(id)),
            Id::Varint => self.patch(self.id, &varint(id)),
        }
        let digits = decimal::<SERIAL_DIGITS>(serial);
        for place in 0..self.serials.len() {
            if let Some(at) = self.serials.get(place).copied() {
                self.patch(at, &digits);
            }
        }
        let mut time = [0; TIME_DIGITS];
        for (digit, shift) in time.iter_mut().zip((0..64).step_by(4).rev()) {
            *digit = hex_digit((intended_ns >> shift) as u8 & 15);
        }
        self.patch(self.time, &time);
        out.extend_from_slice(&self.frame);
    }

    fn patch<const LENGTH: usize>(&mut self, at: usize, text: &[u8; LENGTH]) {
        let from = self.payload + at;
        let Some(place) = self.frame.get_mut(from..from + LENGTH) else { return };
        let [a, b, c, d] = MASK;
        let key = match at % MASK.len() {
            0 => [a, b, c, d],
            1 => [b, c, d, a],
            2 => [c, d, a, b],
            _ => [d, a, b, c],
        };
        for ((byte, text), key) in place.iter_mut().zip(text).zip(key.iter().cycle()) {
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
    use super::super::body::{Bodies, Reading, Stamp};
    use super::*;

    fn unmasked(frame: &[u8]) -> Vec<u8> {
        frame.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
    }

    #[test]
    fn serial_time_and_id_are_patched_and_what_follows_stays() {
        let bodies = Bodies::new(1, 60);
        let payload = format!("{FIRST_ID} {}", bodies.blank(3));
        let template = Template::new(frames::TEXT, payload.as_bytes(), &bodies.mark(3), Id::Decimal).unwrap();
        let mut template = template.followed_by(frames::TEXT, b"and");
        let mut out = Vec::new();
        template.append(FIRST_ID + 8, 7, 99, &mut out);
        let (text, last) = out.split_at(6 + payload.len());
        let text = unmasked(&text[6..]);
        assert_eq!(text[..12], *format!("{} ", FIRST_ID + 8).as_bytes());
        let stamp = Stamp { stream: 3, serial: 7, intended_ns: 99 };
        assert_eq!(bodies.read(&text[12..], None), Reading::Ours(stamp));
        assert_eq!(unmasked(&last[6..]), b"and");
        assert!(Template::new(frames::TEXT, b"nothing", &bodies.mark(3), Id::None).is_err());
    }
}
