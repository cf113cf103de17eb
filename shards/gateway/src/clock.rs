//! The one place where the gateway reads a clock; the engine is told.
//!
//! Wall time goes into messages and traces. Deadlines run on steady time: it starts at the wall time of the
//! process's start and never steps, whatever is done to the wall clock.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Wall time: Unix time in microseconds.
pub(crate) fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Wall time: Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    unix_us() / 1_000
}

/// Steady time in milliseconds, close to Unix time; for deadlines.
pub(crate) fn steady_ms() -> u64 {
    static START: OnceLock<(Instant, u64)> = OnceLock::new();
    let (start, at_ms) = START.get_or_init(|| (Instant::now(), unix_ms()));
    at_ms + start.elapsed().as_millis() as u64
}
