//! Client message ids: 128 random bits, so that no two sends of any device ever share one.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::error::RequestError;

/// A new id, 22 characters of base64url.
///
/// # Errors
/// [`RequestError::Randomness`].
pub fn new_client_msg_id() -> Result<String, RequestError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|_| RequestError::Randomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_valid() {
        let one = new_client_msg_id().unwrap();
        assert_eq!(one.len(), 22);
        assert_ne!(one, new_client_msg_id().unwrap());
        ringway_engine::ids::check_client_msg_id(&one).unwrap();
    }
}
