//! Where in a [`Table`](crate::table::Table) something is, by a key that stands there too.
//!
//! A place costs four bytes and one of the hash, and the key is kept once. So whoever searches gets candidates, and
//! looks whether each is meant; several places may have the same key.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Numbers of places, found by the hash of their keys.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slots: HashTable<u32>,
    hasher: RandomState,
}

impl Index {
    /// The places that may have this key, all that do among them.
    pub(crate) fn candidates<K: Hash + ?Sized>(&self, key: &K) -> impl Iterator<Item = u32> + use<'_, K> {
        self.slots.iter_hash(self.hasher.hash_one(key)).copied()
    }

    /// Enters a place that is not in it. `key_of` tells the key of any place that is.
    pub(crate) fn insert<'k, K: Hash + ?Sized + 'k>(
        &mut self,
        slot: u32,
        key: &K,
        key_of: impl Fn(u32) -> Option<&'k K>,
    ) {
        let hasher = &self.hasher;
        let hash_of = |slot: &u32| key_of(*slot).map_or(0, |key| hasher.hash_one(key));
        self.slots.insert_unique(hasher.hash_one(key), slot, hash_of);
    }

    /// Takes a place out; false when it was not in it.
    pub(crate) fn remove<K: Hash + ?Sized>(&mut self, slot: u32, key: &K) -> bool {
        let found = self.slots.find_entry(self.hasher.hash_one(key), |held| *held == slot);
        found.map(hashbrown::hash_table::OccupiedEntry::remove).is_ok()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_by_their_key_through_growth_and_removal() {
        let keys: Vec<String> = (0..1_000).map(|n| format!("key-{}", n / 2)).collect();
        let mut index = Index::default();
        for (slot, key) in (0..).zip(&keys) {
            index.insert(slot, key.as_str(), |held| keys.get(held as usize).map(String::as_str));
        }
        let of = |index: &Index, key: &str| {
            let mut found: Vec<u32> = index.candidates(key).filter(|slot| keys[*slot as usize] == key).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(of(&index, "key-7"), [14, 15]);
        assert!(index.remove(14, "key-7") && !index.remove(14, "key-7"));
        assert_eq!((of(&index, "key-7"), of(&index, "key-499")), (vec![15], vec![998, 999]));
    }
}
