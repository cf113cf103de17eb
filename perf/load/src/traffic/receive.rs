//! What comes in: answers, deliveries and pages, each looked into.

use super::mark::FIRST_READ_ID;
use super::seat::Seat;
use super::stream::Stream;
use super::{ACK_PARTS, Traffic};
use crate::network::Handler;
use crate::watch::Glance;
use crate::wire::body::{Reading, Stamp};
use crate::wire::template::FIRST_ID;
use crate::wire::{Message, Packet};

/// Ends of connections that are printed; the rest is only counted.
const ENDS_SHOWN: u64 = 5;
/// How long a client waits that was told to come again: what `busy` asks for.
const REST_NS: u64 = 500_000_000;

impl Traffic {
    fn handle_refusal(&mut self, connection: usize, read_ns: u64, id: u64, code: u32) {
        *self.refused.entry(code).or_default() += 1;
        let Some(seat) = self.seats.get_mut(connection) else { return };
        let at = seat.pending.iter().position(|pending| pending.id == id);
        let (index, serial) = match (at.and_then(|at| seat.pending.remove(at)), seat.sends.as_slice()) {
            (Some(pending), _) => (pending.stream, pending.serial),
            (None, _) if (FIRST_READ_ID..FIRST_ID).contains(&id) => return self.handle_read(connection),
            // What is not answered is refused none the less; of one stream, ids are serials.
            (None, [only]) if id >= FIRST_ID => (*only, id - FIRST_ID),
            _ => return,
        };
        let Some(stream) = self.streams.get_mut(index).filter(|stream| serial < stream.sent) else { return };
        stream.refused.insert(serial);
        stream.answered += u64::from(at.is_some());
        stream.rests_until_ns = read_ns + REST_NS;
        self.resting.push_back((stream.rests_until_ns, index));
    }

    fn handle_sent(&mut self, connection: usize, read_ns: u64, id: u64, seq: u64) {
        let Some(seat) = self.seats.get_mut(connection) else { return };
        let at = seat.pending.iter().position(|pending| pending.id == id);
        let Some(pending) = at.and_then(|at| seat.pending.remove(at)) else {
            self.findings.invented += 1;
            return;
        };
        // Answers of one conversation come in order; several conversations wait for each other nowhere.
        let is_early = seat.pending.iter().take(at.unwrap_or(0)).any(|earlier| earlier.stream == pending.stream);
        self.findings.out_of_order += u64::from(is_early);
        let Some(stream) = self.streams.get_mut(pending.stream) else { return };
        if let Some(conversation) = stream.conversation {
            let alone = self.conversations.get(conversation).is_some_and(|found| found.streams == 1);
            stream.check_number(pending.serial, seq, alone, &mut self.findings);
            // Its own messages have their place among those it hears there.
            if let Some(place) = seat.place_in(conversation).and_then(|place| seat.places.get_mut(place)) {
                place.numbering.note(seq, &mut self.findings);
            }
        }
        stream.last_seq = stream.last_seq.max(seq);
        stream.answered += 1;
        self.tally.acknowledged += 1;
        self.moved.push(pending.stream);
        if self.in_window(pending.intended_ns) {
            self.to_sent.saturating_record(read_ns.saturating_sub(pending.intended_ns));
        }
    }

    fn handle_message(&mut self, connection: usize, read_ns: u64, message: &Message<'_>, out: &mut Vec<u8>) {
        let reading = self.bodies.read(message.body, Some(message.client_msg_id));
        let Self { seats, conversations, protocol, .. } = self;
        let Some(seat) = seats.get_mut(connection) else { return };
        let heard = match reading {
            Reading::Ours(stamp) => seat.hearing(stamp.stream).and_then(|at| seat.hears.get(at)?.place),
            _ => None,
        };
        let is_there = |seat: &Seat, place: usize| {
            let conversation = seat.places.get(place).and_then(|place| conversations.get(place.conversation));
            conversation.is_some_and(|found| found.id.as_bytes() == message.conv)
        };
        let place = match heard {
            Some(place) => Some(place).filter(|place| is_there(seat, *place)),
            None => (0..seat.places.len()).find(|place| is_there(seat, *place)),
        };
        let Some(place) = place.and_then(|at| Some((at, seat.places.get_mut(at)?))) else {
            protocol.append_ack(message.conv, message.epoch, message.seq, out);
            return self.handle_stray(connection, reading);
        };
        let (at, place) = place;
        place.epoch = message.epoch;
        place.numbering.note(message.seq, &mut self.findings);
        let waited = std::mem::replace(&mut place.waits, true);
        let conversation = conversations.get_mut(place.conversation);
        let alone = conversation.is_some_and(|found| {
            found.epoch = message.epoch;
            found.streams == 1
        });
        if !waited {
            seat.unacknowledged.push(at);
            if self.gather_acks
                && seat.unacknowledged.len() == 1
                && let Some(waits) = self.ack_waits.get_mut(connection % ACK_PARTS)
            {
                waits.push(connection);
            }
        }
        if let Reading::Ours(stamp) = reading
            && let Some(stream) = self.streams.get_mut(stamp.stream as usize)
        {
            stream.check_number(stamp.serial, message.seq, alone, &mut self.findings);
        }
        self.handle_body(connection, read_ns, reading, message.from);
    }

    /// A body that the connection was not to get, of a message or signal.
    fn handle_stray(&mut self, connection: usize, reading: Reading) {
        match reading {
            Reading::Foreign => {}
            Reading::Ours(stamp) if self.sends(connection, stamp.stream) => self.tally.echoed += 1,
            Reading::Ours(_) | Reading::Corrupt => self.findings.leaked += 1,
        }
    }

