//! The io_uring floor: multishot accept and receive, provided buffers, direct descriptors, one send a connection and
//! turn, one system call a turn.
//!
//! Owns the ring and all memory that the kernel reads or writes while an operation is under way; none of it is ever
//! given back, since the process ends with the relay. All of this crate's unsafe code is here: three blocks.
//!
//! A send is tried without waiting, and says nothing when it succeeds: what the submission leaves no word about has
//! gone out. Only what the socket had no room for is sent once more, by an operation that waits.
//!
//! ```text
//!  Idle --send--> Trying --no word--> Idle
//!                    \---no room, in part--> Waiting --all gone--> Idle
//! ```

#![allow(unsafe_code, reason = "io_uring cannot be had without; what the kernel holds is owned here")]

use std::io::{Error, Result};
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, Fixed};
use io_uring::{IoUring, cqueue, opcode};
use rustix::process::{Resource, getrlimit};

use crate::relay::Relay;

/// Entries of the submission queue; a fuller turn submits more than once.
const SUBMISSIONS: u32 = 4_096;
/// Entries of the completion queue.
const COMPLETIONS: u32 = 16_384;
/// Buffers for what comes in; a power of two.
const BUFFERS: usize = 2_048;
const BUFFER_BYTES: usize = 2_048;
/// Direct descriptors at most.
const CONNECTIONS_MAX: u64 = 65_536;
/// The one group of buffers.
const GROUP: u16 = 0;

/// What an operation is, in the lowest bits of its user data; the rest is the connection.
const OP_BITS: u32 = 3;
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const TRY: u64 = 2;
const WAIT: u64 = 3;
const SHUTDOWN: u64 = 4;
const CLOSE: u64 = 5;

/// One entry of the ring of buffers as the kernel lays it out; `tail` counts in the first alone.
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

/// The kernel wants it at the start of a page.
#[repr(C, align(4096))]
struct Slots([Slot; BUFFERS]);

/// Buffers that the kernel takes to receive into.
struct Buffers {
    slots: &'static Slots,
    /// The first byte of the first buffer.
    base: *mut u8,
    tail: u16,
}

impl Buffers {
    fn new() -> Self {
        let memory: &'static mut [u8] = Box::leak(vec![0; BUFFERS * BUFFER_BYTES].into_boxed_slice());
        let slots = Slots([const { Slot::empty() }; BUFFERS]);
        let mut buffers = Self { slots: Box::leak(Box::new(slots)), base: memory.as_mut_ptr(), tail: 0 };
        (0..BUFFERS as u16).for_each(|number| buffers.give(number));
        buffers
    }

    /// A buffer may be received into, again.
    fn give(&mut self, number: u16) {
        let Slots(slots) = self.slots;
        if let Some(slot) = slots.get(usize::from(self.tail) % BUFFERS) {
            let address = self.base.wrapping_add(usize::from(number) * BUFFER_BYTES);
            slot.address.store(address as u64, Ordering::Relaxed);
            slot.length.store(BUFFER_BYTES as u32, Ordering::Relaxed);
            slot.buffer.store(number, Ordering::Relaxed);
        }
        self.tail = self.tail.wrapping_add(1);
        if let Some(first) = slots.first() {
            first.tail.store(self.tail, Ordering::Release);
        }
    }

    /// What was received into a buffer that the kernel named and that is not given back yet.
    fn bytes(&mut self, number: u16, length: usize) -> &mut [u8] {
        let (number, length) = (usize::from(number) % BUFFERS, length.min(BUFFER_BYTES));
        let first = self.base.wrapping_add(number * BUFFER_BYTES);
        // SAFETY: the range lies in the leaked allocation of `BUFFERS * BUFFER_BYTES` initialised bytes. The kernel
        // writes to no buffer between its completion and `give`, and `&mut self` keeps both from happening meanwhile.
        unsafe { std::slice::from_raw_parts_mut(first, length) }
    }
}

/// What a connection has on its way out.
#[derive(Default)]
struct Sending {
    bytes: Vec<u8>,
    /// Bytes of it that are gone.
    gone: usize,
    /// A try was handed over in this turn.
    trying: bool,
    /// An operation waits for room.
    waiting: bool,
    /// To be closed once nothing is under way.
    ending: bool,
}

