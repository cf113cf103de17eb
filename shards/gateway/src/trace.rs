//! What happened to recent messages, hop by hop, for `ringway trace`.
//!
//! Each thread keeps a ring of its own: writing a hop is one store into a fixed array, and nobody else
//! touches it. A question goes to every thread's ring; what has been overwritten is forgotten. Where traces are
//! exported, the hops of a few messages are handed over too.

use ringway_engine::limits::TRACE_HOPS_MAX;
use ringway_hops::Hops;
pub(crate) use ringway_hops::Station;
use serde::Serialize;

use crate::exported::Exported;

/// One hop. `conv` is the conversation's stable hash; `who` a connection where there is one.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Hop {
    pub(crate) at_us: u64,
    pub(crate) station: Station,
    #[serde(skip)]
    pub(crate) msg_id: u64,
    #[serde(skip)]
    pub(crate) conv: u64,
    pub(crate) seq: u64,
    pub(crate) who: u64,
    /// Shard, or `u16::MAX` for the uplink.
    pub(crate) shard: u16,
}

/// The hops that one thread remembers.
#[derive(Debug)]
pub(crate) struct TraceRing {
    hops: Vec<Hop>,
    next: usize,
    exported: Option<Exported>,
}

impl TraceRing {
    pub(crate) fn new(exported: Option<&Hops>) -> Self {
        Self { hops: Vec::new(), next: 0, exported: exported.map(Exported::new) }
    }

    /// Remembers a hop in place of the oldest.
    pub(crate) fn note(&mut self, hop: Hop) {
        if let Some(exported) = &mut self.exported {
            exported.note(&hop);
        }
        match self.hops.get_mut(self.next) {
            Some(slot) => *slot = hop,
            None => self.hops.push(hop),
        }
        self.next = (self.next + 1) % TRACE_HOPS_MAX;
    }

    /// Hops of a message, by its id or, for acknowledgements, by conversation and number: only the first
    /// acknowledgement of each connection counts, later ones are of later messages.
    pub(crate) fn find(&self, msg_id: u64, conv: u64, seq: u64) -> Vec<Hop> {
        let mut found: Vec<Hop> = self.hops.iter().filter(|hop| hop.msg_id == msg_id).copied().collect();
        let mut acks: Vec<Hop> = self
            .hops
            .iter()
            .filter(|hop| hop.station == Station::Acknowledged && hop.conv == conv && seq > 0 && hop.seq >= seq)
            .copied()
            .collect();
        acks.sort_by_key(|hop| (hop.who, hop.at_us));
        acks.dedup_by_key(|hop| hop.who);
        found.extend(acks);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(at_us: u64, station: Station, msg_id: u64, seq: u64, who: u64) -> Hop {
        Hop { at_us, station, msg_id, conv: 9, seq, who, shard: 0 }
    }

    #[test]
    fn the_first_acknowledgement_of_each_device_that_covers_a_message_is_its_hop() {
        let mut ring = TraceRing::new(None);
        ring.note(hop(1, Station::Pushed, 7, 3, 1));
        ring.note(hop(2, Station::Pushed, 8, 4, 1));
        for (at, seq, who) in [(3, 2, 1), (5, 4, 1), (6, 5, 1), (7, 3, 2)] {
            ring.note(hop(at, Station::Acknowledged, 0, seq, who));
        }
        let found: Vec<u64> = ring.find(7, 9, 3).iter().map(|hop| hop.at_us).collect();
        assert_eq!(found, [1, 5, 7]);
    }
}
