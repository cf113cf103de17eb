//! Bodies on the wire: above 1 KiB they travel as raw deflate, then base64 (`enc: "deflate"`).

use std::io::{Read as _, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use flate2::{Compression, read::DeflateDecoder, write::DeflateEncoder};
use ringway_engine::packet::schema::Message;
use thiserror::Error;

use crate::limits::{DEFLATE_ABOVE_BYTES, INFLATED_BYTES_MAX};

/// The value of `enc` for a deflated body.
pub const DEFLATE: &str = "deflate";

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BodyError {
    /// `enc` names an encoding this SDK does not know.
    #[error("body has an unknown encoding")]
    Unknown,
    /// Not base64, not deflate, or not UTF-8.
    #[error("body is not what its encoding says")]
    Damaged,
    /// Larger than [`INFLATED_BYTES_MAX`].
    #[error("body is too large when inflated")]
    TooLarge,
}

/// The body and its `enc` as they go on the wire: deflated when that is smaller.
#[must_use]
pub fn close(body: String) -> (String, String) {
    if body.len() <= DEFLATE_ABOVE_BYTES || body.len() > INFLATED_BYTES_MAX {
        return (body, String::new());
    }
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail; if it ever did, the body goes as it is.
    let Ok(deflated) = encoder.write_all(body.as_bytes()).and_then(|()| encoder.finish()) else {
        return (body, String::new());
    };
    let text = BASE64.encode(deflated);
    if text.len() < body.len() { (text, DEFLATE.to_owned()) } else { (body, String::new()) }
}

/// The body as it was before [`close`].
///
/// # Errors
/// See [`BodyError`].
pub fn open(body: &str, enc: &str) -> Result<String, BodyError> {
    match enc {
        "" => return Ok(body.to_owned()),
        DEFLATE => {}
        _ => return Err(BodyError::Unknown),
    }
    let deflated = BASE64.decode(body).map_err(|_| BodyError::Damaged)?;
    let mut text = String::new();
    // One byte above the bound tells a body that is too large from one that just fits.
    let mut bounded = DeflateDecoder::new(deflated.as_slice()).take(INFLATED_BYTES_MAX as u64 + 1);
    match bounded.read_to_string(&mut text) {
        _ if text.len() > INFLATED_BYTES_MAX => Err(BodyError::TooLarge),
        Ok(_) => Ok(text),
        // The bound may have cut a character in two.
        Err(_) if bounded.limit() == 0 => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Damaged),
    }
}

/// Opens a message's body; one that cannot be opened stays as it came, `enc` still set.
pub fn open_in_place(message: &mut Message) {
    if !message.enc.is_empty()
        && let Ok(text) = open(&message.body, &message.enc)
    {
        message.body = text;
        message.enc.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_large_bodies_that_shrink_are_deflated() {
        let (same, enc) = close("a".repeat(DEFLATE_ABOVE_BYTES));
        assert!(enc.is_empty() && same.len() == DEFLATE_ABOVE_BYTES);
        let (small, enc) = close("a".repeat(DEFLATE_ABOVE_BYTES + 1));
        assert!(enc == DEFLATE && small.len() < 100);
        assert_eq!(open(&small, &enc).unwrap().len(), DEFLATE_ABOVE_BYTES + 1);
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        for unit in ["a", "号"] {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(unit.repeat(4 * INFLATED_BYTES_MAX).as_bytes()).unwrap();
            let bomb = BASE64.encode(encoder.finish().unwrap());
            assert_eq!(open(&bomb, DEFLATE), Err(BodyError::TooLarge));
        }
    }

    #[test]
    fn what_is_not_deflate_is_refused() {
        assert_eq!(open("!", DEFLATE), Err(BodyError::Damaged));
        assert_eq!(open("AAAA", DEFLATE), Err(BodyError::Damaged));
        assert_eq!(open("x", "zstd"), Err(BodyError::Unknown));
    }

    proptest! {
        #[test]
        fn a_body_comes_back_as_it_was(body in "(hello|[a-z]{1,9}|号|\\PC){0,600}") {
            let (wire, enc) = close(body.clone());
            prop_assert_eq!(open(&wire, &enc).unwrap(), body);
        }

        #[test]
        fn any_bytes_are_refused_or_bounded(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(text) = open(&BASE64.encode(bytes), DEFLATE) {
                prop_assert!(text.len() <= INFLATED_BYTES_MAX);
            }
        }
    }
}