struct Ring {
    uring: IoUring,
    buffers: Buffers,
    sendings: Vec<Sending>,
    /// Connections whose send was tried in this turn.
    tried: Vec<usize>,
    /// Connections that had to wait and may send again.
    again: Vec<usize>,
    /// Operations to be handed over.
    queue: Vec<Entry>,
    listener: Fd,
}

/// Relays until the kernel refuses.
///
/// # Errors
/// The kernel refuses.
pub fn run(listener: &TcpListener) -> Result<()> {
    let mut ring = Ring::new(listener)?;
    let mut relay = Relay::default();
    let mut completions = Vec::with_capacity(COMPLETIONS as usize);
    let mut dirty = Vec::new();
    loop {
        completions.clear();
        ring.submit(&mut completions)?;
        // Failed tries first: those of whom there is no word are done, and their bytes may go.
        completions.iter().for_each(|completion| ring.sent(completion));
        ring.settle();
        for completion in &completions {
            ring.complete(completion, &mut relay)?;
        }
        relay.take_dirty(&mut dirty);
        dirty.append(&mut ring.again);
        for at in &dirty {
            ring.send(*at, &mut relay);
        }
    }
}

impl Ring {
    fn new(listener: &TcpListener) -> Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(CONNECTIONS_MAX).min(CONNECTIONS_MAX);
        uring.submitter().register_files_sparse(limit as u32)?;
        let buffers = Buffers::new();
        let slots = std::ptr::from_ref(buffers.slots) as u64;
        // SAFETY: the slots are leaked, at the start of a page, and as many as is said here.
        unsafe { uring.submitter().register_buf_ring(slots, BUFFERS as u16, GROUP)? };
        let listener = Fd(listener.as_raw_fd());
        let mut ring = Self {
            uring,
            buffers,
            sendings: Vec::new(),
            tried: Vec::new(),
            again: Vec::new(),
            queue: Vec::new(),
            listener,
        };
        ring.accept();
        Ok(ring)
    }

    fn accept(&mut self) {
        self.push(ACCEPT, 0, opcode::AcceptMulti::new(self.listener).allocate_file_index(true).build());
    }

    fn receive(&mut self, at: usize) {
        self.push(RECEIVE, at, opcode::RecvMulti::new(Fixed(at as u32), GROUP).build());
    }

    fn push(&mut self, operation: u64, at: usize, entry: Entry) {
        self.queue.push(entry.user_data((at as u64) << OP_BITS | operation));
    }

    /// Hands everything over, waits for a completion and gathers all there are. The kernel has then taken every
    /// operation, so that those which must not wait have ended.
    fn submit(&mut self, completions: &mut Vec<cqueue::Entry>) -> Result<()> {
        let mut left = self.queue.as_slice();
        loop {
            let mut submission = self.uring.submission();
            while let Some((entry, rest)) = left.split_first() {
                // SAFETY: an operation's memory is that of `Sending::bytes`, which is neither changed nor moved while
                // the operation is under way, and never freed; all other operations carry no pointers.
                if unsafe { submission.push(entry) }.is_err() {
                    break;
                }
                left = rest;
            }
            drop(submission);
            let wait = usize::from(left.is_empty() && completions.is_empty());
            match self.uring.submit_and_wait(wait) {
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {
                    return Err(error);
                }
                _ => completions.extend(self.uring.completion()),
            }
            if left.is_empty() && self.uring.submission().is_empty() {
                break;
            }
        }
        self.queue.clear();
        Ok(())
    }

    /// Takes note of a send that did not go out at once.
    fn sent(&mut self, completion: &cqueue::Entry) {
        let (operation, at) = parts(completion);
        if operation != TRY {
            return;
        }
        let Some(sending) = self.sendings.get_mut(at) else { return };
        match completion.result() {
            count @ 0.. => sending.gone += count as usize,
            result if result == -libc::EAGAIN => {}
            // The connection is broken; the receive tells.
            _ => return,
        }
        sending.waiting = true;
        self.send_rest(at);
    }

    fn send_rest(&mut self, at: usize) {
        let Some(rest) = self.sendings.get(at).and_then(|sending| sending.bytes.get(sending.gone..)) else { return };
        let send = opcode::Send::new(Fixed(at as u32), rest.as_ptr(), rest.len() as u32);
        let entry = send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build();
        self.push(WAIT, at, entry);
    }

    /// What was tried and does not wait is gone.
    fn settle(&mut self) {
        for at in self.tried.drain(..) {
            if let Some(sending) = self.sendings.get_mut(at) {
                sending.trying = false;
                if !sending.waiting {
                    sending.bytes.clear();
                }
            }
        }
    }

    fn complete(&mut self, completion: &cqueue::Entry, relay: &mut Relay) -> Result<()> {
        let (operation, at) = parts(completion);
        let more = cqueue::more(completion.flags());
        match operation {
            ACCEPT => {
                if completion.result() < 0 {
                    return Err(Error::from_raw_os_error(-completion.result()));
                }
                self.enter(completion.result() as usize, relay);
                if !more {
                    self.accept();
                }
            }
            RECEIVE => {
                let goes_on = self.received(at, completion, relay);
                match (more, completion.result()) {
                    (true, _) if !goes_on => {
                        self.push(SHUTDOWN, at, opcode::Shutdown::new(Fixed(at as u32), libc::SHUT_RDWR).build());
                    }
                    (true, _) => {}
                    (false, result) if goes_on && (result > 0 || result == -libc::ENOBUFS) => self.receive(at),
                    (false, _) => self.end(at, relay),
                }
            }
            WAIT => {
                let Some(sending) = self.sendings.get_mut(at) else { return Ok(()) };
                sending.gone += completion.result().max(0) as usize;
                if completion.result() > 0 && sending.gone < sending.bytes.len() {
                    self.send_rest(at);
                    return Ok(());
                }
                sending.waiting = false;
                sending.bytes.clear();
                if sending.ending {
                    self.close(at);
                } else {
                    self.again.push(at);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn enter(&mut self, at: usize, relay: &mut Relay) {
        if self.sendings.len() <= at {
            self.sendings.resize_with(at + 1, Sending::default);
        }
        if let Some(sending) = self.sendings.get_mut(at) {
            *sending = Sending::default();
        }
        relay.enter(at);
        self.receive(at);
    }

    fn received(&mut self, at: usize, completion: &cqueue::Entry, relay: &mut Relay) -> bool {
        let Some(buffer) = cqueue::buffer_select(completion.flags()) else { return true };
        let goes_on = relay.input(at, self.buffers.bytes(buffer, completion.result().max(0) as usize));
        self.buffers.give(buffer);
        goes_on
    }

    /// The connection receives nothing more.
    fn end(&mut self, at: usize, relay: &mut Relay) {
        relay.leave(at);
        match self.sendings.get_mut(at) {
            Some(sending) if sending.waiting => {
                sending.ending = true;
                self.push(SHUTDOWN, at, opcode::Shutdown::new(Fixed(at as u32), libc::SHUT_RDWR).build());
            }
            _ => self.close(at),
        }
    }

    fn close(&mut self, at: usize) {
        self.push(CLOSE, at, opcode::Close::new(Fixed(at as u32)).build());
    }

    /// Tries to send what a connection has to write, unless the last of it is still under way: then its bytes must stay
    /// as they are.
    fn send(&mut self, at: usize, relay: &mut Relay) {
        let Some(sending) = self.sendings.get_mut(at) else { return };
        if sending.trying || sending.waiting {
            return;
        }
        match relay.output(at) {
            Ok(None) => {}
            Ok(Some(out)) => {
                std::mem::swap(&mut sending.bytes, out);
                sending.gone = 0;
                sending.trying = true;
                let send = opcode::Send::new(Fixed(at as u32), sending.bytes.as_ptr(), sending.bytes.len() as u32);
                let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
                let entry = send.flags(flags).build().flags(Flags::SKIP_SUCCESS);
                self.tried.push(at);
                self.push(TRY, at, entry);
            }
            Err(_) => self.push(SHUTDOWN, at, opcode::Shutdown::new(Fixed(at as u32), libc::SHUT_RDWR).build()),
        }
    }
}

impl Drop for Ring {
    /// The kernel may still read what is under way.
    fn drop(&mut self) {
        std::mem::forget(std::mem::take(&mut self.sendings));
    }
}

fn parts(completion: &cqueue::Entry) -> (u64, usize) {
    let data = completion.user_data();
    (data & ((1 << OP_BITS) - 1), (data >> OP_BITS) as usize)
}
