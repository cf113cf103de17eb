//! The order of one conversation's batches at a node that gets some of them from other nodes.
//!
//! ```text
//!   own batches ──┐            next in order, or of the past
//!                 ├── push ──────────────────────────────────► ready
//!   peers' ───────┘    │ above a hole                            ▲
//!                      └──► held, until the hole is closed ──────┤
//!                           or `wait_ms` have passed (expire) ───┘
//! ```
//!
//! Lives on the conversation's home shard, beside its hub. Invariants: what is held lies above a hole, at most
//! `HELD_MAX` batches; nothing is held for longer than `wait_ms` after the next call of `expire`. It makes
//! holes rare and loses nothing: whoever is shown a batch above a hole reads what is missing (`delivery`).

use std::collections::BTreeMap;

use smallvec::{SmallVec, smallvec};

use crate::delivery::Place;

/// Batches held for one conversation; past it all of them go on.
const HELD_MAX: usize = 64;

/// Batches in the order in which they go on.
pub type Ready<T> = SmallVec<[T; 1]>;

/// The order of one conversation; see the module's head.
#[derive(Debug)]
pub struct Reorder<T> {
    /// The highest place that went on, if any did.
    last: Option<Place>,
    held: BTreeMap<Place, Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    last: u64,
    until_ms: u64,
    batch: T,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self { last: None, held: BTreeMap::new() }
    }
}

impl<T> Reorder<T> {
    /// A batch whose numbers are `first..=last` of this epoch. Answers what goes on now, in order.
    pub fn push(&mut self, epoch: u64, (first, last): (u64, u64), batch: T, now_ms: u64, wait_ms: u64) -> Ready<T> {
        let is_above_a_hole = self.last.is_some_and(|known| known.0 == epoch && first > known.1 + 1);
        // Two batches never begin at the same number; if they do, neither may be lost.
        if is_above_a_hole && wait_ms > 0 && !self.held.contains_key(&(epoch, first)) {
            self.held.insert((epoch, first), Held { last, until_ms: now_ms + wait_ms, batch });
            return if self.held.len() > HELD_MAX { self.let_all_go() } else { SmallVec::new() };
        }
        // What is held of an epoch that is over has waited for numbers that will not come.
        let mut ready = match self.last {
            Some(known) if epoch > known.0 => self.let_all_go(),
            _ => SmallVec::new(),
        };
        ready.push(batch);
        self.last = self.last.max(Some((epoch, last)));
        self.take_next(&mut ready);
        ready
    }

    /// What has waited long enough goes on, and what lies below it.
    pub fn expire(&mut self, now_ms: u64) -> Ready<T> {
        let due = self.held.iter().rev().find(|(_, held)| held.until_ms <= now_ms).map(|(place, _)| *place);
        let Some(due) = due else { return SmallVec::new() };
        let above = self.held.split_off(&(due.0, due.1 + 1));
        let mut ready = self.let_all_go();
        self.held = above;
        self.take_next(&mut ready);
        ready
    }

    /// Whether anything is held.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    fn let_all_go(&mut self) -> Ready<T> {
        let mut ready = smallvec![];
        for (place, held) in std::mem::take(&mut self.held) {
            self.last = self.last.max(Some((place.0, held.last)));
            ready.push(held.batch);
        }
        ready
    }

    /// Adds those that follow what has gone on.
    fn take_next(&mut self, ready: &mut Ready<T>) {
        while let Some(entry) = self.held.first_entry()
            && self.last.is_some_and(|known| *entry.key() <= (known.0, known.1 + 1))
        {
            let (place, held) = entry.remove_entry();
            self.last = self.last.max(Some((place.0, held.last)));
            ready.push(held.batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn push(order: &mut Reorder<u64>, epoch: u64, seq: u64) -> Vec<u64> {
        order.push(epoch, (seq, seq), seq, 0, 50).to_vec()
    }

    #[test]
    fn a_batch_above_a_hole_waits_for_it() {
        let mut order = Reorder::default();
        assert_eq!(push(&mut order, 1, 7), [7], "the first one tells where the order begins");
        assert!(push(&mut order, 1, 10).is_empty() && push(&mut order, 1, 9).is_empty());
        assert_eq!(push(&mut order, 1, 8), [8, 9, 10]);
        assert_eq!(push(&mut order, 1, 8), [8], "one of the past is for others to judge");
        assert!(!order.is_holding());
    }

    #[test]
    fn a_hole_is_not_waited_for_longer_than_said() {
        let mut order = Reorder::default();
        push(&mut order, 1, 1);
        assert!(order.push(1, (3, 3), 3, 0, 50).is_empty());
        assert!(order.push(1, (6, 6), 6, 40, 50).is_empty());
        assert!(order.expire(49).is_empty());
        assert_eq!(order.expire(50).to_vec(), [3]);
        assert_eq!(order.expire(90).to_vec(), [6]);
        assert_eq!(push(&mut order, 1, 7), [7]);
    }

    #[test]
    fn a_later_epoch_ends_every_wait() {
        let mut order = Reorder::default();
        push(&mut order, 1, 50);
        assert!(push(&mut order, 1, 53).is_empty());
        assert_eq!(push(&mut order, 2, 44), [53, 44]);
        assert_eq!(push(&mut order, 1, 60), [60], "nothing of an earlier one is held");
        assert_eq!(push(&mut order, 2, 45), [45]);
    }

    #[test]
    fn without_a_wait_nothing_is_held() {
        let mut order = Reorder::default();
        push(&mut order, 1, 1);
        assert_eq!(order.push(1, (9, 9), 9, 0, 0).to_vec(), [9]);
    }

    proptest! {
        #[test]
        fn every_batch_goes_on_once_and_in_order_unless_it_waited_too_long(
            order_of in Just((2..60_u64).collect::<Vec<_>>()).prop_shuffle(),
            expire_each in 5..100_usize,
        ) {
            let mut order = Reorder::default();
            let mut out = push(&mut order, 1, 1);
            let mut expired = false;
            for (at, seq) in order_of.iter().enumerate() {
                out.extend(order.push(1, (*seq, *seq), *seq, at as u64, 1_000));
                if at % expire_each == expire_each - 1 {
                    expired |= order.is_holding();
                    out.extend(order.expire(at as u64 + 1_000));
                }
                prop_assert!(order.held.len() <= HELD_MAX);
            }
            out.extend(order.expire(u64::MAX));
            prop_assert!(expired || out.is_sorted(), "{:?}", out);
            out.sort_unstable();
            prop_assert_eq!(out, (1..60).collect::<Vec<_>>());
        }
    }
}
