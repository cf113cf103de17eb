//! The one clock of a run: nanoseconds since the program began, never stepping back.

use std::sync::OnceLock;
use std::time::Instant;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the first call.
pub(crate) fn now_ns() -> u64 {
    u64::try_from(ORIGIN.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds as nanoseconds.
pub(crate) fn seconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
