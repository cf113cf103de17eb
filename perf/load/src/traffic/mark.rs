//! What goes over connections besides messages: read marks and typing, and people who leave and come back.

use super::Traffic;
use crate::network::Network;

/// Ids of read marks begin here, above those of other commands that are no sends.
pub(super) const FIRST_READ_ID: u64 = 16;

/// What was counted of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Marks {
    /// Read marks sent.
    pub(crate) reads: u64,
    /// Receipts that came, of reading and of delivery.
    pub(crate) receipts: u64,
    /// Typing that came.
    pub(crate) typing: u64,
}

impl Traffic {
    /// A person has read one of the conversations up to what was seen there, unless that was said already.
    pub(crate) fn mark_read(&mut self, network: &mut Network, connection: usize, any: usize) {
        let Some(seat) = self.seats.get_mut(connection) else { return };
        let at = any % seat.places.len().max(1);
        let Some(place) = seat.places.get_mut(at).filter(|place| place.numbering.last() > place.read) else { return };
        let Some(conversation) = self.conversations.get(place.conversation) else { return };
        let Some(out) = network.out(connection) else { return };
        place.read = place.numbering.last();
        self.protocol.append_read(FIRST_READ_ID + self.marks.reads, &conversation.id, place.read, out);
        self.marks.reads += 1;
        seat.unread += 1;
    }

    /// A read mark is done, or refused.
    pub(super) fn handle_read(&mut self, connection: usize) {
        if let Some(seat) = self.seats.get_mut(connection) {
            match seat.unread.checked_sub(1) {
                Some(unread) => seat.unread = unread,
                None => self.findings.invented += 1,
            }
        }
    }

    /// The sender of a stream is typing there; false if nobody is there to type.
    pub(crate) fn type_in(&mut self, network: &mut Network, stream: usize) -> bool {
        let Some(stream) = self.streams.get(stream) else { return false };
        let conversation = stream.conversation.and_then(|conversation| self.conversations.get(conversation));
        let Some((conversation, out)) = conversation.zip(network.out(stream.connection)) else { return false };
        self.protocol.append_typing(&conversation.id, out);
        true
    }

    /// Whether a connection waits for no answer.
    pub(crate) fn is_idle(&self, connection: usize) -> bool {
        self.seats.get(connection).is_some_and(|seat| seat.pending.is_empty() && seat.unread == 0)
    }

    /// A person leaves; what is sent from now until the return comes late, and is counted so.
    pub(crate) fn leave(&mut self, connection: usize) {
        if let Some(seat) = self.seats.get_mut(connection) {
            seat.back_ns = u64::MAX;
        }
    }

    /// A person is signed in.
    pub(super) fn handle_connected(&mut self, connection: usize, read_ns: u64) {
        if let Some(seat) = self.seats.get_mut(connection) {
            seat.back_ns = seat.back_ns.min(read_ns);
        }
        self.signed_in.push((connection, read_ns));
    }
}
