//! Buffers that the kernel takes to receive into, and that are given back to it.
//!
//! Their memory is never freed: the kernel may write to it for as long as the process lives. Only as many are with the
//! kernel as were once needed at a time, so that what is received lies in memory that the processor still holds.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Entries of a page of the ring.
const PAGE_SLOTS: usize = 256;
/// Buffers that the kernel has from the beginning.
const FIRST_GIVEN: usize = 128;

/// One entry of the ring of buffers as the kernel lays it out; `tail` counts in the first alone.
///
/// ```text
/// +-----------+----------+----------+------------------+
/// | address   | length   | number   | tail, or nothing |
/// | 8 bytes   | 4        | 2        | 2                |
/// +-----------+----------+----------+------------------+
/// ```
#[repr(C)]
struct Slot {
    address: AtomicU64,
    length: AtomicU32,
    buffer: AtomicU16,
    tail: AtomicU16,
}

impl Slot {
    const fn empty() -> Self {
        Self {
            address: AtomicU64::new(0),
            length: AtomicU32::new(0),
            buffer: AtomicU16::new(0),
            tail: AtomicU16::new(0),
        }
    }
}

/// The kernel wants the ring at the start of a page.
#[repr(C, align(4096))]
struct Page([Slot; PAGE_SLOTS]);

/// See the module's head.
pub(crate) struct Buffers {
    pages: &'static [Page],
    /// The first byte of the first buffer.
    base: *mut u8,
    count: usize,
    buffer_bytes: usize,
    /// Buffers that the kernel was ever given.
    given: usize,
    tail: u16,
}

impl Buffers {
    /// `count` is a power of two, and at least [`PAGE_SLOTS`].
    pub(crate) fn new(count: u16, buffer_bytes: usize) -> Self {
        let count = usize::from(count).max(PAGE_SLOTS);
        let memory: &'static mut [u8] = Box::leak(vec![0; count * buffer_bytes].into_boxed_slice());
        let pages: Vec<Page> = (0..count / PAGE_SLOTS).map(|_| Page([const { Slot::empty() }; PAGE_SLOTS])).collect();
        let base = memory.as_mut_ptr();
        let mut buffers = Self { pages: pages.leak(), base, count, buffer_bytes, given: 0, tail: 0 };
        buffers.grow(FIRST_GIVEN);
        buffers
    }

    /// Where the kernel finds them.
    pub(crate) fn address(&self) -> u64 {
        self.pages.as_ptr() as u64
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u16 {
        self.count as u16
    }

    /// The kernel had none left: twice as many may be under way from now on.
    pub(crate) fn grow_twice(&mut self) {
        self.grow(self.given);
    }

    fn grow(&mut self, more: usize) {
        let upto = (self.given + more).min(self.count);
        (self.given..upto).for_each(|number| self.give(number as u16));
        self.given = upto;
    }

    /// A buffer may be received into, again.
    pub(crate) fn give(&mut self, number: u16) {
        let at = usize::from(self.tail) % self.count;
        if let Some(slot) = self.slot(at) {
            let address = self.base.wrapping_add(usize::from(number) * self.buffer_bytes);
            slot.address.store(address as u64, Ordering::Relaxed);
            slot.length.store(self.buffer_bytes as u32, Ordering::Relaxed);
            slot.buffer.store(number, Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        if let Some(first) = self.slot(0) {
            first.tail.store(self.tail, Ordering::Release);
        }
    }

    fn slot(&self, at: usize) -> Option<&'static Slot> {
        self.pages.get(at / PAGE_SLOTS)?.0.get(at % PAGE_SLOTS)
    }

    /// What was received into a buffer that the kernel named and that is not given back yet.
    pub(crate) fn bytes(&mut self, number: u16, length: usize) -> &mut [u8] {
        let (number, length) = (usize::from(number) % self.count, length.min(self.buffer_bytes));
        let first = self.base.wrapping_add(number * self.buffer_bytes);
        // SAFETY: the range lies in the leaked allocation of `count * buffer_bytes` initialised bytes. The kernel
        // writes to no buffer between its completion and `give`, and `&mut self` keeps both from happening meanwhile.
        unsafe { std::slice::from_raw_parts_mut(first, length) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_given_back_is_the_next_but_those_that_wait() {
        let mut buffers = Buffers::new(512, 64);
        assert_eq!((buffers.given, buffers.address() % 4_096), (FIRST_GIVEN, 0));
        for _ in 0..3 {
            buffers.grow_twice();
        }
        assert_eq!((buffers.given, buffers.tail), (512, 512));
        buffers.bytes(7, 3).copy_from_slice(b"abc");
        assert_eq!(buffers.bytes(7, 1_000), [&b"abc"[..], &[0; 61]].concat());
        buffers.give(7);
        // The ring is as long as there are buffers, and begins again.
        let first = buffers.slot(0).unwrap();
        assert_eq!((first.buffer.load(Ordering::Relaxed), first.tail.load(Ordering::Relaxed)), (7, 513));
        assert_eq!(first.address.load(Ordering::Relaxed), buffers.base as u64 + 7 * 64);
    }
}
