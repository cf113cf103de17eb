//! Messages that this process had numbered and that are not known to be archived.
//!
//! Kept for two reasons. Their bytes are the bound on what may wait for the archive. And when an epoch ends,
//! their numbers end with it: they are numbered again before anything later of their conversation, in their
//! old order, so that what one sender sent through this node stays in order. (The daemon numbers them too,
//! as they are in the log; whoever comes first, the result is one number.)
//!
//! Pure. Bounded by the gateway, which refuses sends past `UNARCHIVED_BYTES_MAX`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_engine::delivery::Place;
use ringway_engine::event::MessageEvent;

/// What a message costs beside its body.
const MESSAGE_OVERHEAD_BYTES: usize = 512;

/// Those of one conversation. A conversation whose archive is away for long has very many: nothing here walks through
/// more of them than it takes away, but for what is called once a second.
#[derive(Debug, Default)]
struct OfConversation {
    /// By epoch and sequence.
    held: BTreeMap<Place, (Arc<MessageEvent>, Instant)>,
    /// The place of each message.
    places: HashMap<u64, Place>,
}

impl OfConversation {
    /// Takes the place away and answers what it cost.
    fn remove(&mut self, at: Place) -> usize {
        let Some((event, _)) = self.held.remove(&at) else { return 0 };
        if self.places.get(&event.msg_id) == Some(&at) {
            self.places.remove(&event.msg_id);
        }
        cost_bytes(&event)
    }
}

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
            let of = self.conversations.entry(event.conv.to_string()).or_default();
            // The number that it had in an earlier epoch is void.
            if let Some(old) = of.places.get(&event.msg_id).copied().filter(|old| old.0 < epoch) {
                self.bytes = self.bytes.saturating_sub(of.remove(old));
            }
            if !of.held.contains_key(&(epoch, seq)) {
                self.bytes += cost_bytes(&event);
                of.places.insert(event.msg_id, (epoch, seq));
                of.held.insert((epoch, seq), (event, now));
            }
        }
    }

    /// Of the numbers of this epoch, those below `lowest` are archived; all up to `head` if that is 0.
    pub(crate) fn archived_below(&mut self, conv: &str, epoch: u64, lowest: u64, head: u64) {
        let end = if lowest == 0 { head.saturating_add(1) } else { lowest };
        self.remove(conv, |of| of.held.range((epoch, 0)..(epoch, end)).map(|(at, _)| *at).collect());
    }

    /// The message with this number is archived.
    pub(crate) fn archived(&mut self, conv: &str, epoch: u64, seq: u64, msg_id: u64) {
        self.remove(conv, |of| of.places.get(&msg_id).copied().into_iter().chain([(epoch, seq)]).collect());
    }

    /// Messages of a conversation whose numbers are of epochs before this one, in their order.
    pub(crate) fn owed(&self, conv: &str, epoch: u64) -> Vec<Arc<MessageEvent>> {
        let of = self.conversations.get(conv).into_iter().flat_map(|of| &of.held);
        of.take_while(|(at, _)| at.0 < epoch).map(|(_, (event, _))| Arc::clone(event)).collect()
    }

    /// Whether a conversation has some.
    pub(crate) fn owes(&self, conv: &str, epoch: u64) -> bool {
        self.conversations.get(conv).and_then(|of| of.held.keys().next()).is_some_and(|at| at.0 < epoch)
    }

    /// Conversations that are owed numbers of this epoch.
    pub(crate) fn owing(&self, epoch: u64) -> Vec<String> {
        let old = |of: &OfConversation| of.held.keys().next().is_some_and(|at| at.0 < epoch);
        self.conversations.iter().filter(|(_, of)| old(of)).map(|(conv, _)| conv.clone()).collect()
    }

    /// At most `limit` conversations whose oldest message waits since `age` or longer, those longest first.
    pub(crate) fn waiting(&self, age: Duration, limit: usize, now: Instant) -> Vec<Waiting> {
        let oldest =
            |of: &OfConversation| of.held.values().map(|(_, since)| now.saturating_duration_since(*since)).max();
        let aged = |(conv, of): (&String, &OfConversation)| Some(Waiting { conv: conv.clone(), age: oldest(of)? });
        let mut waiting: Vec<Waiting> =
            self.conversations.iter().filter_map(aged).filter(|waiting| waiting.age >= age).collect();
        waiting.sort_unstable_by_key(|waiting| Reverse(waiting.age));
        waiting.truncate(limit);
        waiting
    }

    fn remove(&mut self, conv: &str, places: impl Fn(&OfConversation) -> Vec<Place>) {
        let Some(of) = self.conversations.get_mut(conv) else { return };
        for at in places(of) {
            self.bytes = self.bytes.saturating_sub(of.remove(at));
        }
        if of.held.is_empty() {
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
        assert!(unsettled.owes("p2p:a:b", 2) && !unsettled.owes("p2p:a:b", 1) && !unsettled.owes("p2p:a:c", 2));
        let before = unsettled.bytes();
        unsettled.insert(numbered(2, &[(4, 15), (5, 14)]), now);
        assert_eq!(ids(&unsettled.owed("p2p:a:b", 2)), [16]);
        assert_eq!(unsettled.bytes(), before);
        unsettled.archived_below("p2p:a:b", 2, 0, 9);
        assert_eq!(ids(&unsettled.owed("p2p:a:b", 2)), [16], "its number is of an earlier epoch");
    }
}
