//! Streams of messages between connections: who sends, who must receive, what was seen.
//!
//! Owns the counts and histograms of a run. A [`Stream`] is one sender's messages to one conversation; every receiver of
//! it has a `Checker` in its [`Seat`], a connection's place in the run. Messages of earlier runs, which come as backlog,
//! are acknowledged and passed over.
//!
//! ```text
//! add ─► send ─► packet (`sent`, deliveries, pages) ─► is_complete ─► finish
//! ```

mod mark;
mod receive;
mod seat;
mod stream;

use std::collections::{BTreeMap, HashMap, VecDeque};

use hdrhistogram::Histogram;

use crate::check::Findings;
use crate::intervals::Intervals;
use crate::network::Network;
use crate::people::Person;
use crate::protocol::{Protocol, Route};
pub(crate) use crate::traffic::mark::Marks;
use crate::traffic::seat::{Pending, Seat};
pub(crate) use crate::traffic::stream::Stream;
use crate::wire::body::Bodies;
use crate::wire::template::FIRST_ID;

/// Longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 120_000_000_000;

/// A histogram of nanoseconds.
///
/// # Errors
/// No memory for it.
pub(crate) fn histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3)?)
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages handed to the kernel.
    pub(crate) sent: u64,
    /// Messages answered by `sent`.
    pub(crate) acknowledged: u64,
    /// Deliveries, each receiver counted; not those to whom they come late.
    pub(crate) delivered: u64,
    /// Deliveries to those who were away or did not read.
    pub(crate) late: u64,
    /// Messages that came back to the connection that sent them; allowed, but not free.
    pub(crate) echoed: u64,
    /// Packets of any kind.
    pub(crate) packets: u64,
}

impl Tally {
    /// What costs are shared among: deliveries, late ones included; where nobody was there to receive, messages that
    /// were acknowledged. Never 0.
    pub(crate) fn deliveries(&self) -> f64 {
        let delivered = self.delivered + self.late;
        (if delivered > 0 { delivered } else { self.acknowledged }).max(1) as f64
    }
}

/// What the server did to those who are late, which is its right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Shed {
    /// Their connections that it ended.
    pub(crate) ended: u64,
    /// Conversations that it told them to read anew.
    pub(crate) resyncs: u64,
}

/// A conversation of the run.
#[derive(Debug)]
struct Conversation {
    id: String,
    epoch: u64,
    /// Streams that go there.
    streams: usize,
}

/// Into how many parts the time is divided for which acknowledgements are gathered. Each connection has its own, since
/// devices do not gather in step, and a room that did would hold up whatever comes behind its acknowledgements.
pub(crate) const ACK_PARTS: usize = 20;

/// All streams of a run; see the module's head.
#[derive(Debug)]
pub(crate) struct Traffic {
    protocol: &'static dyn Protocol,
    bodies: Bodies,
    pub(crate) streams: Vec<Stream>,
    /// Streams in the order in which the open loop takes them, over and over; empty: all in turn.
    pub(crate) order: Vec<usize>,
    conversations: Vec<Conversation>,
    by_id: HashMap<String, usize>,
    pub(crate) seats: Vec<Seat>,
    /// Seats with something to acknowledge, when acknowledgements are gathered, by the part of the time at which they do.
    ack_waits: [Vec<usize>; ACK_PARTS],
    ack_part: usize,
    gather_acks: bool,
    /// Streams in which something was answered or delivered, for the closed loop.
    pub(crate) moved: Vec<usize>,
    /// Streams that rest after a refusal, and until when, in that order.
    pub(crate) resting: VecDeque<(u64, usize)>,
    /// Connections that have signed in, with the time.
    pub(crate) signed_in: Vec<(usize, u64)>,
    /// Seats that have got all that they waited for, with the time.
    pub(crate) caught_up: Vec<(usize, u64)>,
    /// Messages that were not sent, because their sender was away.
    pub(crate) skipped: u64,
    pub(crate) marks: Marks,
    pub(crate) findings: Findings,
    pub(crate) shed: Shed,
    pub(crate) refused: BTreeMap<u32, u64>,
    pub(crate) tally: Tally,
    /// Messages intended from here to there are recorded.
    pub(crate) window: (u64, u64),
    /// What is recorded now will be forgotten: who looks on is shown no window.
    pub(crate) is_baseline: bool,
    pub(crate) intervals: Intervals,
    pub(crate) to_sent: Histogram<u64>,
    pub(crate) to_delivery: Histogram<u64>,
    pub(crate) lag: Histogram<u64>,
}

