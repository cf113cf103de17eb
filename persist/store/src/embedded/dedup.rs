//! The dedup window: which client message ids were numbered lately, and for which message.
//!
//! **The rule.** A message is a repeat of the latest earlier one with the same (conversation, sender,
//! client message id) if it was taken at most `DEDUP_MS` after it, by the times in the two events. The
//! rule looks at the log alone, never at what happens to be in memory, so a recovery that reads the
//! same log decides the same, and numbers come out the same.
//!
//! The window answers by that rule, or says [`Lookup::Ask`] where only the archive can tell:
//!
//! ```text
//!   entries (exact; unarchived ones are never let go)
//!      │ more than DEDUP_ENTRIES_MAX: the oldest
//!      ▼
//!   filters (a bit set of DEDUP_FILTER_ENTRIES each: "surely not" or "ask")
//!      │ past their time, or more than DEDUP_FILTERS_MAX
//!      ▼
//!   covered_from: messages near or before it may be repeats of what is forgotten: "ask"
//! ```
//!
//! Pure but for the random keys of its hash: clients choose what is hashed.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashMap;
use ringway_engine::event::MessageEvent;
use ringway_engine::limits::{DEDUP_ENTRIES_MAX, DEDUP_MS};
use rustc_hash::FxBuildHasher;

use crate::limits::{DEDUP_FILTER_ENTRIES, DEDUP_FILTERS_MAX};
use crate::ports::HeldNumber;

/// Events reach the sequencer a little after their time; entries stay that much longer.
const LATENESS_MS: u64 = 10_000;
/// Bits of a filter: 16 an entry, which with four probes errs in 1 of 400.
const FILTER_BITS: usize = DEDUP_FILTER_ENTRIES * 16;

/// Entries let go at once: the mutex around the window is not held for longer than a few hundred µs.
const FORGET_STEPS: usize = 1_024;

/// The hash of (conversation, sender, client message id) under random keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SendKey(u64, u64);

/// Makes keys. Apart from the window, so that hashing needs no lock.
#[derive(Debug, Clone, Default)]
pub(super) struct SendKeys(RandomState, RandomState);

impl SendKeys {
    pub(super) fn key(&self, conv: &str, from: &str, client_msg_id: &str) -> SendKey {
        let send = (conv, from, client_msg_id);
        SendKey(self.0.hash_one(send), self.1.hash_one(send))
    }

    pub(super) fn of(&self, event: &MessageEvent) -> SendKey {
        self.key(&event.conv, &event.from, &event.client_msg_id)
    }
}

/// A number in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    number: HeldNumber,
    archived: bool,
}

/// What the window knows of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup {
    /// It repeats (or is) the message that holds this number.
    Known(HeldNumber),
    /// It repeats nothing.
    New,
    /// The archive has to be asked.
    Ask,
}

#[derive(Debug)]
struct Filter {
    bits: Vec<u64>,
    entries: usize,
    newest_ms: u64,
}

impl Filter {
    fn new() -> Self {
        Self { bits: vec![0; FILTER_BITS / 64], entries: 0, newest_ms: 0 }
    }

    fn places(key: SendKey) -> [usize; 4] {
        [key.0, key.0 >> 32, key.1, key.1 >> 32].map(|part| part as usize % FILTER_BITS)
    }

    fn insert(&mut self, key: SendKey, ts_ms: u64) {
        for place in Self::places(key) {
            if let Some(word) = self.bits.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        self.entries += 1;
        self.newest_ms = self.newest_ms.max(ts_ms);
    }

    fn may_hold(&self, key: SendKey) -> bool {
        Self::places(key)
            .iter()
            .all(|place| self.bits.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1))
    }
}

/// The window.
#[derive(Debug)]
pub(super) struct DedupWindow {
    entries: HashMap<SendKey, Entry, FxBuildHasher>,
    /// In the order of numbering; an item whose message id is not its entry's is overtaken.
    order: VecDeque<(SendKey, u64)>,
    /// Unarchived messages whose client message id a later message has taken over, by message id.
    overtaken: HashMap<u64, HeldNumber, FxBuildHasher>,
    filters: VecDeque<Filter>,
    covered_from_ms: u64,
    entries_max: usize,
    filters_max: usize,
}

impl DedupWindow {
    /// An empty window of which every message taken at or after `covered_from_ms` will be told to.
    pub(super) fn new(covered_from_ms: u64) -> Self {
        Self::bounded(covered_from_ms, DEDUP_ENTRIES_MAX, DEDUP_FILTERS_MAX)
    }

    fn bounded(covered_from_ms: u64, entries_max: usize, filters_max: usize) -> Self {
        Self {
            entries: HashMap::default(),
            order: VecDeque::new(),
            overtaken: HashMap::default(),
            filters: VecDeque::new(),
            covered_from_ms,
            entries_max,
            filters_max,
        }
    }

    /// From when on the window tells of every message.
    pub(super) fn covered_from_ms(&self) -> u64 {
        self.covered_from_ms
    }

