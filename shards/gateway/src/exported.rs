//! What one thread hands over of its hops, where traces are exported: those of the messages that are taken.
//!
//! It never waits. An acknowledgement names no message: the thread remembers the last few pushes that it has handed
//! over, and an acknowledgement that covers some of them becomes a hop of each.

use std::collections::VecDeque;

use ringway_hops::{Hops, Station, hop};

use crate::trace::Hop;

/// Pushes that wait for their acknowledgement. Past it the oldest is forgotten: its trace ends with the push. Every
/// acknowledgement is held against all of them.
const PUSHES_MAX: usize = 64;

/// What one thread hands over.
#[derive(Debug)]
pub(crate) struct Exported {
    hops: Hops,
    pushes: VecDeque<Hop>,
}

impl Exported {
    pub(crate) fn new(hops: &Hops) -> Self {
        Self { hops: hops.clone(), pushes: VecDeque::with_capacity(PUSHES_MAX) }
    }

    pub(crate) fn note(&mut self, hop: &Hop) {
        if hop.station == Station::Acknowledged {
            return self.acknowledged(hop);
        }
        if !self.hops.takes(hop.msg_id) {
            return;
        }
        self.hops.offer(handed_over(hop, 0));
        if hop.station == Station::Pushed {
            if self.pushes.len() == PUSHES_MAX {
                self.pushes.pop_front();
            }
            self.pushes.push_back(*hop);
        }
    }

    fn acknowledged(&mut self, of: &Hop) {
        let hops = &self.hops;
        self.pushes.retain(|push| {
            let covered = push.who == of.who && push.conv == of.conv && push.seq <= of.seq;
            if covered {
                hops.offer(handed_over(&Hop { msg_id: push.msg_id, seq: push.seq, ..*of }, push.at_us));
            }
            !covered
        });
    }
}

fn handed_over(hop: &Hop, from_us: u64) -> hop::Hop {
    let &Hop { at_us, station, msg_id, conv, seq, who, shard } = hop;
    hop::Hop {
        at_us,
        from_us,
        station,
        msg_id,
        conv,
        seq,
        who,
        shard: (shard != u16::MAX).then_some(shard),
        queue: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_hops::Sampler;

    fn hop(at_us: u64, station: Station, msg_id: u64, seq: u64, who: u64) -> Hop {
        Hop { at_us, station, msg_id, conv: 9, seq, who, shard: 3 }
    }

    /// Time, time of the station before, message, number.
    fn taken(hops: &Hops) -> Vec<(u64, u64, u64, u64)> {
        let all = std::iter::from_fn(|| hops.lane().take());
        all.map(|hop| (hop.at_us, hop.from_us, hop.msg_id, hop.seq)).collect()
    }

    #[test]
    fn an_acknowledgement_is_a_hop_of_every_push_that_it_covers_and_of_no_other() {
        let hops = Hops::new(Sampler::one_in(1));
        let mut exported = Exported::new(&hops);
        for (at, msg_id, seq, who) in [(1, 70, 1, 1), (2, 71, 2, 1), (3, 72, 3, 1), (4, 70, 1, 2)] {
            exported.note(&hop(at, Station::Pushed, msg_id, seq, who));
        }
        assert_eq!(taken(&hops).len(), 4);
        exported.note(&Hop { conv: 8, ..hop(5, Station::Acknowledged, 0, 9, 1) });
        assert!(taken(&hops).is_empty(), "another conversation");
        exported.note(&hop(6, Station::Acknowledged, 0, 2, 1));
        assert_eq!(taken(&hops), [(6, 1, 70, 1), (6, 2, 71, 2)]);
        exported.note(&hop(7, Station::Acknowledged, 0, 3, 1));
        assert_eq!(taken(&hops), [(7, 3, 72, 3)], "each push once");
    }

    #[test]
    fn only_messages_that_are_taken_are_handed_over_and_pushes_are_bounded() {
        let (few, all) = (Hops::new(Sampler::one_in(1_000)), Hops::new(Sampler::one_in(1)));
        let mut of_few = Exported::new(&few);
        (1..=10_000).for_each(|id| of_few.note(&hop(1, Station::Fanned, id, 1, 0)));
        let ids: Vec<u64> = taken(&few).iter().map(|(_, _, id, _)| *id).collect();
        assert!(!ids.is_empty() && ids.len() < 50 && ids.iter().all(|id| few.takes(*id)), "{ids:?}");
        let mut of_all = Exported::new(&all);
        (1..=PUSHES_MAX as u64 + 1).for_each(|id| of_all.note(&hop(1, Station::Pushed, id, id, 1)));
        let shown = all.lane().take().unwrap();
        assert_eq!((shown.shard, shown.conv, shown.who), (Some(3), 9, 1));
        while all.lane().take().is_some() {}
        of_all.note(&hop(2, Station::Acknowledged, 0, u64::MAX, 1));
        assert_eq!(taken(&all).len(), PUSHES_MAX, "the oldest was forgotten");
        of_all.note(&Hop { shard: u16::MAX, ..hop(3, Station::Told, 5, 1, 2) });
        assert_eq!(all.lane().take().unwrap().shard, None, "the uplink is no shard");
    }
}
