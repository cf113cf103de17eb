//! A log line at most once a second: what strangers cause must not fill a disk.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::sync::lock;

const PAUSE: Duration = Duration::from_secs(1);

/// Says whether to speak.
#[derive(Debug, Default)]
pub(crate) struct Quiet(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    spoke: Option<Instant>,
    held_back: u64,
}

impl Quiet {
    /// `Some` if a line may be written, with the number of those held back since the last one.
    pub(crate) fn may_speak(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.0);
        if state.spoke.is_some_and(|spoke| now.saturating_duration_since(spoke) < PAUSE) {
            state.held_back += 1;
            return None;
        }
        state.spoke = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_speaks_once_a_second_and_says_what_it_held_back() {
        let (quiet, start) = (Quiet::default(), Instant::now());
        let seen: Vec<_> =
            [0, 1, 999, 1_000, 1_001, 2_500].map(|ms| quiet.may_speak(start + Duration::from_millis(ms))).into();
        assert_eq!(seen, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