    /// Takes in sends from before `known_from_ms`, which is where the window began when they were read: it
    /// begins at `from_ms` after. False when it begins elsewhere by now, or has no room: then it stays as it is.
    pub(super) fn cover(&mut self, known_from_ms: u64, from_ms: u64, sends: &[(SendKey, u64)]) -> bool {
        let room = (self.filters_max.saturating_sub(self.filters.len())).saturating_mul(DEDUP_FILTER_ENTRIES);
        if self.covered_from_ms != known_from_ms || sends.len() > room {
            return false;
        }
        for (key, ts_ms) in sends {
            if self.filters.front().is_none_or(|filter| filter.entries >= DEDUP_FILTER_ENTRIES) {
                self.filters.push_front(Filter::new());
            }
            if let Some(filter) = self.filters.front_mut() {
                filter.insert(*key, *ts_ms);
            }
        }
        self.covered_from_ms = from_ms;
        true
    }

    /// What is known of a message with this key, id and time.
    pub(super) fn lookup(&self, key: SendKey, msg_id: u64, ts_ms: u64) -> Lookup {
        if let Some(number) = self.overtaken.get(&msg_id).filter(|_| !self.overtaken.is_empty()) {
            return Lookup::Known(*number);
        }
        match self.entries.get(&key) {
            Some(entry) if entry.number.msg_id == msg_id || repeats(&entry.number, ts_ms) => {
                Lookup::Known(entry.number)
            }
            Some(_) => Lookup::New,
            None if ts_ms < self.covered_from_ms.saturating_add(DEDUP_MS) && self.covered_from_ms > 0 => Lookup::Ask,
            None if self.filters.iter().any(|filter| filter.may_hold(key)) => Lookup::Ask,
            None => Lookup::New,
        }
    }

    /// What is known of a send that is about to be made: unlike a message in the log it repeats an
    /// unarchived one however old that is.
    pub(super) fn lookup_send(&self, key: SendKey, now_ms: u64) -> Lookup {
        match self.entries.get(&key) {
            Some(entry) if !entry.archived => Lookup::Known(entry.number),
            _ => self.lookup(key, 0, now_ms),
        }
    }

    /// A new number was given out (`archived: false`), or is loaded from the archive.
    pub(super) fn insert(&mut self, key: SendKey, number: HeldNumber, archived: bool) {
        self.order.push_back((key, number.msg_id));
        if let Some(old) = self.entries.insert(key, Entry { number, archived })
            && !old.archived
        {
            self.overtaken.insert(old.number.msg_id, old.number);
        }
    }

    /// The message is in the archive now.
    pub(super) fn archived(&mut self, key: SendKey, msg_id: u64) {
        match self.entries.get_mut(&key) {
            Some(entry) if entry.number.msg_id == msg_id => entry.archived = true,
            _ => drop(self.overtaken.remove(&msg_id)),
        }
    }

    /// Lets go of what is past its time at `now_ms` or over the bound, a bounded number at once: true when
    /// there is more to do.
    pub(super) fn forget(&mut self, now_ms: u64) -> bool {
        while let Some(oldest) = self.filters.front() {
            if !is_over(oldest.newest_ms, now_ms) && self.filters.len() <= self.filters_max {
                break;
            }
            self.covered_from_ms = self.covered_from_ms.max(oldest.newest_ms + 1);
            self.filters.pop_front();
        }
        (0..FORGET_STEPS).all(|_| self.forget_oldest(now_ms))
    }

    /// Lets go of the oldest entry if its turn has come.
    fn forget_oldest(&mut self, now_ms: u64) -> bool {
        let Some((key, msg_id)) = self.order.front().copied() else { return false };
        if let Some(entry) = self.entries.get(&key).copied().filter(|entry| entry.number.msg_id == msg_id) {
            if !entry.archived {
                return false;
            }
            if is_over(entry.number.ts_ms, now_ms) {
                self.covered_from_ms = self.covered_from_ms.max(entry.number.ts_ms + 1);
            } else if self.entries.len() > self.entries_max {
                self.filter(key, entry.number.ts_ms);
            } else {
                return false;
            }
            self.entries.remove(&key);
        }
        self.order.pop_front();
        true
    }

    fn filter(&mut self, key: SendKey, ts_ms: u64) {
        if self.filters.back().is_none_or(|filter| filter.entries >= DEDUP_FILTER_ENTRIES) {
            self.filters.push_back(Filter::new());
        }
        if let Some(filter) = self.filters.back_mut() {
            filter.insert(key, ts_ms);
        }
    }
}

fn is_over(ts_ms: u64, now_ms: u64) -> bool {
    ts_ms.saturating_add(DEDUP_MS + LATENESS_MS) < now_ms
}