    fn sends(&self, connection: usize, stream: u64) -> bool {
        self.streams.get(stream as usize).is_some_and(|stream| stream.connection == connection)
    }

    fn handle_body(&mut self, connection: usize, read_ns: u64, reading: Reading, from: &[u8]) {
        let Stamp { stream: number, serial, intended_ns } = match reading {
            Reading::Foreign => return,
            Reading::Corrupt => return self.findings.corrupt += 1,
            Reading::Ours(stamp) => stamp,
        };
        let Some(seat) = self.seats.get_mut(connection) else { return };
        let Some(hearing) = seat.hearing(number).and_then(|at| seat.hears.get_mut(at)) else {
            return self.handle_stray(connection, reading);
        };
        let index = hearing.stream;
        let Some(stream) = self.streams.get_mut(index) else { return };
        if from != stream.from.as_bytes() {
            return self.findings.corrupt += 1;
        }
        if !hearing.checker.note(serial, stream.sent, &mut self.findings) {
            return;
        }
        if seat.is_late {
            self.tally.late += 1;
            if seat.awaited > 0 {
                seat.awaited -= 1;
                if seat.awaited == 0 {
                    self.caught_up.push((connection, read_ns));
                }
            }
            return;
        }
        stream.delivered += 1;
        self.moved.push(index);
        if intended_ns < seat.back_ns {
            self.tally.late += 1;
            return;
        }
        self.tally.delivered += 1;
        if self.in_window(intended_ns) {
            self.to_delivery.saturating_record(read_ns.saturating_sub(intended_ns));
            self.intervals.note_delivery(intended_ns, read_ns.saturating_sub(intended_ns));
        }
    }

    /// The connection is to read a conversation by itself, from where it stands.
    fn handle_resync(&mut self, connection: usize, conv: &[u8], out: &mut Vec<u8>) {
        let is_late = self.seats.get(connection).is_some_and(|seat| seat.is_late);
        if is_late {
            self.shed.resyncs += 1;
        } else {
            self.findings.resyncs += 1;
        }
        self.append_sync(connection, conv, out);
    }

    fn append_sync(&self, connection: usize, conv: &[u8], out: &mut Vec<u8>) {
        let Some(seat) = self.seats.get(connection) else { return };
        let of = |place: &&super::seat::Place| {
            self.conversations.get(place.conversation).is_some_and(|found| found.id.as_bytes() == conv)
        };
        let after = seat.places.iter().find(of).map_or(0, |place| place.numbering.last());
        self.protocol.append_sync(conv, after, out);
    }

    /// Appends what waits to be acknowledged.
    pub(super) fn append_acks(&mut self, connection: usize, out: &mut Vec<u8>) {
        let Some(seat) = self.seats.get_mut(connection) else { return };
        for at in std::mem::take(&mut seat.unacknowledged) {
            let Some(place) = seat.places.get_mut(at) else { continue };
            place.waits = false;
            if let Some(conversation) = self.conversations.get(place.conversation) {
                self.protocol.append_ack(conversation.id.as_bytes(), place.epoch, place.numbering.last(), out);
            }
        }
    }

    /// A connection that is not there acknowledges nothing.
    pub(super) fn forget_acks(&mut self, connection: usize) {
        self.append_acks(connection, &mut Vec::new());
    }
}

impl Handler for Traffic {
    fn packet(&mut self, connection: usize, read_ns: u64, packet: &Packet<'_>, out: &mut Vec<u8>) {
        self.tally.packets += 1;
        match packet {
            Packet::Sent { id, seq } => self.handle_sent(connection, read_ns, *id, *seq),
            Packet::Error { id, code } => self.handle_refusal(connection, read_ns, *id, *code),
            Packet::Message(message) => self.handle_message(connection, read_ns, message, out),
            Packet::Signal { from, body } => {
                let reading = self.bodies.read(body, None);
                self.handle_body(connection, read_ns, reading, from);
            }
            Packet::Page { id, conv, more } => {
                // Not a push, and not the last.
                if *id != 0 && *more {
                    self.append_sync(connection, conv, out);
                }
            }
            Packet::Resync { conv } | Packet::Unrecovered { conv } => self.handle_resync(connection, conv, out),
            Packet::Connected => self.handle_connected(connection, read_ns),
            Packet::Done { .. } => self.handle_read(connection),
            Packet::Receipt => self.marks.receipts += 1,
            Packet::Typing => self.marks.typing += 1,
            Packet::Pong | Packet::Other => {}
        }
    }

    fn read_done(&mut self, connection: usize, out: &mut Vec<u8>) {
        if !self.gather_acks {
            self.append_acks(connection, out);
        }
    }

    fn glance(&self) -> Option<Glance<'_>> {
        Some(Glance {
            sent: self.tally.sent,
            delivered: self.tally.delivered + self.tally.late,
            under_way: self.streams.iter().map(Stream::inflight).sum(),
            is_clean: self.findings.is_clean(),
            window: if self.is_baseline { (u64::MAX, u64::MAX) } else { self.window },
            to_delivery: &self.to_delivery,
            to_sent: &self.to_sent,
            lag: &self.lag,
        })
    }

    fn closed(&mut self, connection: usize, reason: &str) {
        if self.seats.get(connection).is_some_and(|seat| seat.is_late) {
            self.shed.ended += 1;
            return;
        }
        self.findings.disconnected += 1;
        if self.findings.disconnected <= ENDS_SHOWN {
            eprintln!("ringway-load: connection {connection} ended: {reason}");
        }
    }
}
