//! Sends that were accepted and not yet answered (pure: no socket, no clock).
//!
//! Owns the order: sends to one target go out in the order they were given, whatever is refused for a
//! while or lost with a connection. What is in flight when a connection dies goes again, first, with
//! `retry` set and its client message id unchanged.
//!
//! ```text
//!            poll_send                 sent, permanent error
//!  waiting ────────────► in flight ───────────────────────────► gone (its ticket is told)
//!     ▲                      │
//!     └──────────────────────┘ temporary error (its target waits), connection lost (`retry`)
//! ```
//!
//! With more than one send in flight to a target, one that the server refuses for a while can be
//! overtaken by those sent right behind it; one at a time, the default, cannot.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use ringway_engine::errors::ErrorCode;
use ringway_engine::packet::schema::{ErrorReply, Send};

use crate::backoff::{Bounds, Jitter};

/// Names one accepted send; tickets rise in the order of acceptance.
pub type Ticket = u64;

#[derive(Debug)]
struct Entry {
    send: Send,
    target: Target,
    in_flight: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Target {
    user: String,
    group: String,
}

#[derive(Debug, Default)]
struct Lane {
    queue: VecDeque<Ticket>,
    in_flight: usize,
    not_before_ms: u64,
    refusals: u32,
    /// A send was refused for a while: wait for the others in flight, then go on from the lowest.
    draining: bool,
}

/// What an answer means to a send.
#[derive(Debug, PartialEq)]
pub enum Answered {
    /// It goes again later.
    Again,
    /// It is over; the send comes back.
    Over(Ticket, Box<Send>),
}

/// Sends by target.
#[derive(Debug)]
pub struct Outbox {
    entries: BTreeMap<Ticket, Entry>,
    lanes: HashMap<Target, Lane>,
    ready: BTreeSet<Ticket>,
    held: BTreeSet<(u64, Target)>,
    next: Ticket,
    in_flight: usize,
    inflight_max: usize,
    per_target_max: usize,
    bytes: usize,
    bounds: Bounds,
}

impl Outbox {
    /// At most `inflight_max` sends in flight, and `per_target_max` of one target; both at least 1.
    #[must_use]
    pub fn new(inflight_max: usize, per_target_max: usize, bounds: Bounds) -> Self {
        Self {
            entries: BTreeMap::new(),
            lanes: HashMap::new(),
            ready: BTreeSet::new(),
            held: BTreeSet::new(),
            next: 1,
            in_flight: 0,
            inflight_max: inflight_max.max(1),
            per_target_max: per_target_max.max(1),
            bytes: 0,
            bounds,
        }
    }

    /// Sends not yet answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Nothing waits and nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of bodies not yet answered.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Accepts a send.
    pub fn push(&mut self, send: Send, now_ms: u64) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        let to = send.to.clone().unwrap_or_default();
        let target = Target { user: to.user, group: to.group };
        self.bytes += send.body.len();
        self.lanes.entry(target.clone()).or_default().queue.push_back(ticket);
        self.entries.insert(ticket, Entry { send, target: target.clone(), in_flight: false });
        self.refresh(&target, now_ms);
        ticket
    }

