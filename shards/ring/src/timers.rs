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
    /// When the kernel's timer is due, while it runs.
    set_to: Cell<Option<Instant>>,
}

/// How the kernel's timer is to be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    /// From now.
    pub(crate) time: Duration,
    /// It runs already, and is due later.
    pub(crate) again: bool,
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

    /// How the timer has to be set, so that it is due when the first wakes; none when it is due by then anyway. One
    /// that is due earlier, for a sleeper that is gone, costs a turn.
    pub(crate) fn set(&self) -> Option<Setting> {
        let first = self.sleepers.borrow().first_key_value().map(|((at, _), _)| *at)?;
        let set_to = self.set_to.get();
        if set_to.is_some_and(|due| due <= first) {
            return None;
        }
        self.set_to.set(Some(first));
        Some(Setting { time: first.saturating_duration_since(Instant::now()), again: set_to.is_some() })
    }

    /// The timer was due: wakes those whose time has come.
    pub(crate) fn fire(&self) {
        self.set_to.set(None);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timer_is_moved_only_to_an_earlier_time() {
        let timers = Timers::default();
        assert_eq!(timers.set(), None);
        let [early, late] = [20_000, 30_000].map(|ms| timers.key(ms));
        timers.enter(late, Waker::noop().clone());
        assert!(timers.set().is_some_and(|setting| !setting.again));
        assert_eq!(timers.set(), None, "it is set to that");
        timers.enter(early, Waker::noop().clone());
        assert!(timers.set().is_some_and(|setting| setting.again));
        timers.remove(early);
        assert_eq!(timers.set(), None, "it is due earlier than anybody wakes");
        timers.fire();
        let setting = timers.set().unwrap();
        assert!(!setting.again && setting.time > Duration::from_secs(20));
    }
}
