//! The one place where the tools read the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds.
pub(crate) fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The time of day in UTC, to the microsecond, of a Unix time in microseconds: `09:57:50.123 456`.
pub(crate) fn time_of_day(unix_us: u64) -> String {
    let (seconds, us) = (unix_us / 1_000_000 % 86_400, unix_us % 1_000_000);
    let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03} {:03}", us / 1_000, us % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_shows_milliseconds_and_microseconds() {
        assert_eq!(time_of_day(0), "00:00:00.000 000");
        assert_eq!(time_of_day((86_400 + 35_870) * 1_000_000 + 123_456), "09:57:50.123 456");
    }
}
