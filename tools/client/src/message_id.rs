//! Client message ids: the time, then 80 random bits, so that no two sends of any device ever share one.
//!
//! Rising with time as UUID version 7 does (RFC 9562 §5.7), because the server indexes them: ids that come
//! in order are archived several times as fast as random ones.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::error::RequestError;

/// A new id: 12 hexadecimal digits of Unix milliseconds, 14 characters of base64url.
///
/// # Errors
/// [`RequestError::Randomness`].
pub fn new_client_msg_id() -> Result<String, RequestError> {
    let mut bytes = [0_u8; 10];
    getrandom::fill(&mut bytes).map_err(|_| RequestError::Randomness)?;
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Ok(format!("{now_ms:012x}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_valid() {
        let one = new_client_msg_id().unwrap();
        assert_eq!(one.len(), 26);
        assert_ne!(one, new_client_msg_id().unwrap());
        ringway_engine::ids::check_client_msg_id(&one).unwrap();
    }
}
