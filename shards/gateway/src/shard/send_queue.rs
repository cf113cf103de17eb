//! What waits to be sent to one connection.
//!
//! Most connections never have more than one buffer waiting, and that one is shared with others; so a queue of one
//! costs nothing beyond the buffer. Small buffers that follow each other are copied together, which saves a send
//! each; large ones go out as they are, or a shard with a thousand devices of one group would hold a copy for each.

use std::collections::VecDeque;

use bytes::Bytes;
use ringway_ring::socket::Chunk;

/// Most bytes of one send; what is queued beyond goes into the next.
pub(super) const SEND_BYTES_MAX: usize = 64 * 1024;
/// Most bytes that are copied together for one send: enough that its share of a send's cost is small.
const GATHERED_BYTES_MAX: usize = 16 * 1024;

/// Buffers in the order in which they go out.
#[derive(Default)]
pub(super) struct SendQueue {
    /// What is sent next; empty when nothing waits.
    next: Bytes,
    /// What comes after it.
    rest: Option<Box<Rest>>,
}

/// Buffers that wait behind the next one, never empty.
#[derive(Default)]
struct Rest {
    buffers: VecDeque<Bytes>,
    /// Of all of them.
    bytes: usize,
}

impl SendQueue {
    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.next.len() + self.rest.as_ref().map_or(0, |rest| rest.bytes)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Bytes of the buffer that goes out next.
    pub(super) fn next_bytes(&self) -> usize {
        self.next.len()
    }

    /// Queues bytes, in order.
    pub(super) fn push(&mut self, bytes: Bytes) {
        if self.next.is_empty() {
            self.next = bytes;
        } else if !bytes.is_empty() {
            let rest = self.rest.get_or_insert_default();
            rest.bytes += bytes.len();
            rest.buffers.push_back(bytes);
        }
    }

    /// Takes the next buffer. An idle connection keeps no memory of its bursts.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let after = self.rest.as_mut().and_then(|rest| {
            let after = rest.buffers.pop_front()?;
            rest.bytes -= after.len();
            Some(after)
        });
        self.rest.take_if(|rest| rest.buffers.is_empty());
        let next = std::mem::replace(&mut self.next, after.unwrap_or_default());
        (!next.is_empty()).then_some(next)
    }

    /// Takes the next send: one buffer as it is, or small ones gathered in one that `spare` gives.
    pub(super) fn take(&mut self, spare: impl FnOnce() -> Vec<u8>) -> Option<Chunk> {
        if self.next.len() > SEND_BYTES_MAX {
            // In pieces, so that a slow but reading peer shows progress.
            return Some(Chunk::Shared(self.next.split_to(SEND_BYTES_MAX)));
        }
        let first = self.pop()?;
        if self.next.is_empty() || first.len() + self.next.len() > GATHERED_BYTES_MAX {
            return Some(Chunk::Shared(first));
        }
        let mut gathered = spare();
        gathered.extend_from_slice(&first);
        while gathered.len() + self.next.len() <= GATHERED_BYTES_MAX
            && let Some(bytes) = self.pop()
        {
            gathered.extend_from_slice(&bytes);
        }
        Some(Chunk::Owned(gathered))
    }

    /// Drops all that waits.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_of(sizes: &[usize]) -> SendQueue {
        let mut queue = SendQueue::default();
        for (n, size) in sizes.iter().enumerate() {
            queue.push(vec![n as u8; *size].into());
        }
        queue
    }

    /// What each send holds: its bytes, and whether they were copied.
    fn sends_of(mut queue: SendQueue) -> Vec<(usize, bool)> {
        let waiting = queue.bytes();
        let sends: Vec<_> = std::iter::from_fn(|| queue.take(Vec::new)).collect();
        assert!(queue.is_empty() && queue.bytes() == 0 && queue.rest.is_none());
        let sent: Vec<u8> = sends.iter().flat_map(Chunk::bytes).copied().collect();
        assert_eq!(sent.len(), waiting);
        assert!(sent.is_sorted(), "out of order");
        sends.iter().map(|send| (send.bytes().len(), matches!(send, Chunk::Owned(_)))).collect()
    }

    #[test]
    fn small_buffers_go_out_together() {
        assert_eq!(sends_of(queue_of(&[100])), [(100, false)]);
        assert_eq!(sends_of(queue_of(&[100, 200, 300])), [(600, true)]);
    }

    /// Beside a thousand devices that wait for the same one, a copy for each would be what fills the memory.
    #[test]
    fn a_large_buffer_is_never_copied() {
        assert_eq!(sends_of(queue_of(&[100, 48 * 1024])), [(100, false), (48 * 1024, false)]);
        assert_eq!(
            sends_of(queue_of(&[100, 100, 48 * 1024, 100, 100])),
            [(200, true), (48 * 1024, false), (200, true)],
        );
    }

    #[test]
    fn no_send_copies_or_holds_more_than_its_most() {
        let sends = sends_of(queue_of(&[1_000; 100]));
        assert!(sends.iter().all(|(bytes, copied)| *copied && *bytes <= GATHERED_BYTES_MAX), "{sends:?}");
        assert_eq!(sends_of(queue_of(&[150_000])), [(65_536, false), (65_536, false), (18_928, false)]);
    }

    #[test]
    fn what_is_cleared_is_never_sent() {
        let mut queue = queue_of(&[1, 2, 3]);
        queue.clear();
        assert!(queue.is_empty() && queue.bytes() == 0 && queue.take(Vec::new).is_none());
    }
}
