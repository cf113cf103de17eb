//! Who is before whom: of calls that share a key, the later waits until the earlier is settled.
//!
//! A call takes its turn when it is made, and settles by dropping it, whether it went well or not. It waits only
//! for calls made before it, so nobody waits in a circle. Gateways have one batch of a conversation under way at
//! a time, so as a rule nobody waits at all.
//!
//! Bounded by the calls under way: one entry for each of their keys.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use tokio::sync::watch;

/// The calls under way, by key.
#[derive(Debug, Default)]
pub(crate) struct Order {
    latest: Mutex<Latest>,
}

#[derive(Debug, Default)]
struct Latest {
    next_number: u64,
    /// The last call that has the key: its number, and what ends when it is settled.
    by_key: FxHashMap<u64, (u64, watch::Receiver<()>)>,
}

/// The place of one call.
#[derive(Debug)]
pub(crate) struct Turn {
    order: Arc<Order>,
    number: u64,
    keys: Vec<u64>,
    before: Vec<watch::Receiver<()>>,
    /// Goes last, after the keys are given back.
    _settled: watch::Sender<()>,
}

impl Order {
    /// Takes the next turn for a call with these keys.
    pub(crate) fn turn(self: &Arc<Self>, mut keys: Vec<u64>) -> Turn {
        keys.sort_unstable();
        keys.dedup();
        let (settled, ends) = watch::channel(());
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let number = latest.next_number;
        latest.next_number += 1;
        let mut before: Vec<(u64, watch::Receiver<()>)> = Vec::new();
        for key in &keys {
            before.extend(latest.by_key.insert(*key, (number, ends.clone())));
        }
        before.sort_unstable_by_key(|(number, _)| *number);
        before.dedup_by_key(|(number, _)| *number);
        let before = before.into_iter().map(|(_, ends)| ends).collect();
        Turn { order: Arc::clone(self), number, keys, before, _settled: settled }
    }
}

impl Turn {
    /// Returns once every earlier call that shares a key is settled.
    pub(crate) async fn comes(&mut self) {
        for mut earlier in self.before.drain(..) {
            // Nothing is sent on it: it ends when the call does.
            while earlier.changed().await.is_ok() {}
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut latest = self.order.latest.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            if latest.by_key.get(key).is_some_and(|(number, _)| *number == self.number) {
                latest.by_key.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn has_come(turn: &mut Turn) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        // Polled anew each time: what was drained before is gone only once it had ended.
        let before = turn.before.clone();
        let come = pin!(turn.comes()).poll(&mut context) == Poll::Ready(());
        turn.before = if come { Vec::new() } else { before };
        come
    }

    #[test]
    fn calls_wait_for_earlier_ones_of_their_keys_alone() {
        let order = Arc::new(Order::default());
        let mut first = order.turn(vec![1, 2, 2]);
        let mut other = order.turn(vec![3]);
        let mut second = order.turn(vec![2, 3]);
        let mut third = order.turn(vec![1, 2]);
        assert!(has_come(&mut first) && has_come(&mut other));
        assert!(!has_come(&mut second) && !has_come(&mut third));
        drop(other);
        assert!(!has_come(&mut second));
        drop(first);
        assert!(has_come(&mut second));
        assert!(!has_come(&mut third));
        drop(second);
        assert!(has_come(&mut third));
        drop(third);
        assert!(order.latest.lock().unwrap().by_key.is_empty());
    }
}
