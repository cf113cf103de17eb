//! Messages that are in the log and have no number yet, because whoever numbers was away for too long.
//!
//! Their senders were told to come again, and the daemon numbers them once it can. What comes later in the same
//! conversation must not be numbered before: here, they are numbered first. That is the order of the log, and with it
//! the order in which each sender spoke.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ringway_engine::event::MessageEvent;

/// Past this the daemon has had its time, and senders have given up.
const KEPT_MS: u64 = 15 * 60_000;

#[derive(Debug)]
struct Waiting {
    since_ms: u64,
    events: Vec<Arc<MessageEvent>>,
}

/// By conversation: at most a batch of each, as nothing more of it is logged before these have their numbers.
#[derive(Debug, Default)]
pub(super) struct Unnumbered {
    of: HashMap<String, Waiting, RandomState>,
}

impl Unnumbered {
    /// Keeps messages in the order of the log.
    pub(super) fn keep(&mut self, events: &[Arc<MessageEvent>], now_ms: u64) {
        self.of.retain(|_, waiting| now_ms.saturating_sub(waiting.since_ms) < KEPT_MS);
        for event in events {
            let waiting = self.of.entry_ref(event.conv.as_str());
            let waiting = waiting.or_insert_with(|| Waiting { since_ms: now_ms, events: Vec::new() });
            waiting.events.push(Arc::clone(event));
        }
    }

    /// Takes out those of these conversations.
    pub(super) fn take<'a>(&mut self, conversations: impl Iterator<Item = &'a str>) -> Vec<Arc<MessageEvent>> {
        if self.of.is_empty() {
            return Vec::new();
        }
        conversations.filter_map(|conv| self.of.remove(conv)).flat_map(|waiting| waiting.events).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(conv: &str, msg_id: u64) -> Arc<MessageEvent> {
        Arc::new(MessageEvent {
            conv: conv.into(),
            msg_id,
            from: "a".into(),
            client_msg_id: "c".into(),
            kind: "text".into(),
            body: String::new(),
            enc: "".into(),
            ts_ms: 1,
        })
    }

    #[test]
    fn what_waits_is_taken_once_in_order_and_forgotten_in_the_end() {
        let mut unnumbered = Unnumbered::default();
        unnumbered.keep(&[event("p", 1), event("q", 2), event("p", 3)], 1);
        unnumbered.keep(&[event("r", 4)], 1 + KEPT_MS / 2);
        let ids = |events: Vec<Arc<MessageEvent>>| events.iter().map(|event| event.msg_id).collect::<Vec<_>>();
        assert_eq!(ids(unnumbered.take(["p", "s"].into_iter())), [1, 3]);
        assert_eq!(ids(unnumbered.take(["p"].into_iter())), [0; 0]);
        unnumbered.keep(&[event("s", 5)], 1 + KEPT_MS);
        assert_eq!(ids(unnumbered.take(["q", "r", "s"].into_iter())), [4, 5]);
    }
}