    /// The next send to put on the wire; it is in flight from now on.
    pub fn poll_send(&mut self, now_ms: u64) -> Option<(Ticket, Send)> {
        while let Some((at_ms, target)) = self.held.first().cloned()
            && at_ms <= now_ms
        {
            self.held.pop_first();
            self.refresh(&target, now_ms);
        }
        if self.in_flight >= self.inflight_max {
            return None;
        }
        let ticket = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&ticket)?;
        entry.in_flight = true;
        self.in_flight += 1;
        if let Some(lane) = self.lanes.get_mut(&entry.target) {
            lane.in_flight += 1;
        }
        Some((ticket, entry.send.clone()))
    }

    /// When `poll_send` may have something that it has not now.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.held.first().map(|(at_ms, _)| *at_ms)
    }

    /// The send was answered by `sent`. The send comes back unless it was not in flight.
    pub fn handle_sent(&mut self, ticket: Ticket, now_ms: u64) -> Option<Send> {
        self.end(ticket, now_ms, true)
    }

    /// The send was refused.
    pub fn handle_error(&mut self, ticket: Ticket, error: &ErrorReply, now_ms: u64, jitter: &mut Jitter) -> Answered {
        if !error.temporary {
            let send = self.end(ticket, now_ms, false).unwrap_or_default();
            return Answered::Over(ticket, Box::new(send));
        }
        let Some(entry) = self.entries.get_mut(&ticket).filter(|entry| entry.in_flight) else { return Answered::Again };
        entry.in_flight = false;
        // Past these two codes the server may have taken it after all.
        if error.code != ErrorCode::Busy.code() && error.code != ErrorCode::RateLimited.code() {
            entry.send.retry = true;
        }
        self.in_flight -= 1;
        let target = entry.target.clone();
        if let Some(lane) = self.lanes.get_mut(&target) {
            lane.in_flight -= 1;
            lane.draining = true;
            let wait_ms = self.bounds.wait_ms(lane.refusals, error.retry_after_ms, jitter);
            lane.not_before_ms = lane.not_before_ms.max(now_ms + wait_ms);
            lane.refusals = lane.refusals.saturating_add(1);
            for ticket in lane.queue.iter().take(self.per_target_max) {
                self.ready.remove(ticket);
            }
        }
        self.refresh(&target, now_ms);
        Answered::Again
    }

    /// The connection is gone: whatever was in flight goes again.
    pub fn handle_disconnected(&mut self, now_ms: u64) {
        for entry in self.entries.values_mut().filter(|entry| entry.in_flight) {
            entry.in_flight = false;
            entry.send.retry = true;
        }
        self.in_flight = 0;
        for lane in self.lanes.values_mut() {
            lane.in_flight = 0;
        }
        let targets: Vec<Target> = self.lanes.keys().cloned().collect();
        for target in targets {
            self.refresh(&target, now_ms);
        }
    }

    /// Takes everything out, in order.
    pub fn abandon(&mut self) -> Vec<Ticket> {
        self.lanes.clear();
        self.ready.clear();
        self.held.clear();
        self.in_flight = 0;
        self.bytes = 0;
        std::mem::take(&mut self.entries).into_keys().collect()
    }

    fn end(&mut self, ticket: Ticket, now_ms: u64, accepted: bool) -> Option<Send> {
        if !self.entries.get(&ticket)?.in_flight {
            return None;
        }
        let entry = self.entries.remove(&ticket)?;
        self.in_flight -= 1;
        self.bytes -= entry.send.body.len();
        if let Some(lane) = self.lanes.get_mut(&entry.target) {
            lane.in_flight -= 1;
            lane.queue.retain(|&other| other != ticket);
            if accepted {
                lane.refusals = 0;
            }
            if lane.queue.is_empty() {
                self.lanes.remove(&entry.target);
            } else {
                self.refresh(&entry.target, now_ms);
            }
        }
        Some(entry.send)
    }

    /// Works out which sends of a lane may go now.
    fn refresh(&mut self, target: &Target, now_ms: u64) {
        let Some(lane) = self.lanes.get_mut(target) else { return };
        if lane.draining && lane.in_flight > 0 {
            return;
        }
        if lane.not_before_ms > now_ms {
            self.held.insert((lane.not_before_ms, target.clone()));
            return;
        }
        lane.draining = false;
        for ticket in lane.queue.iter().take(self.per_target_max) {
            if self.entries.get(ticket).is_some_and(|entry| !entry.in_flight) {
                self.ready.insert(*ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringway_engine::packet::schema::Target as WireTarget;

    fn send(user: u8, id: usize) -> Send {
        let to = Some(WireTarget { user: format!("u{user}"), group: String::new() });
        Send { to, client_msg_id: id.to_string(), body: "x".into(), ..Send::default() }
    }

    fn outbox(per_target_max: usize) -> Outbox {
        Outbox::new(8, per_target_max, Bounds { base_ms: 10, cap_ms: 100 })
    }

    fn ids(outbox: &mut Outbox, now_ms: u64) -> Vec<(Ticket, String, bool)> {
        std::iter::from_fn(|| outbox.poll_send(now_ms))
            .map(|(ticket, send)| (ticket, send.client_msg_id, send.retry))
            .collect()
    }

    #[test]
    fn one_target_has_one_send_in_flight_and_others_do_not_wait_for_it() {
        let mut outbox = outbox(1);
        for (user, id) in [(1, 1), (1, 2), (2, 3)] {
            outbox.push(send(user, id), 0);
        }
        assert_eq!(ids(&mut outbox, 0), [(1, "1".into(), false), (3, "3".into(), false)]);
        outbox.handle_sent(1, 0).unwrap();
        assert_eq!(ids(&mut outbox, 0), [(2, "2".into(), false)]);
    }

    #[test]
    fn a_refused_send_holds_its_target_back_and_goes_first() {
        let mut outbox = outbox(2);
        (1..=4).for_each(|id| {
            outbox.push(send(1, id), 0);
        });
        assert_eq!(ids(&mut outbox, 0).len(), 2);
        let busy = ErrorCode::Busy.reply("full");
        assert_eq!(outbox.handle_error(1, &busy, 0, &mut Jitter::new(1)), Answered::Again);
        outbox.handle_sent(2, 0).unwrap();
        assert!(ids(&mut outbox, 499).is_empty());
        assert!((500..=510).contains(&outbox.deadline().unwrap()));
        assert_eq!(ids(&mut outbox, 510), [(1, "1".into(), false), (3, "3".into(), false)]);
    }

    #[test]
    fn what_was_in_flight_goes_again_first_and_marked() {
        let mut outbox = outbox(2);
        (1..=3).for_each(|id| {
            outbox.push(send(1, id), 0);
        });
        assert_eq!(ids(&mut outbox, 0).len(), 2);
        outbox.handle_disconnected(0);
        assert_eq!(ids(&mut outbox, 0), [(1, "1".into(), true), (2, "2".into(), true)]);
        outbox.handle_sent(1, 0).unwrap();
        assert_eq!(ids(&mut outbox, 0), [(3, "3".into(), false)]);
    }

    #[test]
    fn a_permanent_error_ends_one_send_only() {
        let mut outbox = outbox(1);
        outbox.push(send(1, 1), 0);
        outbox.push(send(1, 2), 0);
        assert_eq!(ids(&mut outbox, 0).len(), 1);
        let refused = ErrorCode::NotAMember.reply("no");
        let Answered::Over(1, _) = outbox.handle_error(1, &refused, 0, &mut Jitter::new(1)) else { panic!() };
        assert_eq!(ids(&mut outbox, 0), [(2, "2".into(), false)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(u8),
        Sent(prop::sample::Index),
        Busy(prop::sample::Index),
        Lost,
        Wait(u64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..3_u8).prop_map(Step::Push),
            4 => any::<prop::sample::Index>().prop_map(Step::Sent),
            2 => any::<prop::sample::Index>().prop_map(Step::Busy),
            1 => Just(Step::Lost),
            2 => (0..900_u64).prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #[test]
        fn every_send_is_answered_once_and_in_order_of_its_target(steps in steps()) {
            let mut outbox = outbox(1);
            let mut jitter = Jitter::new(3);
            let (mut now_ms, mut pushed) = (0, 0);
            let mut flying: Vec<(Ticket, Send)> = Vec::new();
            let mut done: Vec<Ticket> = Vec::new();
            let mut last_of: HashMap<String, Ticket> = HashMap::new();
            let mut finish = |outbox: &mut Outbox, flying: &mut Vec<(Ticket, Send)>, at: usize, now_ms| {
                let (ticket, sent) = flying.remove(at);
                outbox.handle_sent(ticket, now_ms).unwrap();
                let last = last_of.insert(sent.to.unwrap().user, ticket);
                assert!(last < Some(ticket), "sends to one target changed places");
                done.push(ticket);
            };
            for step in steps {
                match step {
                    Step::Push(user) => { pushed += 1; outbox.push(send(user, pushed), now_ms); }
                    Step::Sent(at) if !flying.is_empty() => { let at = at.index(flying.len()); finish(&mut outbox, &mut flying, at, now_ms); }
                    Step::Busy(at) if !flying.is_empty() => {
                        let (ticket, _) = flying.remove(at.index(flying.len()));
                        outbox.handle_error(ticket, &ErrorCode::Busy.reply(""), now_ms, &mut jitter);
                    }
                    Step::Lost => { flying.clear(); outbox.handle_disconnected(now_ms); }
                    Step::Wait(ms) => now_ms += ms,
                    _ => {}
                }
                flying.extend(std::iter::from_fn(|| outbox.poll_send(now_ms)));
                prop_assert!(outbox.in_flight() == flying.len() && flying.len() <= 8);
            }
            while !outbox.is_empty() {
                now_ms += 1_000;
                flying.extend(std::iter::from_fn(|| outbox.poll_send(now_ms)));
                prop_assert!(!flying.is_empty(), "a send is stuck");
                finish(&mut outbox, &mut flying, 0, now_ms);
            }
            done.sort_unstable();
            prop_assert_eq!(done, (1..=pushed as u64).collect::<Vec<_>>());
            prop_assert!(outbox.bytes() == 0 && outbox.lanes.is_empty() && outbox.ready.is_empty());
        }
    }
}
