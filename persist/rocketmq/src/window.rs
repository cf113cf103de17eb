//! What waits for one queue, and the one batch that is on its way. Pure: a task outside does the sending.
//!
//! ```text
//!   offer ──▶ waiting ──next_batch──▶ in flight ──acknowledged──▶ tickets of parts that are complete
//!                │                        │
//!                └───────── failed ◀──────┘   all tickets of both: what comes later must not overtake it
//! ```
//!
//! Invariants: records leave in the order of the offers; one batch is in flight at most; every ticket that was taken
//! is given back exactly once; what waits is bounded in bytes.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits::FRAME_BYTES;

/// Bounds of a window.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) batch_records_max: usize,
    pub(crate) batch_bytes_max: usize,
    pub(crate) waiting_bytes_max: usize,
}

/// One queue's window. Call [`Window::has_room`] before [`Window::offer`], and after each [`Window::next_batch`] that
/// gave one, [`Window::acknowledged`] or [`Window::failed`].
#[derive(Debug)]
pub(crate) struct Window<T> {
    bounds: Bounds,
    waiting: VecDeque<Part<T>>,
    waiting_bytes: usize,
    /// Tickets of the parts that end within the batch in flight.
    flying: Option<Vec<T>>,
}

/// One call's records for this queue, as far as they are not sent yet.
#[derive(Debug)]
struct Part<T> {
    ticket: T,
    records: VecDeque<Bytes>,
}

/// What a record takes in a batch, and of the bound on what waits.
pub(crate) fn size(record: &Bytes) -> usize {
    record.len() + FRAME_BYTES
}

impl<T> Window<T> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: VecDeque::new(), waiting_bytes: 0, flying: None }
    }

    /// Whether records of so many bytes, as [`size`] counts, may wait.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.waiting_bytes.saturating_add(bytes) <= self.bounds.waiting_bytes_max
    }

    /// Takes records behind all that wait. The ticket comes back when the last of them is acknowledged, or when one
    /// failed.
    pub(crate) fn offer(&mut self, ticket: T, records: VecDeque<Bytes>) {
        self.waiting_bytes += records.iter().map(size).sum::<usize>();
        self.waiting.push_back(Part { ticket, records });
    }

    /// The next batch; none while one is in flight or when nothing waits.
    pub(crate) fn next_batch(&mut self) -> Option<Vec<Bytes>> {
        if self.flying.is_some() || self.waiting.is_empty() {
            return None;
        }
        let (mut batch, mut bytes, mut complete) = (Vec::new(), 0, Vec::new());
        while let Some(part) = self.waiting.front_mut() {
            while let Some(record) = part.records.front() {
                let larger = bytes + size(record);
                let full = batch.len() >= self.bounds.batch_records_max || larger > self.bounds.batch_bytes_max;
                if full && !batch.is_empty() {
                    break;
                }
                bytes = larger;
                batch.extend(part.records.pop_front());
            }
            if !part.records.is_empty() {
                break;
            }
            complete.extend(self.waiting.pop_front().map(|part| part.ticket));
        }
        self.waiting_bytes -= bytes;
        self.flying = Some(complete);
        Some(batch)
    }

    /// The batch in flight is durable: the tickets that are complete with it.
    pub(crate) fn acknowledged(&mut self) -> Vec<T> {
        self.flying.take().unwrap_or_default()
    }

    /// The batch in flight failed, or there can be none: the tickets of all that is in flight or waits.
    pub(crate) fn failed(&mut self) -> Vec<T> {
        let mut tickets = self.flying.take().unwrap_or_default();
        tickets.extend(self.waiting.drain(..).map(|part| part.ticket));
        self.waiting_bytes = 0;
        tickets
    }
}

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;
