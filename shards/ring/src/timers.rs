//! Sleepers of a shard, in order of when they wake. Belongs to the shard's thread.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;
use std::time::{Duration, Instant};

/// One sleeper: when it wakes, and a number that tells those of one instant apart.
pub(crate) type TimerKey = (Instant, u64);

/// Sleepers by time.
#[derive(Default)]
pub(crate) struct Timers {
    sleepers: RefCell<BTreeMap<TimerKey, Waker>>,
    number: Cell<u64>,
}

impl Timers {
    /// A key for a sleep of this many milliseconds from now.
    pub(crate) fn key(&self, ms: u64) -> TimerKey {
        let number = self.number.get();
        self.number.set(number.wrapping_add(1));
        let now = Instant::now();
        // A time that cannot be reckoned is as good as never.
        (now.checked_add(Duration::from_millis(ms)).unwrap_or(now + Duration::from_secs(u64::from(u32::MAX))), number)
    }

    /// Enters a sleeper, or its new waker.
    pub(crate) fn enter(&self, key: TimerKey, waker: Waker) {
        drop(self.sleepers.borrow_mut().insert(key, waker));
    }

    /// Takes a sleeper out.
    pub(crate) fn remove(&self, key: TimerKey) {
        let removed = self.sleepers.borrow_mut().remove(&key);
        drop(removed);
    }

    /// How long until the first wakes; none without sleepers.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let first = self.sleepers.borrow().first_key_value().map(|((at, _), _)| *at)?;
        Some(first.saturating_duration_since(Instant::now()))
    }

    /// Wakes those whose time has come.
    pub(crate) fn fire(&self) {
        if self.sleepers.borrow().is_empty() {
            return;
        }
        let now = Instant::now();
        loop {
            let waker = {
                let mut sleepers = self.sleepers.borrow_mut();
                match sleepers.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    _ => return,
                }
            };
            waker.wake();
        }
    }
}
