//! A window of things seen lately, bounded in count and in time, oldest out first.
//!
//! The sequencer keys it by (conversation, sender, client message id). An entry may be pinned: it then
//! outlives both bounds until it is released, because an answer that is not yet in the archive can be
//! found nowhere else.

use std::collections::VecDeque;
use std::hash::Hash;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// Key → value for the last `entries_max` insertions of the last `ttl_ms`.
#[derive(Debug)]
pub struct Window<K, V> {
    entries: HashMap<K, Entry<V>, RandomState>,
    order: VecDeque<(u64, K)>,
    entries_max: usize,
    ttl_ms: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    pinned: bool,
}

impl<K: Clone + Eq + Hash, V> Window<K, V> {
    /// An empty window.
    #[must_use]
    pub fn new(entries_max: usize, ttl_ms: u64) -> Self {
        Self { entries: HashMap::default(), order: VecDeque::new(), entries_max, ttl_ms }
    }

    /// The value under a key, if it is still remembered.
    #[must_use]
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// Remembers a key that is not there yet; a known key keeps its first value. Then forgets what the
    /// bounds no longer cover.
    pub fn insert(&mut self, key: K, value: V, pinned: bool, now_ms: u64) {
        if !self.entries.contains_key(&key) {
            self.order.push_back((now_ms, key.clone()));
            self.entries.insert(key, Entry { value, pinned });
        }
        self.expire(now_ms);
    }

    /// Lets the bounds apply to a key again.
    pub fn release(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.pinned = false;
        }
    }

    /// Forgets from the oldest on whatever is past a bound, up to the first pinned entry.
    pub fn expire(&mut self, now_ms: u64) {
        while let Some((at, key)) = self.order.front() {
            let past = self.order.len() > self.entries_max || at.saturating_add(self.ttl_ms) <= now_ms;
            if !past || self.entries.get(key).is_some_and(|entry| entry.pinned) {
                return;
            }
            self.entries.remove(key);
            self.order.pop_front();
        }
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_pinned_entry_outlives_both_bounds_until_released() {
        let mut window = Window::new(2, 100);
        window.insert("a", 1, true, 0);
        for (n, key) in ["b", "c", "d"].into_iter().enumerate() {
            window.insert(key, n, false, 1_000);
        }
        assert_eq!(window.get(&"a"), Some(&1));
        window.release(&"a");
        window.expire(1_000);
        assert_eq!((window.get(&"a"), window.len()), (None, 2));
    }

    proptest! {
        #[test]
        fn a_key_keeps_its_first_value_and_the_bounds_hold(keys in prop::collection::vec(0..50_u8, 1..400)) {
            let mut window = Window::new(16, 40);
            let mut model: Vec<(u8, u64, usize)> = Vec::new();
            for (now, key) in keys.into_iter().enumerate() {
                let at = now as u64;
                if !model.iter().any(|entry| entry.0 == key) {
                    model.push((key, at, now));
                }
                window.insert(key, now, false, at);
                while model.first().is_some_and(|entry| model.len() > 16 || entry.1 + 40 <= at) {
                    model.remove(0);
                }
                prop_assert_eq!(window.len(), model.len());
                for entry in &model {
                    prop_assert_eq!(window.get(&entry.0), Some(&entry.2));
                }
            }
        }
    }
}
