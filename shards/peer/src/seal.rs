//! The tag of every frame after the greeting: HMAC-SHA-256 under the session's key of that direction, cut to 16
//! bytes, over a counter, the header and the body.
//!
//! The counter is the number of the frame on its connection. Both ends count for themselves and it never travels, so
//! a frame that is left out, repeated, moved, or taken from another connection has a wrong tag.

use ring::hmac;

use crate::frame::TAG_BYTES;

/// One direction of one connection, at either end.
pub(crate) struct Seal {
    key: hmac::Key,
    counter: u64,
}

impl Seal {
    pub(crate) fn new(key: hmac::Key) -> Self {
        Self { key, counter: 0 }
    }

    /// The tag of the next frame.
    pub(crate) fn next(&mut self, sealed: &[u8], body: &[u8]) -> [u8; TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&self.counter.to_le_bytes());
        context.update(sealed);
        context.update(body);
        self.counter += 1;
        let mut tag = [0; TAG_BYTES];
        for (byte, whole) in tag.iter_mut().zip(context.sign().as_ref()) {
            *byte = *whole;
        }
        tag
    }

    /// Whether this is the next frame; takes as long whatever the tag is.
    pub(crate) fn is_next(&mut self, sealed: &[u8], body: &[u8], tag: &[u8; TAG_BYTES]) -> bool {
        let wanted = self.next(sealed, body);
        let differs =
            wanted.iter().zip(tag).fold(0, |differs, (one, other)| std::hint::black_box(differs | (one ^ other)));
        differs == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seal(byte: u8) -> Seal {
        Seal::new(hmac::Key::new(hmac::HMAC_SHA256, &[byte; 32]))
    }

    #[test]
    fn a_frame_is_taken_once_in_its_place_and_as_it_was() {
        let tags: Vec<_> = (0..3).scan(seal(1), |seal, n| Some(seal.next(b"head", &[n]))).collect();
        let check = |frames: &[(u8, usize)], taken: &[bool]| {
            let mut end = seal(1);
            let seen: Vec<bool> = frames.iter().map(|(n, at)| end.is_next(b"head", &[*n], &tags[*at])).collect();
            assert_eq!(seen, taken);
        };
        check(&[(0, 0), (1, 1), (2, 2)], &[true, true, true]);
        check(&[(0, 0), (0, 0)], &[true, false]);
        check(&[(1, 1)], &[false]);
        check(&[(0, 0), (2, 2)], &[true, false]);
        check(&[(1, 0)], &[false]);
        assert!(!seal(2).is_next(b"head", &[0], &tags[0]));
        assert!(!seal(1).is_next(b"heaD", &[0], &tags[0]));
    }
}
