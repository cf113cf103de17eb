//! Streams of messages between connections: who sends, who must receive, what was seen.
//!
//! Owns the counts and histograms of a run. A stream is one sender's messages to one conversation; every
//! receiver of it has a [`Checker`]. Messages of earlier runs, which come as backlog, are acknowledged and
//! passed over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hdrhistogram::Histogram;

use crate::check::{Checker, Findings};
use crate::intervals::Intervals;
use crate::network::{Handler, Network};
use crate::protocol::{Protocol, Route};
use crate::watch::Glance;
use crate::wire::body::{Bodies, Reading, Stamp};
use crate::wire::template::{FIRST_ID, Template};
use crate::wire::{Message, Packet};

/// Longest latency that is told apart, in nanoseconds.
const LATENCY_NS_MAX: u64 = 120_000_000_000;
/// Ends of connections that are printed; the rest is only counted.
const ENDS_SHOWN: u64 = 5;

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Sends the stream of this number.
    Sender(usize),
    /// Receives it.
    Receiver(usize),
}

/// One sender's messages.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The sender's connection.
    pub(crate) connection: usize,
    /// What it sends.
    pub(crate) template: Template,
    /// The sender, as receivers see it.
    pub(crate) from: String,
    /// The conversation; empty for signals, which belong to none and are not answered.
    pub(crate) conv: String,
    /// How many receive it.
    pub(crate) receivers: u64,
    /// Serials sent.
    sent: u64,
    /// Sent and not answered: serial and intended time.
    pending: VecDeque<(u64, u64)>,
    answered: u64,
    delivered: u64,
    refused: BTreeSet<u64>,
    /// Number less serial, the same for all messages while none is refused.
    offset: Option<u64>,
    /// Point of the last `sent`.
    last_seq: u64,
    epoch: u64,
}

impl Stream {
    /// Nothing sent yet.
    pub(crate) fn new(connection: usize, route: Route, receivers: u64) -> Self {
        let Route { template, from, conv } = route;
        Self {
            connection,
            template,
            from,
            conv,
            receivers,
            sent: 0,
            pending: VecDeque::new(),
            answered: 0,
            delivered: 0,
            refused: BTreeSet::new(),
            offset: None,
            last_seq: 0,
            epoch: 1,
        }
    }

    /// Messages that are not both answered (if that is due) and delivered to all.
    pub(crate) fn inflight(&self) -> u64 {
        let refused = self.refused.len() as u64;
        let delivered = self.delivered / self.receivers.max(1) + refused;
        let done = if self.conv.is_empty() { delivered } else { delivered.min(self.answered) };
        self.sent.saturating_sub(done)
    }

    /// Checks that `sent` and every delivery give a serial the same number.
    fn check_number(&mut self, serial: u64, seq: u64, findings: &mut Findings) {
        if self.refused.is_empty() && *self.offset.get_or_insert(seq.wrapping_sub(serial)) != seq.wrapping_sub(serial) {
            findings.misnumbered += 1;
        }
    }
}

/// What was counted so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages handed to the kernel.
    pub(crate) sent: u64,
    /// Messages answered by `sent`.
    pub(crate) acknowledged: u64,
    /// Deliveries, each receiver counted.
    pub(crate) delivered: u64,
    /// Messages that came back to the connection that sent them; allowed, but not free.
    pub(crate) echoed: u64,
    /// Packets of any kind.
    pub(crate) packets: u64,
}

/// All streams of a run; see the module's head.
#[derive(Debug)]
pub(crate) struct Traffic {
    protocol: &'static dyn Protocol,
    bodies: Bodies,
    pub(crate) streams: Vec<Stream>,
    roles: Vec<Role>,
    checkers: Vec<Checker>,
    /// For each connection: what it has to acknowledge.
    acks: Vec<Option<(u64, u64)>>,
    /// Connections in `acks`, when acknowledgements are gathered.
    ack_waits: Vec<usize>,
    gather_acks: bool,
    /// Streams in which something was answered or delivered, for the closed loop.
    pub(crate) moved: Vec<usize>,
    pub(crate) findings: Findings,
    pub(crate) refused: BTreeMap<u32, u64>,
    pub(crate) tally: Tally,
    /// Messages intended from here to there are recorded.
    pub(crate) window: (u64, u64),
    pub(crate) intervals: Intervals,
    pub(crate) to_sent: Histogram<u64>,
    pub(crate) to_delivery: Histogram<u64>,
    pub(crate) lag: Histogram<u64>,
}

