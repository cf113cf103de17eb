//! The one place where the gateway reads a clock; the engine is told.
//!
//! Wall time goes into messages and traces. Deadlines run on steady time: it starts at the wall time of the
//! process's start and never steps, whatever is done to the wall clock.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::ClockId;

/// Wall time: Unix time in microseconds.
pub(crate) fn unix_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

/// Wall time: Unix time in milliseconds.
pub(crate) fn unix_ms() -> u64 {
    unix_us() / 1_000
}

/// Steady time in milliseconds, close to Unix time; for deadlines, all of which are far longer than a tick of the
/// kernel: it is read with every message, and the coarse clock is the cheaper one.
pub(crate) fn steady_ms() -> u64 {
    /// Unix time less steady time at the start.
    static AHEAD_MS: OnceLock<u64> = OnceLock::new();
    let now = rustix::time::clock_gettime(ClockId::MonotonicCoarse);
    let now_ms = now.tv_sec as u64 * 1_000 + now.tv_nsec as u64 / 1_000_000;
    AHEAD_MS.get_or_init(|| unix_ms().saturating_sub(now_ms)) + now_ms
}
