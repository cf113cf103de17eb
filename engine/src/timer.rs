//! A timer wheel: many coarse deadlines, one entry each, cancelled by being ignored when they fire.
//!
//! ```text
//!  slot:  0     1     2    …   1023
//!        [k,k] [ ]   [k]       [ ]        each slot is one tick; an entry further away than one turn
//!               ^ now                     of the wheel stays in its slot until its own time has come
//! ```
//!
//! The owner keeps at most one entry a connection and asks it, when it fires, what is really due: a
//! deadline that moved on costs nothing until then. Entries never fire early, and at most one tick late
//! for an owner that polls every tick.

/// Slots of the wheel; with the usual tick of 100 ms one turn is 102 s, past every session deadline.
const SLOTS: usize = 1_024;

/// A wheel of entries keyed by `K`.
#[derive(Debug)]
pub struct Wheel<K> {
    /// Each entry with its tick, counted from `first_tick`.
    slots: Vec<Vec<(u32, K)>>,
    tick_ms: u64,
    first_tick: u64,
    next_tick: u64,
    len: usize,
}

impl<K> Wheel<K> {
    /// A wheel that starts at `now_ms`.
    #[must_use]
    pub fn new(tick_ms: u64, now_ms: u64) -> Self {
        let tick_ms = tick_ms.max(1);
        let first_tick = now_ms / tick_ms;
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { slots, tick_ms, first_tick, next_tick: first_tick, len: 0 }
    }

    /// Fires `key` at the first poll at or after `at_ms`.
    pub fn schedule(&mut self, at_ms: u64, key: K) {
        let tick = at_ms.div_ceil(self.tick_ms).max(self.next_tick);
        if let Some(slot) = self.slots.get_mut(tick as usize % SLOTS) {
            // Thirteen years of the usual tick; what is to fire later than that fires then, and its owner enters it anew.
            slot.push((u32::try_from(tick - self.first_tick).unwrap_or(u32::MAX), key));
            self.len += 1;
        }
    }

    /// Takes out everything that is due.
    pub fn poll(&mut self, now_ms: u64, due: &mut Vec<K>) {
        let now = now_ms / self.tick_ms;
        // After a long pause one whole turn visits every slot.
        let first = self.next_tick.max(now.saturating_sub(SLOTS as u64 - 1));
        for tick in first..=now {
            let Some(slot) = self.slots.get_mut(tick as usize % SLOTS) else { continue };
            let before = due.len();
            let since_first = now - self.first_tick;
            due.extend(slot.extract_if(.., |entry| u64::from(entry.0) <= since_first).map(|entry| entry.1));
            self.len -= due.len() - before;
            if slot.is_empty() {
                slot.shrink_to(8);
            }
        }
        self.next_tick = self.next_tick.max(now + 1);
    }

    /// Entries that have not fired.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_entry_fires_once_never_early_and_at_most_a_tick_late(
            delays in prop::collection::vec(0..300_000_u64, 1..200),
            steps in prop::collection::vec(1..100_u64, 1..50),
        ) {
            let mut wheel = Wheel::new(100, 5_000);
            for (key, delay) in delays.iter().enumerate() {
                wheel.schedule(5_000 + delay, key);
            }
            let mut now = 5_000;
            let mut fired = vec![None; delays.len()];
            let mut steps = steps.into_iter().cycle();
            while !wheel.is_empty() {
                let mut due = Vec::new();
                wheel.poll(now, &mut due);
                for key in due {
                    prop_assert!(fired[key].is_none());
                    fired[key] = Some(now);
                }
                now += steps.next().unwrap();
            }
            for (key, delay) in delays.iter().enumerate() {
                let at = fired[key].unwrap();
                prop_assert!(at >= 5_000 + delay && at < 5_000 + delay + 200, "due {} fired {}", 5_000 + delay, at);
            }
        }
    }

    #[test]
    fn a_long_pause_fires_all_that_was_due() {
        let mut wheel = Wheel::new(100, 0);
        for at in [50, 99_000, 250_000, 1_000_000] {
            wheel.schedule(at, at);
        }
        let mut due = Vec::new();
        wheel.poll(500_000, &mut due);
        due.sort_unstable();
        assert_eq!(due, [50, 99_000, 250_000]);
    }
}
