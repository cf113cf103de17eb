//! What is remembered of a message on its way through this process, so that its hops become spans.
//!
//! A hop is a moment; its span begins at the moment of the station before it in the same process. A message that enters
//! the process, or of which the station before is not known any more, begins with a span that has no length. Owned by
//! the exporter's task.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use opentelemetry_proto::tonic::trace::v1::Span;
use ringway_hops::{Hop, Station};

use super::limits::MESSAGES_MAX;
use super::span::{of_hop, of_root};

/// The messages on their way.
pub(super) struct Journeys {
    instance: u64,
    known: HashMap<u64, Journey>,
    /// Their ids, oldest first.
    order: VecDeque<u64>,
}

/// One message.
#[derive(Debug, Default)]
struct Journey {
    /// When it was at each station last; 0: not yet.
    at_us: [u64; Station::ALL.len()],
    conv: u64,
    seq: u64,
    has_root: bool,
}

impl Journey {
    fn at(&self, station: Station) -> Option<u64> {
        self.at_us.get(station as usize).copied().filter(|at_us| *at_us > 0)
    }
}

impl Journeys {
    /// For a process of this name.
    pub(super) fn new(instance: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        instance.hash(&mut hasher);
        Self { instance: hasher.finish(), known: HashMap::new(), order: VecDeque::new() }
    }

    /// The span of a hop; and the root of its trace, once, from the process that took the message.
    pub(super) fn spans(&mut self, mut hop: Hop) -> (Span, Option<Span>) {
        if !self.known.contains_key(&hop.msg_id) {
            if self.order.len() == MESSAGES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
            self.order.push_back(hop.msg_id);
        }
        let journey = self.known.entry(hop.msg_id).or_default();
        for (known, told) in [(&mut journey.conv, &mut hop.conv), (&mut journey.seq, &mut hop.seq)] {
            if *told == 0 {
                *told = *known;
            }
            *known = *told;
        }
        let before = hop.station.follows().iter().filter_map(|station| journey.at(*station)).max();
        let before = if hop.from_us > 0 { Some(hop.from_us) } else { before };
        // The clock may have been set back meanwhile.
        let from_us = before.unwrap_or(hop.at_us).min(hop.at_us);
        let begun =
            if hop.station == Station::Fanned && !journey.has_root { journey.at(Station::Batched) } else { None };
        if let Some(slot) = journey.at_us.get_mut(hop.station as usize) {
            *slot = hop.at_us;
        }
        journey.has_root |= begun.is_some();
        (of_hop(&hop, from_us, self.instance), begun.map(|begun_us| of_root(&hop, begun_us.min(hop.at_us))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(at_us: u64, station: Station, msg_id: u64) -> Hop {
        Hop { at_us, from_us: 0, station, msg_id, conv: 0, seq: 0, who: 0, shard: None, queue: None }
    }

    fn times(span: &Span) -> (u64, u64) {
        (span.start_time_unix_nano / 1_000, span.end_time_unix_nano / 1_000)
    }

    #[test]
    fn a_span_reaches_from_the_station_before_to_its_own() {
        let mut journeys = Journeys::new("gateway-1");
        let mut check = |hop: Hop, expected: (u64, u64), root: Option<(u64, u64)>| {
            let station = hop.station;
            let (span, of_root) = journeys.spans(hop);
            assert_eq!((times(&span), of_root.as_ref().map(times)), (expected, root), "{station:?}");
        };
        check(Hop { conv: 9, ..hop(10, Station::Batched, 7) }, (10, 10), None);
        check(hop(12, Station::Logged, 7), (10, 12), None);
        check(Hop { seq: 3, ..hop(15, Station::Numbered, 7) }, (12, 15), None);
        check(hop(16, Station::Told, 7), (15, 16), None);
        check(hop(17, Station::Fanned, 7), (15, 17), Some((10, 17)));
        check(hop(18, Station::Pushed, 7), (17, 18), None);
        check(hop(19, Station::Pushed, 7), (17, 19), None);
        check(Hop { from_us: 18, ..hop(30, Station::Acknowledged, 7) }, (18, 30), None);
        check(hop(40, Station::Fanned, 7), (15, 40), None);
        check(hop(5, Station::Arrived, 8), (5, 5), None);
        check(hop(9, Station::Fanned, 8), (5, 9), None);
        check(hop(8, Station::Pushed, 8), (8, 8), None);
    }

    #[test]
    fn what_one_hop_tells_of_a_message_the_later_ones_know() {
        let mut journeys = Journeys::new("gateway-1");
        journeys.spans(Hop { conv: 9, ..hop(1, Station::Batched, 7) });
        let (logged, _) = journeys.spans(hop(2, Station::Logged, 7));
        let (unknown, _) = journeys.spans(hop(2, Station::Logged, 8));
        let tells = |span: &Span| span.attributes.iter().any(|attribute| attribute.key == "ringway.conversation");
        assert!(tells(&logged) && !tells(&unknown));
    }

    #[test]
    fn the_oldest_message_is_forgotten() {
        let mut journeys = Journeys::new("gateway-1");
        for id in 1..=MESSAGES_MAX as u64 + 1 {
            journeys.spans(hop(1, Station::Batched, id));
        }
        assert_eq!((journeys.known.len(), journeys.order.len()), (MESSAGES_MAX, MESSAGES_MAX));
        assert_eq!(times(&journeys.spans(hop(5, Station::Logged, 2)).0), (1, 5));
        assert_eq!(times(&journeys.spans(hop(5, Station::Logged, 1)).0), (5, 5));
    }
}