impl Traffic {
    /// Streams, and the role of every connection.
    ///
    /// # Errors
    /// No memory for histograms.
    pub(crate) fn new(
        protocol: &'static dyn Protocol,
        bodies: Bodies,
        streams: Vec<Stream>,
        roles: Vec<Role>,
        gather_acks: bool,
    ) -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Ok(Self {
            protocol,
            bodies,
            streams,
            checkers: roles.iter().map(|_| Checker::default()).collect(),
            acks: vec![None; roles.len()],
            roles,
            ack_waits: Vec::new(),
            gather_acks,
            moved: Vec::new(),
            findings: Findings::default(),
            refused: BTreeMap::new(),
            tally: Tally::default(),
            window: (u64::MAX, u64::MAX),
            intervals: Intervals::default(),
            to_sent: histogram()?,
            to_delivery: histogram()?,
            lag: histogram()?,
        })
    }

    fn in_window(&self, intended_ns: u64) -> bool {
        (self.window.0..self.window.1).contains(&intended_ns)
    }

    /// Appends the next message of a stream to its connection.
    pub(crate) fn send(&mut self, network: &mut Network, stream: usize, intended_ns: u64) {
        let Some(stream) = self.streams.get_mut(stream) else { return };
        let Some(out) = network.out(stream.connection) else { return };
        stream.template.append(stream.sent, intended_ns, out);
        if !stream.conv.is_empty() {
            stream.pending.push_back((stream.sent, intended_ns));
        }
        stream.sent += 1;
        self.tally.sent += 1;
    }

    /// Notes how late a message went out.
    pub(crate) fn note_lag(&mut self, intended_ns: u64, actual_ns: u64) {
        if self.in_window(intended_ns) {
            self.lag.saturating_record(actual_ns.saturating_sub(intended_ns));
            self.intervals.note_lag(intended_ns, actual_ns.saturating_sub(intended_ns));
        }
    }

    /// Sends the acknowledgements that were gathered.
    pub(crate) fn send_acks(&mut self, network: &mut Network) {
        for connection in std::mem::take(&mut self.ack_waits) {
            if let Some(out) = network.out(connection) {
                self.append_ack(connection, out);
            }
        }
    }

    /// The senders acknowledge what they wrote, so that it is no backlog of the next run.
    pub(crate) fn send_last_acks(&self, network: &mut Network) {
        for stream in self.streams.iter().filter(|stream| stream.last_seq > 0) {
            if let Some(out) = network.out(stream.connection) {
                self.protocol.append_ack(stream.conv.as_bytes(), stream.epoch, stream.last_seq, out);
            }
        }
    }

    /// Whether everything sent is answered and delivered.
    pub(crate) fn is_complete(&self) -> bool {
        self.streams.iter().all(|stream| stream.inflight() == 0)
    }

    /// Deliveries that everything sent so far comes to, had none been refused.
    pub(crate) fn due(&self) -> u64 {
        self.streams.iter().map(|stream| stream.sent * stream.receivers).sum()
    }

    /// Adds to the findings what never came.
    pub(crate) fn finish(&mut self) {
        self.findings.unanswered += self.streams.iter().map(|stream| stream.pending.len() as u64).sum::<u64>();
        for (checker, role) in self.checkers.iter().zip(&self.roles) {
            if let Role::Receiver(stream) = role
                && let Some(stream) = self.streams.get(*stream)
            {
                checker.finish(stream.sent, &stream.refused, &mut self.findings);
            }
        }
    }

    fn append_ack(&mut self, connection: usize, out: &mut Vec<u8>) {
        if let Some((epoch, seq)) = self.acks.get_mut(connection).and_then(Option::take)
            && let Some(Role::Receiver(stream)) = self.roles.get(connection)
            && let Some(stream) = self.streams.get(*stream)
        {
            self.protocol.append_ack(stream.conv.as_bytes(), epoch, seq, out);
        }
    }

    fn handle_answer(&mut self, connection: usize, read_ns: u64, id: u64, answer: Result<u64, u32>) {
        if let Err(code) = answer {
            *self.refused.entry(code).or_default() += 1;
        }
        let Some(Role::Sender(index)) = self.roles.get(connection).copied() else { return };
        let Some(stream) = self.streams.get_mut(index) else { return };
        let serial = id.wrapping_sub(FIRST_ID);
        let at = stream.pending.iter().position(|(pending, _)| *pending == serial);
        let intended = at.and_then(|at| stream.pending.remove(at)).map(|(_, intended)| intended);
        match answer {
            Err(_) if serial < stream.sent => {
                stream.refused.insert(serial);
                stream.answered += u64::from(intended.is_some());
            }
            Err(_) => {}
            Ok(seq) => {
                let Some(intended_ns) = intended else {
                    self.findings.invented += 1;
                    return;
                };
                self.findings.out_of_order += u64::from(at != Some(0));
                stream.check_number(serial, seq, &mut self.findings);
                stream.last_seq = stream.last_seq.max(seq);
                stream.answered += 1;
                self.tally.acknowledged += 1;
                if self.in_window(intended_ns) {
                    self.to_sent.saturating_record(read_ns.saturating_sub(intended_ns));
                }
            }
        }
        self.moved.push(index);
    }

    fn handle_message(&mut self, connection: usize, read_ns: u64, message: &Message<'_>, out: &mut Vec<u8>) {
        let reading = self.bodies.read(message.body, Some(message.client_msg_id));
        let index = match self.roles.get(connection).copied() {
            Some(Role::Receiver(index)) => index,
            Some(Role::Sender(index)) => {
                match reading {
                    Reading::Ours(stamp) if stamp.stream == index as u64 => self.tally.echoed += 1,
                    Reading::Foreign => {}
                    _ => self.findings.leaked += 1,
                }
                return self.protocol.append_ack(message.conv, message.epoch, message.seq, out);
            }
            None => return,
        };
        let Some(stream) = self.streams.get_mut(index) else { return };
        if message.conv != stream.conv.as_bytes() {
            self.findings.leaked += u64::from(reading != Reading::Foreign);
            self.protocol.append_ack(message.conv, message.epoch, message.seq, out);
            return;
        }
        stream.epoch = message.epoch;
        if let Some(checker) = self.checkers.get_mut(connection) {
            checker.note_seq(message.seq, &mut self.findings);
        }
        if let Reading::Ours(stamp) = reading {
            stream.check_number(stamp.serial, message.seq, &mut self.findings);
        }
        if let Some(ack) = self.acks.get_mut(connection)
            && ack.replace((message.epoch, message.seq)).is_none()
            && self.gather_acks
        {
            self.ack_waits.push(connection);
        }
        self.handle_body(connection, index, read_ns, reading, message.from);
    }

    fn handle_signal(&mut self, connection: usize, read_ns: u64, from: &[u8], body: &[u8]) {
        let reading = self.bodies.read(body, None);
        match self.roles.get(connection).copied() {
            Some(Role::Receiver(index)) => self.handle_body(connection, index, read_ns, reading, from),
            _ => self.findings.leaked += u64::from(reading != Reading::Foreign),
        }
    }

    fn handle_body(&mut self, connection: usize, index: usize, read_ns: u64, reading: Reading, from: &[u8]) {
        let Stamp { stream: number, serial, intended_ns } = match reading {
            Reading::Foreign => return,
            Reading::Corrupt => return self.findings.corrupt += 1,
            Reading::Ours(stamp) => stamp,
        };
        let (Some(stream), Some(checker)) = (self.streams.get_mut(index), self.checkers.get_mut(connection)) else {
            return;
        };
        if number != index as u64 {
            return self.findings.leaked += 1;
        }
        if from != stream.from.as_bytes() {
            return self.findings.corrupt += 1;
        }
        if checker.note(serial, stream.sent, &mut self.findings) {
            stream.delivered += 1;
            self.tally.delivered += 1;
            self.moved.push(index);
            if self.in_window(intended_ns) {
                self.to_delivery.saturating_record(read_ns.saturating_sub(intended_ns));
                self.intervals.note_delivery(intended_ns, read_ns.saturating_sub(intended_ns));
            }
        }
    }
}

