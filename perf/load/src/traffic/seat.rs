//! One connection of a run: what it has sent and waits for, what it hears, where it stands in each conversation.

use std::collections::VecDeque;

use crate::check::{Checker, Numbering};

/// A send without an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    /// Of the command.
    pub(super) id: u64,
    pub(super) stream: usize,
    pub(super) serial: u64,
    pub(super) intended_ns: u64,
}

/// A stream that a connection is to receive.
#[derive(Debug)]
pub(super) struct Hearing {
    pub(super) stream: usize,
    /// Where its conversation is noted; none for what belongs to no conversation.
    pub(super) place: Option<usize>,
    pub(super) checker: Checker,
}

/// A conversation as one connection sees it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) conversation: usize,
    pub(super) numbering: Numbering,
    pub(super) epoch: u64,
    /// Said to be read up to here.
    pub(super) read: u64,
    /// It is in the seat's list of those to be acknowledged.
    pub(super) waits: bool,
}

/// A connection; see the module's head.
#[derive(Debug, Default)]
pub(crate) struct Seat {
    pub(super) pending: VecDeque<Pending>,
    /// Sends so far.
    pub(super) commands: u64,
    /// The streams it sends.
    pub(super) sends: Vec<usize>,
    /// By rising stream.
    pub(super) hears: Vec<Hearing>,
    pub(super) places: Vec<Place>,
    /// Places to be acknowledged.
    pub(super) unacknowledged: Vec<usize>,
    /// Read marks without an answer.
    pub(super) unread: u64,
    /// When its person came back: what was to be sent before is late.
    pub(super) back_ns: u64,
    /// Away, or it does not read: it may be dropped and told to read anew, and what it hears comes late.
    pub(crate) is_late: bool,
    /// Deliveries that it still waits for; counted down while it is late.
    pub(super) awaited: u64,
}

impl Seat {
    /// It hears a stream from now on.
    pub(super) fn hear(&mut self, stream: usize, conversation: Option<usize>) {
        let place = conversation.map(|conversation| self.enter(conversation));
        let at = self.hears.partition_point(|hearing| hearing.stream < stream);
        self.hears.insert(at, Hearing { stream, place, checker: Checker::default() });
    }

    /// Its place in a conversation, a new one where there is none.
    fn enter(&mut self, conversation: usize) -> usize {
        self.place_in(conversation).unwrap_or_else(|| {
            self.places.push(Place { conversation, numbering: Numbering::default(), epoch: 1, read: 0, waits: false });
            self.places.len() - 1
        })
    }

    /// Its place in a conversation.
    pub(super) fn place_in(&self, conversation: usize) -> Option<usize> {
        self.places.iter().position(|place| place.conversation == conversation)
    }

    /// Where it keeps what it hears of a stream.
    pub(super) fn hearing(&self, stream: u64) -> Option<usize> {
        match self.hears.as_slice() {
            [only] => (only.stream as u64 == stream).then_some(0),
            several => several.binary_search_by_key(&stream, |hearing| hearing.stream as u64).ok(),
        }
    }
}
