//! Conversations in memory: their heads, and the messages that have a number but are not archived yet.
//!
//! Invariants: a conversation with unarchived messages is always here; its `tail` holds the numbers
//! `head - tail.len() + 1 ..= head`, and everything below is in the archive. One without may be
//! forgotten at any time, which `forgotten` counts, so that a head read from the archive meanwhile is
//! known to be stale.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hashbrown::HashMap;
use ringway_engine::event::MessageEvent;
use ringway_engine::ids::{ConversationId, ConversationKind};
use ringway_engine::packet::schema::Message;

use super::EPOCH;
use crate::limits::{CONVERSATION_IDLE_MS, CONVERSATIONS_CACHED_MAX};
use crate::ports::NumberedMessage;

/// What a message costs beside its body while it waits for the archive.
const MESSAGE_OVERHEAD_BYTES: usize = 512;

/// Bytes one message counts for.
pub(super) fn cost_bytes(event: &MessageEvent) -> usize {
    event.body.len() + MESSAGE_OVERHEAD_BYTES
}

/// A conversation in memory.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    pub(super) head: u64,
    tail: VecDeque<Arc<MessageEvent>>,
    /// Not in the archive at all: the lists of its parties have to name it.
    fresh: bool,
    used: bool,
    idle_since_ms: u64,
}

impl Conversation {
    /// The number of the first message of the tail; past the head if there is none.
    pub(super) fn tail_first(&self) -> u64 {
        self.head + 1 - self.tail.len() as u64
    }

    /// The message with this number, if it is not archived.
    pub(super) fn get(&self, seq: u64) -> Option<&Arc<MessageEvent>> {
        let at = seq.checked_sub(self.tail_first())?;
        self.tail.get(usize::try_from(at).ok()?)
    }

    /// Unarchived messages with numbers from `first` to `last`.
    pub(super) fn range(&self, first: u64, last: u64) -> impl DoubleEndedIterator<Item = Message> + '_ {
        let first = first.max(self.tail_first());
        let numbers = first..last.min(self.head).saturating_add(1);
        numbers.filter_map(|seq| Some(self.get(seq)?.to_message(EPOCH, seq)))
    }
}

/// All conversations in memory.
#[derive(Debug, Default)]
pub(super) struct Tails {
    conversations: HashMap<String, Conversation>,
    /// User → conversations that only memory knows.
    fresh: HashMap<String, BTreeSet<String>>,
    forgotten: u64,
    unarchived_bytes: usize,
}

impl Tails {
    pub(super) fn get(&mut self, conv: &str) -> Option<&Conversation> {
        let conversation = self.conversations.get_mut(conv)?;
        conversation.used = true;
        Some(conversation)
    }

    pub(super) fn contains(&self, conv: &str) -> bool {
        self.conversations.contains_key(conv)
    }

    /// Counts up whenever a conversation is forgotten.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    pub(super) fn unarchived_bytes(&self) -> usize {
        self.unarchived_bytes
    }

    /// Takes a conversation in whose archived head is `head`. Does nothing when it is here.
    pub(super) fn load(&mut self, conv: &str, head: u64) {
        if !self.contains(conv) {
            let conversation = Conversation { head, fresh: head == 0, used: true, ..Conversation::default() };
            self.conversations.insert(conv.to_owned(), conversation);
        }
    }

    /// Gives the next number of a conversation that is here to a message.
    pub(super) fn push(&mut self, event: &Arc<MessageEvent>) -> u64 {
        let conversation = self.conversations.entry_ref(event.conv.as_str()).or_default();
        conversation.head += 1;
        conversation.used = true;
        conversation.tail.push_back(Arc::clone(event));
        self.unarchived_bytes += cost_bytes(event);
        if conversation.fresh && conversation.head == 1 {
            for uid in parties(&event.conv) {
                self.fresh.entry(uid).or_default().insert(event.conv.to_string());
            }
        }
        conversation.head
    }

    /// Conversations of a user that the archive does not know yet.
    pub(super) fn fresh_of(&self, uid: &str) -> Vec<String> {
        self.fresh.get(uid).map_or_else(Vec::new, |convs| convs.iter().cloned().collect())
    }

    /// The message is in the archive now.
    pub(super) fn archived(&mut self, message: &NumberedMessage) {
        let Some(conversation) = self.conversations.get_mut(message.event.conv.as_str()) else { return };
        while conversation.tail_first() <= message.seq {
            let Some(event) = conversation.tail.pop_front() else { break };
            self.unarchived_bytes = self.unarchived_bytes.saturating_sub(cost_bytes(&event));
        }
        if conversation.tail.is_empty() {
            conversation.tail.shrink_to(16);
        }
        if std::mem::take(&mut conversation.fresh) {
            for uid in parties(&message.event.conv) {
                if let Some(convs) = self.fresh.get_mut(&uid) {
                    convs.remove(message.event.conv.as_str());
                    if convs.is_empty() {
                        self.fresh.remove(&uid);
                    }
                }
            }
        }
    }

    /// Forgets conversations without a tail that are idle, or, past the bound, not used since the last call.
    pub(super) fn forget_idle(&mut self, now_ms: u64) {
        let crowded = self.conversations.len() > CONVERSATIONS_CACHED_MAX;
        let before = self.conversations.len();
        self.conversations.retain(|_, conversation| {
            if std::mem::take(&mut conversation.used) || !conversation.tail.is_empty() {
                conversation.idle_since_ms = now_ms;
                return true;
            }
            !crowded && now_ms.saturating_sub(conversation.idle_since_ms) < CONVERSATION_IDLE_MS
        });
        if self.conversations.len() < before {
            self.forgotten += 1;
        }
    }
}

fn parties(conv: &str) -> Vec<String> {
    let Ok(id) = ConversationId::parse(conv) else { return Vec::new() };
    match id.kind() {
        ConversationKind::P2p(low, high) => vec![low.to_owned(), high.to_owned()],
        ConversationKind::System(uid) => vec![uid.to_owned()],
        ConversationKind::Group(_) => Vec::new(),
    }
}