impl Handler for Traffic {
    fn packet(&mut self, connection: usize, read_ns: u64, packet: &Packet<'_>, out: &mut Vec<u8>) {
        self.tally.packets += 1;
        match packet {
            Packet::Sent { id, seq } => self.handle_answer(connection, read_ns, *id, Ok(*seq)),
            Packet::Error { id, code } => self.handle_answer(connection, read_ns, *id, Err(*code)),
            Packet::Message(message) => self.handle_message(connection, read_ns, message, out),
            Packet::Signal { from, body } => self.handle_signal(connection, read_ns, from, body),
            Packet::Resync => self.findings.resyncs += 1,
            Packet::Connected | Packet::Pong | Packet::Other => {}
        }
    }

    fn read_done(&mut self, connection: usize, out: &mut Vec<u8>) {
        if !self.gather_acks {
            self.append_ack(connection, out);
        }
    }

    fn glance(&self) -> Option<Glance<'_>> {
        Some(Glance {
            sent: self.tally.sent,
            delivered: self.tally.delivered,
            under_way: self.streams.iter().map(Stream::inflight).sum(),
            is_clean: self.findings.is_clean(),
            window: self.window,
            to_delivery: &self.to_delivery,
            to_sent: &self.to_sent,
            lag: &self.lag,
        })
    }

    fn closed(&mut self, connection: usize, reason: &str) {
        self.findings.disconnected += 1;
        if self.findings.disconnected <= ENDS_SHOWN {
            eprintln!("ringway-load: connection {connection} ended: {reason}");
        }
    }
}
