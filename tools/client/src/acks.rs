//! Acknowledgements: cumulative, one point a conversation, gathered for a while (pure).

use std::collections::BTreeMap;

use ringway_engine::ids::ConversationId;
use ringway_engine::limits::{GROUP_ACK_MS, GROUP_ACK_SPREAD_MS};
use ringway_engine::packet::schema::{Point, ResumePoint};

use crate::backoff::Jitter;

/// When the client acknowledges what it has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckMode {
    /// Points are gathered for this many milliseconds; those of a group for a second to one and a quarter, each client
    /// for its own time, when that is longer.
    Gathered(u64),
    /// As soon as the point moved.
    Immediate,
    /// Only what the application passes to `Client::ack`.
    Manual,
}

impl Default for AckMode {
    fn default() -> Self {
        Self::Gathered(50)
    }
}

impl AckMode {
    /// How long a point of `conv` may wait, in milliseconds; `None`: until the application says so. `group_ms` is what
    /// this client gathers points of a group for at least.
    pub(crate) fn delay_ms(self, conv: &str, group_ms: u64) -> Option<u64> {
        match self {
            Self::Gathered(ms) if ConversationId::parse(conv).is_ok_and(|conv| conv.is_group()) => {
                Some(ms.max(group_ms))
            }
            Self::Gathered(ms) => Some(ms),
            Self::Immediate => Some(0),
            Self::Manual => None,
        }
    }
}

/// How long one client gathers points of groups at least, in milliseconds. The members of a room get its messages at one
/// moment; what they answer should not come at one.
pub(crate) fn draw_group_ms(jitter: &mut Jitter) -> u64 {
    GROUP_ACK_MS + jitter.up_to(GROUP_ACK_SPREAD_MS)
}

/// Points that wait to be acknowledged. Bounded by the conversations of the store.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    waiting: BTreeMap<String, ResumePoint>,
    due_ms: Option<u64>,
}

impl Acks {
    /// `conv` is complete up to `point`. A lower point of the same epoch changes nothing.
    pub(crate) fn note(&mut self, conv: String, point: ResumePoint, due_ms: u64) {
        let known = self.waiting.entry(conv).or_insert(point);
        if (point.epoch, point.seq) > (known.epoch, known.seq) {
            *known = point;
        }
        self.due_ms = Some(self.due_ms.map_or(due_ms, |due| due.min(due_ms)));
    }

    /// The next acknowledgement to send, once they are due.
    pub(crate) fn poll(&mut self, now_ms: u64) -> Option<Point> {
        if self.due_ms? > now_ms {
            return None;
        }
        let Some((conv, point)) = self.waiting.pop_first() else {
            self.due_ms = None;
            return None;
        };
        Some(Point { conv, epoch: point.epoch, seq: point.seq })
    }

    /// Everything is due now.
    pub(crate) fn hurry(&mut self) {
        self.due_ms = self.due_ms.map(|_| 0);
    }

    /// When there is something to send.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.due_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_gathered_and_only_the_highest_is_sent() {
        let mut acks = Acks::default();
        for seq in [1, 3, 2] {
            acks.note("p2p:a:b".into(), ResumePoint { epoch: 1, seq }, 50 + seq);
        }
        assert!(acks.poll(50).is_none());
        assert_eq!(acks.poll(51), Some(Point { conv: "p2p:a:b".into(), epoch: 1, seq: 3 }));
        assert!(acks.poll(51).is_none() && acks.deadline().is_none());
    }

    #[test]
    fn the_clients_of_a_room_do_not_acknowledge_together() {
        let mut drawn: Vec<u64> = (0..100).map(|seed| draw_group_ms(&mut Jitter::new(seed))).collect();
        drawn.sort_unstable();
        assert!(drawn.iter().all(|ms| (GROUP_ACK_MS..=GROUP_ACK_MS + GROUP_ACK_SPREAD_MS).contains(ms)), "{drawn:?}");
        // No quarter of them within an eighth of the time.
        assert!(drawn.windows(25).all(|some| some[24] - some[0] > GROUP_ACK_SPREAD_MS / 8), "{drawn:?}");
    }

    #[test]
    fn a_point_of_a_group_waits_for_company_and_goes_with_what_is_due_sooner() {
        let gathered = AckMode::Gathered(50);
        assert_eq!((gathered.delay_ms("p2p:a:b", 1_200), gathered.delay_ms("group:g", 1_200)), (Some(50), Some(1_200)));
        assert_eq!(AckMode::Gathered(1_900).delay_ms("group:g", 1_200), Some(1_900));
        assert_eq!(AckMode::Immediate.delay_ms("group:g", 1_200), Some(0));
        assert_eq!(AckMode::Manual.delay_ms("p2p:a:b", 1_200), None);
        let mut acks = Acks::default();
        let point = ResumePoint { epoch: 1, seq: 1 };
        acks.note("group:g".into(), point, 500);
        acks.note("p2p:a:b".into(), point, 50);
        assert_eq!(std::iter::from_fn(|| acks.poll(50)).count(), 2);
    }
}