/// The rule of the module's doc.
pub(super) fn repeats(earlier: &HeldNumber, ts_ms: u64) -> bool {
    ts_ms <= earlier.ts_ms.saturating_add(DEDUP_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(msg_id: u64, ts_ms: u64) -> HeldNumber {
        HeldNumber { epoch: 1, seq: msg_id, msg_id, ts_ms }
    }

    #[test]
    fn a_repeat_within_the_time_is_known_and_a_later_one_new() {
        let keys = SendKeys::default();
        let mut window = DedupWindow::new(0);
        let key = keys.key("p2p:a:b", "a", "c-1");
        assert_eq!(window.lookup(key, 1, 50), Lookup::New);
        window.insert(key, number(1, 50), false);
        assert_eq!(window.lookup(key, 2, 50 + DEDUP_MS), Lookup::Known(number(1, 50)));
        assert_eq!(window.lookup(key, 2, 51 + DEDUP_MS), Lookup::New);
        assert_eq!(window.lookup(key, 1, 51 + DEDUP_MS), Lookup::Known(number(1, 50)), "the same message");
        assert_eq!(window.lookup_send(key, 51 + DEDUP_MS), Lookup::Known(number(1, 50)), "not archived yet");
    }

    #[test]
    fn a_message_whose_id_was_taken_over_keeps_its_number_until_it_is_archived() {
        let keys = SendKeys::default();
        let mut window = DedupWindow::new(0);
        let key = keys.key("p2p:a:b", "a", "c-1");
        window.insert(key, number(1, 50), false);
        window.insert(key, number(2, 51 + DEDUP_MS), false);
        assert_eq!(window.lookup(key, 1, 50), Lookup::Known(number(1, 50)));
        window.archived(key, 1);
        assert_eq!(window.lookup(key, 2, 51 + DEDUP_MS), Lookup::Known(number(2, 51 + DEDUP_MS)));
    }

    #[test]
    fn a_window_that_takes_in_earlier_sends_asks_for_those_alone() {
        let send_keys = SendKeys::default();
        let key = |n: u64| send_keys.key("c", "a", &n.to_string());
        let mut window = DedupWindow::new(900);
        assert_eq!(window.lookup(key(1), 9, 1_000), Lookup::Ask, "it may repeat what is not here");
        assert!(!window.cover(800, 700, &[(key(1), 750)]), "read for another beginning");
        assert!(window.cover(900, 500, &[(key(1), 850), (key(2), 600)]));
        assert!(window.cover(500, 0, &[(key(3), 100)]));
        for repeated in 1..=3 {
            assert_eq!(window.lookup(key(repeated), 9, 1_000), Lookup::Ask);
        }
        assert_eq!(window.lookup(key(4), 9, 1_000), Lookup::New);
        window.forget(850 + DEDUP_MS + LATENESS_MS + 1);
        assert_eq!(window.lookup(key(4), 9, 851), Lookup::Ask, "what was taken in is forgotten in its time");
    }

    #[test]
    fn an_unarchived_message_outlives_time_and_bound() {
        let send_keys = SendKeys::default();
        let mut window = DedupWindow::bounded(0, 1, 1);
        let keys: Vec<_> = (0..4).map(|n| send_keys.key("c", "a", &n.to_string())).collect();
        for (n, key) in keys.iter().enumerate() {
            window.insert(*key, number(n as u64 + 1, 50), false);
        }
        window.forget(10 * DEDUP_MS);
        assert_eq!(window.lookup(keys[0], 1, 10 * DEDUP_MS), Lookup::Known(number(1, 50)));
        for (n, key) in keys.iter().enumerate() {
            window.archived(*key, n as u64 + 1);
        }
        window.forget(10 * DEDUP_MS);
        assert!(window.entries.is_empty() && window.order.is_empty());
        assert_eq!(window.lookup(keys[0], 9, 10 * DEDUP_MS), Lookup::New);
        assert_eq!(window.lookup(keys[0], 9, 50), Lookup::Ask, "a clock set back reaches what is forgotten");
    }

    proptest! {
        /// Against a model that forgets nothing: the window never answers wrongly, it may only ask.
        #[test]
        fn the_window_never_forgets_silently(
            steps in prop::collection::vec((0..40_u8, 0..DEDUP_MS / 4, any::<bool>()), 1..300),
        ) {
            let keys = SendKeys::default();
        let mut window = DedupWindow::bounded(0, 8, 2);
            let mut model: std::collections::HashMap<u8, HeldNumber> = std::collections::HashMap::new();
            let mut now = 1;
            for (msg_id, (id, later, archive)) in (1..).zip(steps) {
                now += later;
                let key = keys.key("c", "a", &id.to_string());
                let expected = model.get(&id).filter(|number| repeats(number, now)).copied();
                match window.lookup(key, msg_id, now) {
                    Lookup::Known(found) => prop_assert_eq!(Some(found), expected),
                    Lookup::New => prop_assert_eq!(None, expected),
                    Lookup::Ask => {}
                }
                if expected.is_none() {
                    model.insert(id, number(msg_id, now));
                    window.insert(key, number(msg_id, now), false);
                }
                if archive {
                    for (id, number) in &model {
                        let key = keys.key("c", "a", &id.to_string());
                        window.archived(key, number.msg_id);
                    }
                }
                while window.forget(now) {}
            }
        }
    }
}
