//! Memory that the kernel receives into: a ring of provided buffers, shared by all connections of a shard.
//!
//! Belongs to the shard's ring. A buffer is either the kernel's (given) or leased to whoever handles what came in;
//! an idle connection holds none. When all are leased the kernel says `ENOBUFS`, and whoever was to receive is asked
//! again after they are given back.
//!
//! ```text
//!  given ──kernel receives, names it in a completion──► leased ──give──► given
//! ```

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

/// Buffers of a shard; a power of two, as the kernel wants it. It fills them in turn, so all of them are touched.
const BUFFERS: usize = 512;
/// Bytes of each: most reads of a chat are one frame, and a large one comes in several.
const BUFFER_BYTES: usize = 2_048;

/// One entry of the ring of buffers as the kernel lays it out (`struct io_uring_buf`): atomics, since the kernel reads
/// them while we write. The tail of the whole lies in the last field of the first.
#[repr(C)]
struct Entry {
    address: AtomicU64,
    length: AtomicU32,
    number: AtomicU16,
    tail: AtomicU16,
}

impl Entry {
    const fn empty() -> Self {
        Self {
            address: AtomicU64::new(0),
            length: AtomicU32::new(0),
            number: AtomicU16::new(0),
            tail: AtomicU16::new(0),
        }
    }
}

/// The kernel wants it at the start of a page.
#[repr(C, align(4096))]
struct Entries([Entry; BUFFERS]);

/// The buffers of one ring.
pub(crate) struct Buffers {
    entries: Box<Entries>,
    /// Owned; touched through `base` alone.
    memory: *mut [u8],
    tail: u16,
}

/// A buffer with what was received; the kernel does not touch it until it is given back.
pub(crate) struct Lease {
    first: *mut u8,
    length: usize,
    number: u16,
}

impl Lease {
    /// What came in.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the range lies in the initialised memory of its `Buffers`, which outlives every lease since the loop
        // gives each back before it goes on; the kernel writes to a buffer only while it is given, and a number that
        // the kernel named is in one lease alone.
        unsafe { std::slice::from_raw_parts_mut(self.first, self.length) }
    }
}

impl Buffers {
    /// Buffers that wait to be registered as group 0.
    pub(crate) fn new() -> Self {
        // On the heap from the start: the array is too large for a stack.
        let mut entries: Box<std::mem::MaybeUninit<Entries>> = Box::new_uninit();
        let first: *mut Entry = entries.as_mut_ptr().cast();
        for at in 0..BUFFERS {
            // SAFETY: `Entries` is `BUFFERS` entries and nothing else; the place is ours and not initialised yet.
            unsafe { first.add(at).write(Entry::empty()) };
        }
        // SAFETY: every entry was written.
        let entries = unsafe { entries.assume_init() };
        let memory = Box::into_raw(vec![0; BUFFERS * BUFFER_BYTES].into_boxed_slice());
        let mut buffers = Self { entries, memory, tail: 0 };
        for number in 0..BUFFERS {
            buffers.provide(u16::try_from(number).unwrap_or(0));
        }
        buffers
    }

    /// Registers them with a ring.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn register(&self, uring: &io_uring::IoUring) -> std::io::Result<()> {
        let address = std::ptr::from_ref::<Entries>(&self.entries) as u64;
        let count = u16::try_from(BUFFERS).unwrap_or(u16::MAX);
        // SAFETY: as many entries as is said lie at the start of a page, and stay there until the ring is gone: the
        // ring's owner drops it first, or leaks both.
        unsafe { uring.submitter().register_buf_ring(address, count, 0) }
    }

    /// The buffer that a completion named, with so many bytes received.
    pub(crate) fn lease(&self, number: u16, received: usize) -> Lease {
        let at = usize::from(number) % BUFFERS;
        let first = self.memory.cast::<u8>().wrapping_add(at * BUFFER_BYTES);
        Lease { first, length: received.min(BUFFER_BYTES), number }
    }

    /// Gives a buffer back to the kernel.
    pub(crate) fn give(&mut self, lease: Lease) {
        self.provide(lease.number);
    }

    fn provide(&mut self, number: u16) {
        let at = usize::from(number) % BUFFERS;
        if let Some(entry) = self.entries.0.get(usize::from(self.tail) % BUFFERS) {
            let first = self.memory.cast::<u8>().wrapping_add(at * BUFFER_BYTES);
            entry.address.store(first as u64, Ordering::Relaxed);
            entry.length.store(BUFFER_BYTES as u32, Ordering::Relaxed);
            entry.number.store(number, Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        if let Some(first) = self.entries.0.first() {
            // Release: who sees the tail sees the entry.
            first.tail.store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: it came out of a box, and nobody has a lease: see there.
        drop(unsafe { Box::from_raw(self.memory) });
    }
}
