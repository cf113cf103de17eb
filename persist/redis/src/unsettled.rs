//! Messages that this process had numbered and that are not known to be archived.
//!
//! Kept for two reasons. Their bytes are the bound on what may wait for the archive. And when an epoch ends,
//! their numbers end with it: they are numbered again before anything later of their conversation, in their
//! old order, so that what one sender sent through this node stays in order. (The daemon numbers them too,
//! as they are in the log; whoever comes first, the result is one number.)
//!
//! Pure. Bounded by the gateway, which refuses sends past `UNARCHIVED_BYTES_MAX`.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_engine::event::MessageEvent;

/// What a message costs beside its body.
const MESSAGE_OVERHEAD_BYTES: usize = 512;

/// By epoch and sequence.
type OfConversation = BTreeMap<(u64, u64), (Arc<MessageEvent>, Instant)>;

/// See the module's doc.
#[derive(Debug, Default)]
pub(crate) struct Unsettled {
    conversations: HashMap<String, OfConversation>,
    bytes: usize,
}

/// Conversations whose messages have waited for long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) conv: String,
    /// How long the oldest has.
    pub(crate) age: Duration,
}

fn cost_bytes(event: &MessageEvent) -> usize {
    event.body.len() + MESSAGE_OVERHEAD_BYTES
}

impl Unsettled {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Messages have these numbers (epoch, sequence) now, and are not archived.
    pub(crate) fn insert(&mut self, numbered: Vec<(u64, u64, Arc<MessageEvent>)>, now: Instant) {
        for (epoch, seq, event) in numbered {
            let old =
                self.conversations.get(&event.conv).and_then(|of| of.keys().next()).is_some_and(|at| at.0 < epoch);
            if old {
                // The number that it had in an earlier epoch is void.
                self.retain(&event.conv.clone(), |at, held| held.msg_id != event.msg_id || at.0 == epoch);
            }
            let of = self.conversations.entry(event.conv.clone()).or_default();
            if let Entry::Vacant(place) = of.entry((epoch, seq)) {
                self.bytes += cost_bytes(&event);
                place.insert((event, now));
            }
        }
    }

    /// Of the numbers of this epoch, those below `lowest` are archived; all up to `head` if that is 0.
    pub(crate) fn archived_below(&mut self, conv: &str, epoch: u64, lowest: u64, head: u64) {
        let end = if lowest == 0 { head.saturating_add(1) } else { lowest };
        self.retain(conv, |at, _| at.0 != epoch || at.1 >= end);
    }

    /// The message with this number is archived.
    pub(crate) fn archived(&mut self, conv: &str, epoch: u64, seq: u64, msg_id: u64) {
        self.retain(conv, |at, held| *at != (epoch, seq) && held.msg_id != msg_id);
    }

    /// Messages of a conversation whose numbers are of epochs before this one, in their order.
    pub(crate) fn owed(&self, conv: &str, epoch: u64) -> Vec<Arc<MessageEvent>> {
        let of = self.conversations.get(conv).into_iter().flatten();
        of.take_while(|(at, _)| at.0 < epoch).map(|(_, (event, _))| Arc::clone(event)).collect()
    }

    /// Conversations that are owed numbers of this epoch.
    pub(crate) fn owing(&self, epoch: u64) -> Vec<String> {
        let old = |of: &OfConversation| of.keys().next().is_some_and(|at| at.0 < epoch);
        self.conversations.iter().filter(|(_, of)| old(of)).map(|(conv, _)| conv.clone()).collect()
    }

    /// At most `limit` conversations whose oldest message waits since `age` or longer, those longest first.
    pub(crate) fn waiting(&self, age: Duration, limit: usize, now: Instant) -> Vec<Waiting> {
        let oldest = |of: &OfConversation| of.values().map(|(_, since)| now.saturating_duration_since(*since)).max();
        let aged = |(conv, of): (&String, &OfConversation)| Some(Waiting { conv: conv.clone(), age: oldest(of)? });
        let mut waiting: Vec<Waiting> =
            self.conversations.iter().filter_map(aged).filter(|waiting| waiting.age >= age).collect();
        waiting.sort_unstable_by_key(|waiting| Reverse(waiting.age));
        waiting.truncate(limit);
        waiting
    }

    fn retain(&mut self, conv: &str, mut stays: impl FnMut(&(u64, u64), &MessageEvent) -> bool) {
        let Some(of) = self.conversations.get_mut(conv) else { return };
        let bytes = &mut self.bytes;
        of.retain(|at, (event, _)| {
            let stays = stays(at, event);
            if !stays {
                *bytes = bytes.saturating_sub(cost_bytes(event));
            }
            stays
        });
        if of.is_empty() {
            self.conversations.remove(conv);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_store::conformance::message;

    fn numbered(epoch: u64, numbers: &[(u64, u64)]) -> Vec<(u64, u64, Arc<MessageEvent>)> {
        numbers.iter().map(|(seq, id)| (epoch, *seq, message("p2p:a:b", "a", &format!("c-{id}"), *id, 1))).collect()
    }

    fn ids(events: &[Arc<MessageEvent>]) -> Vec<u64> {
        events.iter().map(|event| event.msg_id).collect()
    }

    #[test]
    fn bytes_are_counted_until_the_archive_has_them() {
        let (mut unsettled, now) = (Unsettled::default(), Instant::now());
        unsettled.insert(numbered(1, &[(1, 11), (2, 12), (3, 13)]), now);
        unsettled.insert(numbered(1, &[(1, 11)]), now);
        let one = unsettled.bytes() / 3;
        unsettled.archived_below("p2p:a:b", 1, 2, 3);
        assert_eq!(unsettled.bytes(), 2 * one);
        unsettled.archived("p2p:a:b", 1, 2, 12);
        assert_eq!(unsettled.bytes(), one);
        unsettled.archived_below("p2p:a:b", 1, 0, 3);
        assert_eq!(unsettled.bytes(), 0);
        assert!(unsettled.waiting(Duration::ZERO, 9, now).is_empty());
    }

    #[test]
    fn what_an_epoch_leaves_is_owed_in_order_until_it_has_new_numbers() {
        let (mut unsettled, now) = (Unsettled::default(), Instant::now());
        unsettled.insert(numbered(1, &[(5, 15), (4, 14), (6, 16)]), now);
        assert!(unsettled.owed("p2p:a:b", 1).is_empty() && unsettled.owing(1).is_empty());
        assert_eq!(ids(&unsettled.owed("p2p:a:b", 2)), [14, 15, 16]);
        assert_eq!(unsettled.owing(2), ["p2p:a:b"]);
        let before = unsettled.bytes();
        unsettled.insert(numbered(2, &[(4, 15), (5, 14)]), now);
        assert_eq!(ids(&unsettled.owed("p2p:a:b", 2)), [16]);
        assert_eq!(unsettled.bytes(), before);
        unsettled.archived_below("p2p:a:b", 2, 0, 9);
        assert_eq!(ids(&unsettled.owed("p2p:a:b", 2)), [16], "its number is of an earlier epoch");
    }
}
