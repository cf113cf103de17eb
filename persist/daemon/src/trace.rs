//! What happened to recent messages here, hop by hop, for `ringway trace`.
//!
//! One memory a process, shared by the consumers of its queues: each holds its lock for a moment, once a batch and
//! station. A hop is one store into a fixed array; what has been overwritten is forgotten. Nothing depends on it.

use std::sync::{Arc, Mutex, PoisonError};

use ringway_store::ports::NumberedMessage;
use serde::Serialize;

use crate::batch::Decoded;
use crate::limits::TRACE_HOPS_MAX;
use crate::metrics::now_us;

/// A station on a message's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Station {
    /// It was read from its queue.
    Consumed,
    /// It has its number, here: the same that it was given before, if it was.
    Numbered,
    /// The transaction that archives it is committed.
    Archived,
}

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
    hops: Mutex<Hops>,
}

#[derive(Debug, Default)]
struct Hops {
    ring: Vec<Hop>,
    next: usize,
}

impl Hops {
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
        QueueTrace { ring: Arc::clone(self), queue }
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
}

impl QueueTrace {
    /// Messages were read.
    pub(crate) fn consumed(&self, decoded: &Decoded) {
        let read = decoded.messages.iter().zip(&decoded.offsets);
        self.note(Station::Consumed, read.map(|(event, offset)| (event.msg_id, offset.0)));
    }

    /// Messages have their numbers.
    pub(crate) fn numbered(&self, messages: &[NumberedMessage]) {
        self.note(Station::Numbered, messages.iter().map(|message| (message.event.msg_id, message.seq)));
    }

    /// Messages are in the archive.
    pub(crate) fn archived(&self, messages: &[NumberedMessage]) {
        self.note(Station::Archived, messages.iter().map(|message| (message.event.msg_id, message.seq)));
    }

    fn note(&self, station: Station, messages: impl Iterator<Item = (u64, u64)>) {
        let (at_us, queue) = (now_us(), self.queue);
        let mut hops = self.ring.hops.lock().unwrap_or_else(PoisonError::into_inner);
        for (msg_id, place) in messages {
            hops.note(Hop { at_us, msg_id, place, queue, station });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        for _ in 0..TRACE_HOPS_MAX - 1 {
            trace.note(Station::Numbered, [(3, 1)].into_iter());
        }
        assert!(find(&ring, 1, None).is_empty());
        assert_eq!(find(&ring, 2, None).len(), 1);
        assert_eq!(ring.hops.lock().unwrap().ring.len(), TRACE_HOPS_MAX);
    }
}
