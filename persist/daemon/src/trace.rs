//! What happened to recent messages here, hop by hop, for `ringway trace`.
//!
//! One memory a process, shared by the consumers of its queues: each holds its lock for a moment, once a batch and
//! station. A hop is one store into a fixed array; what has been overwritten is forgotten. Nothing depends on it.
//! Where traces are exported, the hops of a few messages are handed over too; that never waits.

use std::sync::{Arc, Mutex, PoisonError};

use ringway_engine::event::MessageEvent;
use ringway_engine::ids::ConversationId;
use ringway_hops::{Hops, Station, hop};
use ringway_store::ports::NumberedMessage;
use serde::Serialize;

use crate::batch::Decoded;
use crate::limits::TRACE_HOPS_MAX;
use crate::metrics::now_us;

/// One hop as it is remembered.
#[derive(Debug, Clone, Copy)]
struct Hop {
    at_us: u64,
    msg_id: u64,
    /// Offset in the queue where it was consumed, its number elsewhere.
    place: u64,
    queue: u32,
    station: Station,
}

/// One hop as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    at_us: u64,
    station: Station,
    seq: u64,
    queue: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
}

/// The hops that a process remembers.
#[derive(Debug)]
pub(crate) struct TraceRing {
    queues: Vec<String>,
    hops: Mutex<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    ring: Vec<Hop>,
    next: usize,
}

impl Remembered {
    /// Remembers a hop in place of the oldest.
    fn note(&mut self, hop: Hop) {
        match self.ring.get_mut(self.next) {
            Some(slot) => *slot = hop,
            None => self.ring.push(hop),
        }
        self.next = (self.next + 1) % TRACE_HOPS_MAX;
    }
}

impl TraceRing {
    /// An empty one for queues of these names.
    pub(crate) fn new(queues: Vec<String>) -> Arc<Self> {
        Arc::new(Self { queues, hops: Mutex::default() })
    }

    /// With what the consumer of one of the queues writes.
    pub(crate) fn of_queue(self: &Arc<Self>, queue: u32) -> QueueTrace {
        QueueTrace { ring: Arc::clone(self), queue, exported: None }
    }

    /// A JSON array of a message's hops, oldest first, each with the node's name if there is one.
    pub(crate) fn find(&self, msg_id: u64, node: Option<&str>) -> String {
        let mut found: Vec<Hop> = {
            let hops = self.hops.lock().unwrap_or_else(PoisonError::into_inner);
            hops.ring.iter().filter(|hop| hop.msg_id == msg_id).copied().collect()
        };
        found.sort_by_key(|hop| hop.at_us);
        let shown: Vec<Shown<'_>> = found.iter().map(|hop| self.show(hop, node)).collect();
        serde_json::to_string(&shown).unwrap_or_else(|_| "[]".to_owned())
    }

    fn show<'a>(&'a self, hop: &Hop, node: Option<&'a str>) -> Shown<'a> {
        let &Hop { at_us, place, station, .. } = hop;
        let queue = self.queues.get(hop.queue as usize).map_or("", String::as_str);
        let (seq, offset) = if station == Station::Consumed { (0, Some(place)) } else { (place, None) };
        Shown { at_us, station, seq, queue, offset, node }
    }
}

/// With what the consumer of one queue writes.
#[derive(Debug, Clone)]
pub(crate) struct QueueTrace {
    ring: Arc<TraceRing>,
    queue: u32,
    exported: Option<Exported>,
}

/// Where hops of traced messages are handed over, and what their queue is called there.
#[derive(Debug, Clone)]
struct Exported {
    hops: Hops,
    queue: Arc<str>,
}

impl QueueTrace {
    /// Hands over the hops of traced messages too, from here on.
    pub(crate) fn export_to(&mut self, hops: &Hops) {
        let name = self.ring.queues.get(self.queue as usize).map_or("", String::as_str);
        self.exported = Some(Exported { hops: hops.clone(), queue: name.into() });
    }

    /// Messages were read.
    pub(crate) fn consumed(&self, decoded: &Decoded) {
        let read = decoded.messages.iter().zip(&decoded.offsets);
        self.note(Station::Consumed, read.map(|(event, offset)| (&**event, offset.0)));
    }

    /// Messages have their numbers.
    pub(crate) fn numbered(&self, messages: &[NumberedMessage]) {
        self.note(Station::Numbered, messages.iter().map(|message| (&*message.event, message.seq)));
    }

    /// Messages are in the archive.
    pub(crate) fn archived(&self, messages: &[NumberedMessage]) {
        self.note(Station::Archived, messages.iter().map(|message| (&*message.event, message.seq)));
    }

    fn note<'a>(&self, station: Station, messages: impl Iterator<Item = (&'a MessageEvent, u64)> + Clone) {
        let (at_us, queue) = (now_us(), self.queue);
        if let Some(exported) = &self.exported {
            let taken = messages.clone().filter(|(event, _)| exported.hops.takes(event.msg_id));
            taken.for_each(|(event, place)| exported.hand_over(at_us, station, event, place));
        }
        let mut hops = self.ring.hops.lock().unwrap_or_else(PoisonError::into_inner);
        for (MessageEvent { msg_id, .. }, place) in messages {
            hops.note(Hop { at_us, msg_id: *msg_id, place, queue, station });
        }
    }
}

