//! Unix time and random bytes: the two things the API takes from the world besides its ports.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// Unix time in milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// `N` random bytes.
///
/// # Errors
/// The kernel gave none: the request cannot be served.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Problem::internal)?;
    Ok(bytes)
}

/// `N` random bytes in base64url without padding.
///
/// # Errors
/// As [`random`].
pub(crate) fn random_text<const N: usize>() -> Result<String, Problem> {
    Ok(URL_SAFE_NO_PAD.encode(random::<N>()?))
}

/// SHA-256, as refresh tokens are stored.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
