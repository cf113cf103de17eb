//! Waiting for a condition that somebody else brings about.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

const POLL: Duration = Duration::from_millis(20);

/// Tries until it succeeds; the last failure when it has not within the limit.
pub(crate) fn until<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("not within {} s", limit.as_secs()));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}