impl Exported {
    fn hand_over(&self, at_us: u64, station: Station, event: &MessageEvent, place: u64) {
        let conv = ConversationId::parse(&event.conv).map_or(0, |conv| conv.stable_hash());
        let (seq, who) = if station == Station::Consumed { (0, place) } else { (place, 0) };
        let (msg_id, queue) = (event.msg_id, Some(Arc::clone(&self.queue)));
        self.hops.offer(hop::Hop { at_us, from_us: 0, station, msg_id, conv, seq, who, shard: None, queue });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_hops::Sampler;
    use ringway_store::conformance::message;
    use ringway_store::ports::LogOffset;
    use serde_json::{Value, json};

    fn read(ids: &[u64], first_offset: u64) -> Decoded {
        let messages = ids.iter().map(|id| message("p2p:a:b", "a", &format!("c-{id}"), *id, 1)).collect();
        let offsets = (first_offset..).map(LogOffset).take(ids.len()).collect();
        Decoded { messages, offsets, ..Decoded::default() }
    }

    fn numbered(decoded: &Decoded) -> Vec<NumberedMessage> {
        let number = |(event, seq): (&Arc<_>, u64)| NumberedMessage { event: Arc::clone(event), epoch: 1, seq };
        decoded.messages.iter().zip(1..).map(number).collect()
    }

    fn find(ring: &TraceRing, msg_id: u64, node: Option<&str>) -> Vec<Value> {
        serde_json::from_str(&ring.find(msg_id, node)).unwrap()
    }

    fn without_time(mut hop: Value) -> Value {
        assert!(hop.as_object_mut().unwrap().remove("at_us").unwrap().as_u64().unwrap() > 1_600_000_000_000_000);
        hop
    }

    #[test]
    fn each_station_of_a_message_is_shown_with_its_queue_and_place() {
        let ring = TraceRing::new(vec!["b/0".to_owned(), "b/1".to_owned()]);
        let of_queues = [ring.of_queue(0), ring.of_queue(1)];
        let (decoded, other) = (read(&[7, 8], 40), read(&[9], 0));
        let messages = numbered(&decoded);
        of_queues[1].consumed(&decoded);
        of_queues[0].consumed(&other);
        of_queues[1].numbered(&messages);
        of_queues[1].archived(&messages);
        let found: Vec<Value> = find(&ring, 8, Some("persist-1")).into_iter().map(without_time).collect();
        let expected = [
            json!({"station": "consumed", "seq": 0, "queue": "b/1", "offset": 41, "node": "persist-1"}),
            json!({"station": "numbered", "seq": 2, "queue": "b/1", "node": "persist-1"}),
            json!({"station": "archived", "seq": 2, "queue": "b/1", "node": "persist-1"}),
        ];
        assert_eq!(found, expected);
        let alone: Vec<Value> = find(&ring, 9, None).into_iter().map(without_time).collect();
        assert_eq!(alone, [json!({"station": "consumed", "seq": 0, "queue": "b/0", "offset": 0})]);
        assert!(find(&ring, 10, None).is_empty());
    }

    #[test]
    fn the_oldest_hops_make_room() {
        let ring = TraceRing::new(vec!["b/0".to_owned()]);
        let trace = ring.of_queue(0);
        trace.consumed(&read(&[1, 2], 0));
        let other = numbered(&read(&[3], 0));
        for _ in 0..TRACE_HOPS_MAX - 1 {
            trace.numbered(&other);
        }
        assert!(find(&ring, 1, None).is_empty());
        assert_eq!(find(&ring, 2, None).len(), 1);
        assert_eq!(ring.hops.lock().unwrap().ring.len(), TRACE_HOPS_MAX);
    }

    #[test]
    fn hops_of_traced_messages_are_handed_over_with_queue_and_conversation() {
        let ring = TraceRing::new(vec!["b/0".to_owned(), "b/1".to_owned()]);
        let (hops, mut trace) = (Hops::new(Sampler::one_in(2)), ring.of_queue(1));
        trace.export_to(&hops);
        let ids: Vec<u64> = (1..=20).collect();
        let decoded = read(&ids, 40);
        trace.consumed(&decoded);
        trace.archived(&numbered(&decoded));
        let handed: Vec<hop::Hop> = std::iter::from_fn(|| hops.lane().take()).collect();
        let taken: Vec<u64> = ids.into_iter().filter(|id| hops.takes(*id)).collect();
        assert!(!taken.is_empty() && taken.len() < 20);
        let of = |station: Station| handed.iter().filter(move |hop| hop.station == station);
        for station in [Station::Consumed, Station::Archived] {
            assert_eq!(of(station).map(|hop| hop.msg_id).collect::<Vec<_>>(), taken);
        }
        let conv = ConversationId::parse("p2p:a:b").unwrap().stable_hash();
        assert!(handed.iter().all(|hop| hop.conv == conv && hop.queue.as_deref() == Some("b/1")));
        assert!(of(Station::Consumed).all(|hop| (hop.seq, hop.who) == (0, 39 + hop.msg_id)));
        assert!(of(Station::Archived).all(|hop| (hop.seq, hop.who) == (hop.msg_id, 0)));
        assert_eq!(hops.lane().dropped(), 0);
    }
}
