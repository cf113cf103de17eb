//! The sending end of a mailbox ring, with room to wait when the ring is full.
//!
//! Order is kept: while anything waits, later messages wait behind it. One wake a batch: `flush`
//! moves what waits into the ring and wakes the receiver once.

use std::collections::VecDeque;

use ringway_engine::limits::MAILBOX_MAX;
use ringway_ring::mailbox::Sender;

/// A sender that never loses a message.
pub(crate) struct Outbox<T> {
    sender: Sender<T>,
    waiting: VecDeque<T>,
    unflushed: bool,
}

impl<T> Outbox<T> {
    pub(crate) fn new(sender: Sender<T>) -> Self {
        Self { sender, waiting: VecDeque::new(), unflushed: false }
    }

    /// Hands a message over, now or when there is room.
    pub(crate) fn push(&mut self, message: T) {
        self.unflushed = true;
        if !self.waiting.is_empty() {
            self.waiting.push_back(message);
        } else if let Err(message) = self.sender.push(message) {
            self.waiting.push_back(message);
        }
    }

    /// Whether so much waits that what may be dropped should be.
    pub(crate) fn is_congested(&self) -> bool {
        self.waiting.len() >= MAILBOX_MAX
    }

    /// Whether `flush` has something to do.
    pub(crate) fn has_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Moves what waits and wakes the receiver; false when something still waits.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(message) = self.sender.push(message) {
                self.waiting.push_front(message);
                break;
            }
        }
        if self.unflushed {
            self.sender.flush();
            self.unflushed = !self.waiting.is_empty();
        }
        self.waiting.is_empty()
    }
}