impl Traffic {
    /// No streams yet, and a seat for each connection.
    ///
    /// # Errors
    /// No memory for histograms.
    pub(crate) fn new(
        protocol: &'static dyn Protocol,
        bodies: Bodies,
        connections: usize,
        gather_acks: bool,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            protocol,
            bodies,
            streams: Vec::new(),
            order: Vec::new(),
            conversations: Vec::new(),
            by_id: HashMap::new(),
            seats: (0..connections).map(|_| Seat::default()).collect(),
            ack_waits: Default::default(),
            ack_part: 0,
            gather_acks,
            moved: Vec::new(),
            resting: VecDeque::new(),
            signed_in: Vec::new(),
            caught_up: Vec::new(),
            skipped: 0,
            marks: Marks::default(),
            findings: Findings::default(),
            shed: Shed::default(),
            refused: BTreeMap::new(),
            tally: Tally::default(),
            window: (u64::MAX, u64::MAX),
            is_baseline: false,
            intervals: Intervals::default(),
            to_sent: histogram()?,
            to_delivery: histogram()?,
            lag: histogram()?,
        })
    }

    /// A stream from one connection to others; answers its number.
    pub(crate) fn add(&mut self, from: usize, route: Route, to: impl IntoIterator<Item = usize>) -> usize {
        let number = self.streams.len();
        let conversation = (!route.conv.is_empty()).then(|| {
            let fresh = self.conversations.len();
            let at = *self.by_id.entry(route.conv.clone()).or_insert(fresh);
            if at == fresh {
                self.conversations.push(Conversation { id: route.conv.clone(), epoch: 1, streams: 0 });
            }
            if let Some(conversation) = self.conversations.get_mut(at) {
                conversation.streams += 1;
            }
            at
        });
        let mut receivers = 0;
        for receiver in to {
            if let Some(seat) = self.seats.get_mut(receiver) {
                seat.hear(number, conversation);
                receivers += 1;
            }
        }
        if let Some(seat) = self.seats.get_mut(from) {
            seat.sends.push(number);
        }
        self.streams.push(Stream::new(from, route, conversation, receivers));
        number
    }

    fn in_window(&self, intended_ns: u64) -> bool {
        (self.window.0..self.window.1).contains(&intended_ns)
    }

    /// The stream whose turn it is in the open loop.
    pub(crate) fn turn(&self, number: u64) -> usize {
        let all = if self.order.is_empty() { self.streams.len() } else { self.order.len() };
        let at = (number % all.max(1) as u64) as usize;
        self.order.get(at).copied().unwrap_or(at)
    }

    /// Appends the next message of a stream to its connection; false if that is not there.
    pub(crate) fn send(&mut self, network: &mut Network, stream: usize, intended_ns: u64) -> bool {
        let number = stream;
        let Some(stream) = self.streams.get_mut(stream) else { return false };
        let Some(out) = network.out(stream.connection) else {
            self.skipped += 1;
            return false;
        };
        let Some(seat) = self.seats.get_mut(stream.connection) else { return false };
        let (id, serial) = (FIRST_ID + seat.commands, stream.sent);
        stream.template.append(id, serial, intended_ns, out);
        if stream.conversation.is_some() {
            seat.pending.push_back(Pending { id, stream: number, serial, intended_ns });
        }
        seat.commands += 1;
        stream.sent += 1;
        self.tally.sent += 1;
        true
    }

    /// Notes how late a message went out.
    pub(crate) fn note_lag(&mut self, intended_ns: u64, actual_ns: u64) {
        if self.in_window(intended_ns) {
            self.lag.saturating_record(actual_ns.saturating_sub(intended_ns));
            self.intervals.note_lag(intended_ns, actual_ns.saturating_sub(intended_ns));
        }
    }

    /// Sends all acknowledgements that were gathered.
    pub(crate) fn send_acks(&mut self, network: &mut Network) {
        for _ in 0..ACK_PARTS {
            self.send_acks_of_part(network);
        }
    }

    /// Sends those of the next of the [`ACK_PARTS`]; each is to have its turn once in the time for which they are gathered.
    pub(crate) fn send_acks_of_part(&mut self, network: &mut Network) {
        self.ack_part = (self.ack_part + 1) % ACK_PARTS;
        let waits = self.ack_waits.get_mut(self.ack_part).map(std::mem::take);
        for connection in waits.unwrap_or_default() {
            match network.out(connection) {
                Some(out) => self.append_acks(connection, out),
                None => self.forget_acks(connection),
            }
        }
    }

    /// Everybody acknowledges all there is, own messages included, so that nothing is backlog of the next run.
    pub(crate) fn send_last_acks(&mut self, network: &mut Network) {
        let Self { seats, streams, conversations, protocol, .. } = self;
        let id = |conversation: usize| conversations.get(conversation).map(|conversation| conversation.id.as_bytes());
        for (connection, seat) in seats.iter().enumerate() {
            let Some(out) = network.out(connection) else { continue };
            for place in seat.places.iter().filter(|place| place.numbering.last() > 0) {
                let Some(id) = id(place.conversation) else { continue };
                protocol.append_ack(id, place.epoch, place.numbering.last(), out);
            }
            // Of a conversation in which it hears nobody, the numbers of its own.
            for stream in seat.sends.iter().filter_map(|stream| streams.get(*stream)) {
                let Some(conversation) = stream.conversation else { continue };
                let Some(id) = id(conversation).filter(|_| seat.place_in(conversation).is_none()) else { continue };
                if stream.last_seq > 0 {
                    let epoch = conversations.get(conversation).map_or(1, |conversation| conversation.epoch);
                    protocol.append_ack(id, epoch, stream.last_seq, out);
                }
            }
        }
    }

    /// Messages without an answer on the connection that a stream is sent by.
    pub(crate) fn unanswered(&self, stream: usize) -> usize {
        let seat = self.streams.get(stream).and_then(|stream| self.seats.get(stream.connection));
        seat.map_or(0, |seat| seat.pending.len())
    }

    /// Whether everything sent is answered, and delivered to all who count.
    pub(crate) fn is_complete(&self) -> bool {
        self.streams.iter().all(|stream| stream.inflight() == 0)
    }

    /// Deliveries that everything sent so far comes to, to the late too, had none been refused.
    pub(crate) fn due(&self) -> u64 {
        let sent = |hearing: &seat::Hearing| self.streams.get(hearing.stream).map_or(0, |stream| stream.sent);
        self.seats.iter().flat_map(|seat| &seat.hears).map(sent).sum()
    }

    /// Adds to the findings what never came.
    pub(crate) fn finish(&mut self) {
        for seat in &self.seats {
            self.findings.unanswered += seat.pending.len() as u64 + seat.unread;
            for hearing in &seat.hears {
                if let Some(stream) = self.streams.get(hearing.stream) {
                    hearing.checker.finish(stream.sent, &stream.refused, &mut self.findings);
                }
            }
        }
    }

    /// A connection is late from now on: what it hears is counted apart and not waited for, its end and what the server
    /// drops for it are no findings.
    pub(crate) fn excuse(&mut self, connection: usize) {
        let Some(seat) = self.seats.get_mut(connection).filter(|seat| !seat.is_late) else { return };
        seat.is_late = true;
        for hearing in &seat.hears {
            if let Some(stream) = self.streams.get_mut(hearing.stream) {
                stream.receivers -= 1;
            }
        }
    }

    /// A late connection waits for all that it has not got; answers how many messages that are.
    pub(crate) fn await_all(&mut self, connection: usize) -> u64 {
        let Some(seat) = self.seats.get_mut(connection) else { return 0 };
        let lacks = |hearing: &seat::Hearing| {
            let stream = self.streams.get(hearing.stream);
            stream.map_or(0, |stream| hearing.checker.lacks(stream.sent, &stream.refused))
        };
        seat.awaited = seat.hears.iter().map(lacks).sum();
        seat.awaited
    }

    /// Whether a late connection has all that it waited for.
    pub(crate) fn awaits_nothing(&self, connection: usize) -> bool {
        self.seats.get(connection).is_none_or(|seat| seat.awaited == 0)
    }

    /// A late connection is not asked any more what it has got.
    pub(crate) fn dismiss(&mut self, connection: usize) {
        if let Some(seat) = self.seats.get_mut(connection) {
            seat.hears.clear();
        }
    }

    /// Ends the baseline: latencies are recorded anew, in the next window.
    pub(crate) fn forget_latencies(&mut self) {
        self.is_baseline = false;
        self.window = (u64::MAX, u64::MAX);
        self.to_sent.reset();
        self.to_delivery.reset();
        self.lag.reset();
    }

    /// The person of a connection, who resumes where the connection has come to.
    pub(crate) fn resuming(&self, connection: usize, person: &Person) -> Person {
        let places = self.seats.get(connection).map(|seat| seat.places.as_slice()).unwrap_or_default();
        let seen = places.iter().filter(|place| place.numbering.last() > 0);
        let point = |place: &seat::Place| {
            let conversation = self.conversations.get(place.conversation)?;
            Some((conversation.id.clone(), place.epoch, place.numbering.last()))
        };
        Person { resume: seen.filter_map(point).collect(), ..person.clone() }
    }
}
