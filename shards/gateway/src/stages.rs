//! How long messages take, stage by stage, as one shard sees it.
//!
//! ```text
//!  taken ──home──► hub ──┐
//!  taken ───────batch────┴──► uplink ──append──► durable ──number──► numbered ──► hub ──► `sent`, devices ──► acknowledged
//!                               └──────────────commit─────────────────────────────┘
//!  taken ──────────────────────────sent─────────────────────────────────────────────────► `sent`
//!  taken ──────────────────────────push─────────────────────────────────────────────────► a device ──ack──►
//! ```
//!
//! The clock is read where the path reads it anyway, for the hops of `trace`; one reading more for a message whose
//! conversation has its home on another shard. All of it belongs to the shard's thread; only the histograms are read by
//! others.

use crate::latency::Latency;

/// Of the pushes that follow each other closely, one in so many is watched until its acknowledgement.
const WATCHED_ONE_IN: u32 = 16;
/// A push is watched in any case when none was for so long, microseconds: a quiet shard times all of them.
const WATCHED_EVERY_US: u64 = 10_000;
/// Pushes that are watched at a time; one that meets another in its place is not watched.
const WATCHED_MAX: usize = 256;
/// A push that is not acknowledged for so long, microseconds, makes room: its device has gone, or asks for nothing.
const WATCHED_UNTIL_US: u64 = 30_000_000;

/// The histograms of a shard's stages, in the order of their names in [`Stages::each`].
#[derive(Debug, Default)]
pub(crate) struct Stages {
    /// From the shard that took it to its conversation's home: only messages that crossed.
    pub(crate) home: Latency,
    /// From taken to handed to the uplink: permission, and the batch before it.
    pub(crate) batch: Latency,
    /// From a batch's handing over until its numbers are back at its hub; one a batch.
    pub(crate) commit: Latency,
    /// From taken until `sent` is queued for the sender.
    pub(crate) sent: Latency,
    /// From taken until queued for a device of this shard; one a device. Not of messages that other nodes took.
    pub(crate) push: Latency,
    /// From queued for a device until the device has acknowledged it or a later one; of some pushes.
    pub(crate) ack: Latency,
}

impl Stages {
    /// Each with its name.
    pub(crate) fn each(&self) -> [(&'static str, &Latency); 6] {
        let Self { home, batch, commit, sent, push, ack } = self;
        [("home", home), ("batch", batch), ("commit", commit), ("sent", sent), ("push", push), ("ack", ack)]
    }
}

/// A push to a device, as its acknowledgement will name it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Push {
    pub(crate) at_us: u64,
    /// The connection.
    pub(crate) who: u64,
    /// The conversation's stable hash.
    pub(crate) conv: u64,
    pub(crate) seq: u64,
}

/// The pushes that wait for their acknowledgement.
#[derive(Debug)]
pub(crate) struct Watch {
    /// By connection and conversation; a free place has the time 0.
    places: Vec<Push>,
    passed: u32,
    watched_us: u64,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { places: vec![Push::default(); WATCHED_MAX], passed: 0, watched_us: 0 }
    }

    /// Notes a push, if it is one that is watched.
    pub(crate) fn handle_push(&mut self, push: Push) {
        self.passed += 1;
        if self.passed < WATCHED_ONE_IN && push.at_us.abs_diff(self.watched_us) < WATCHED_EVERY_US {
            return;
        }
        self.passed = 0;
        self.watched_us = push.at_us;
        let Some(place) = self.places.get_mut(place_of(push.who, push.conv)) else { return };
        if push.at_us.abs_diff(place.at_us) > WATCHED_UNTIL_US {
            *place = push;
        }
    }

    /// When the push that this acknowledgement covers was queued, if it is a watched one. It is told once.
    pub(crate) fn handle_ack(&mut self, who: u64, conv: u64, seq: u64) -> Option<u64> {
        let place = self.places.get_mut(place_of(who, conv))?;
        let covered = place.at_us > 0 && place.who == who && place.conv == conv && place.seq <= seq;
        covered.then(|| std::mem::take(place).at_us)
    }
}

fn place_of(who: u64, conv: u64) -> usize {
    // The low bits of a connection are its slot, those of the hash are spread already.
    (who ^ conv) as usize % WATCHED_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(at_us: u64, who: u64, seq: u64) -> Push {
        Push { at_us, who, conv: 9, seq }
    }

    #[test]
    fn an_acknowledgement_is_timed_from_the_push_that_it_covers_and_once() {
        let mut watch = Watch::new();
        watch.handle_push(push(1_000_000_000, 1, 5));
        assert_eq!(watch.handle_ack(1, 9, 4), None, "a lower one");
        assert_eq!(watch.handle_ack(2, 9, 5), None, "another device");
        assert_eq!(watch.handle_ack(1 + WATCHED_MAX as u64, 9, 5), None, "another device in its place");
        assert_eq!(watch.handle_ack(1, 9, 7), Some(1_000_000_000));
        assert_eq!(watch.handle_ack(1, 9, 7), None, "told already");
    }

    #[test]
    fn a_quiet_shard_watches_every_push_and_a_busy_one_some() {
        let start_us = 1_000_000_000;
        let mut watch = Watch::new();
        let quiet = (0..100).filter(|n| {
            watch.handle_push(push(start_us + n * WATCHED_EVERY_US, 1, *n));
            watch.handle_ack(1, 9, *n).is_some()
        });
        assert_eq!(quiet.count(), 100);
        let start_us = start_us + 100 * WATCHED_EVERY_US;
        let mut watch = Watch::new();
        let busy = (0..160).filter(|n| {
            watch.handle_push(push(start_us + n, 1, *n));
            watch.handle_ack(1, 9, *n).is_some()
        });
        assert_eq!(busy.count(), 10);
    }

    #[test]
    fn a_push_that_is_never_acknowledged_makes_room_in_the_end() {
        let start_us = 1_000_000_000;
        let mut watch = Watch::new();
        watch.handle_push(push(start_us, 1, 5));
        watch.handle_push(push(start_us + WATCHED_UNTIL_US, 1, 6));
        assert_eq!(watch.handle_ack(1, 9, 6), Some(start_us), "the earlier one is still watched");
        watch.handle_push(push(start_us + WATCHED_UNTIL_US, 1, 7));
        let late_us = start_us + 2 * WATCHED_UNTIL_US + 1;
        watch.handle_push(push(late_us, 1, 8));
        assert_eq!(watch.handle_ack(1, 9, 8), Some(late_us));
    }
}
