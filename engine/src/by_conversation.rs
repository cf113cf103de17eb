//! A map of what one device has to do with: most know a handful of conversations, some know thousands.
//!
//! A sorted list. A hash map would keep four places for the first conversation and half of them empty from then on, for
//! each of very many devices; here is one place for each, all of them side by side.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;

use crate::ids::ConversationId;

/// Orders conversations; those of one hash stand in the order in which they came.
const HASH: FixedState = FixedState::with_seed(0);

#[derive(Debug)]
struct Entry<V> {
    hash: u64,
    conv: ConversationId,
    value: V,
}

/// The map; see the module's head.
#[derive(Debug)]
pub(crate) struct ByConversation<V> {
    /// By rising hash.
    entries: Vec<Entry<V>>,
}

impl<V> Default for ByConversation<V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<V> ByConversation<V> {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn contains(&self, conv: &ConversationId) -> bool {
        self.find(conv).is_ok()
    }

    pub(crate) fn get_mut(&mut self, conv: &ConversationId) -> Option<&mut V> {
        let at = self.find(conv).ok()?;
        self.entries.get_mut(at).map(|entry| &mut entry.value)
    }

    /// The value of a conversation, made if there is none.
    pub(crate) fn get_or_insert_with(&mut self, conv: &ConversationId, value: impl FnOnce() -> V) -> &mut V {
        match self.find(conv) {
            #[expect(clippy::indexing_slicing, reason = "it was found there")]
            Ok(at) => {
                let entry = &mut self.entries[at];
                // Who asks shares its name with all devices that it asks: theirs is then compared by address, and held once.
                if !entry.conv.is_shared_with(conv) {
                    entry.conv = conv.clone();
                }
                &mut entry.value
            }
            Err(at) => self.insert_at(at, conv.clone(), value()),
        }
    }

    /// Sets the value of a conversation.
    pub(crate) fn insert(&mut self, conv: ConversationId, value: V) {
        match self.get_mut(&conv) {
            Some(held) => *held = value,
            None => {
                let at = self.find(&conv).unwrap_or_else(|at| at);
                self.insert_at(at, conv, value);
            }
        }
    }

    pub(crate) fn remove(&mut self, conv: &ConversationId) -> Option<V> {
        let at = self.find(conv).ok()?;
        Some(self.entries.remove(at).value)
    }

    /// Keeps those of which `keep` says so.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.entries.retain(|entry| keep(&entry.value));
        self.entries.shrink_to_fit();
    }

    /// Where a conversation stands, or is to stand.
    fn find(&self, conv: &ConversationId) -> Result<usize, usize> {
        let hash = HASH.hash_one(conv.as_str());
        let first = self.entries.partition_point(|entry| entry.hash < hash);
        let mut same = self.entries.iter().enumerate().skip(first).take_while(|(_, entry)| entry.hash == hash);
        same.find(|(_, entry)| entry.conv == *conv).map(|(at, _)| at).ok_or(first)
    }

    fn insert_at(&mut self, at: usize, conv: ConversationId, value: V) -> &mut V {
        // The first one alone: many never have a second.
        if self.entries.is_empty() {
            self.entries.reserve_exact(1);
        }
        &mut self.entries.insert_mut(at, Entry { hash: HASH.hash_one(conv.as_str()), conv, value }).value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn conv(n: u8) -> ConversationId {
        ConversationId::group(&format!("g{n}")).unwrap()
    }

    proptest! {
        #[test]
        fn it_answers_as_a_hash_map_does(steps in prop::collection::vec((0..4_u8, any::<u8>(), any::<u32>()), 1..400)) {
            let (mut map, mut model) = (ByConversation::default(), HashMap::new());
            for (step, n, value) in steps {
                let conv = conv(n % 32);
                match step {
                    0 => {
                        map.insert(conv.clone(), value);
                        model.insert(conv.clone(), value);
                    }
                    1 => prop_assert_eq!(map.remove(&conv), model.remove(&conv)),
                    2 => {
                        let (mine, its) = (map.get_or_insert_with(&conv, || value), model.entry(conv.clone()));
                        prop_assert_eq!(mine, its.or_insert(value));
                    }
                    _ => {
                        map.retain(|held| held % 3 != value % 3);
                        model.retain(|_, held| *held % 3 != value % 3);
                    }
                }
                prop_assert_eq!(map.contains(&conv), model.contains_key(&conv));
                prop_assert_eq!(map.get_mut(&conv), model.get_mut(&conv));
                prop_assert_eq!(map.len(), model.len());
            }
        }
    }
}
