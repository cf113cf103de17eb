//! The connections of a shard: a slot each, in the ring's table of direct descriptors.
//!
//! ```text
//!  free ──attach──► receiving ◄──pause, resume──► paused
//!                       └── the socket is dropped ──► closing (shut down; receive and send end) ──► closed ──► free
//! ```
//!
//! Belongs to the shard's thread, and to no task: the shard's loop calls the [`Handler`] that a socket was attached
//! to. A slot is reused only after every operation on it has ended, so a late completion never meets a stranger.
//!
//! A send is first tried without waiting, and the kernel says nothing when it succeeds: what the hand-over leaves no
//! word about has gone out. Only what the socket had no room for is sent by an operation that waits. So a connection
//! whose peer reads costs no completion a send, and no memory between them.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use io_uring::opcode;
use io_uring::squeue::Flags;
use io_uring::types::Fixed;
use slab::Slab;

use crate::buffers::{Buffers, Lease};
use crate::driver::{Completion, Driver, Operation};
use crate::socket::Chunk;

/// Buffers kept for later sends.
const SPARES_MAX: usize = 256;
/// Largest buffer that is kept.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// What happens to the sockets of one owner. Called by the shard's loop, with nothing of the ring borrowed; sockets
/// may be used and dropped in it.
pub trait Handler {
    /// Bytes came in on the socket of this token.
    fn handle_received(&self, token: u64, bytes: &mut [u8]);
    /// Nothing more comes in: the peer has ended, or the connection is broken. Told once.
    fn handle_end(&self, token: u64);
    /// A send that had to wait for room is done; the next may go. Not told of one that went out at once.
    fn handle_sent(&self, token: u64);
}

/// Which handler a socket belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlerId(pub(crate) u8);

/// What a socket must be told after a completion.
pub(crate) enum Told {
    Received(HandlerId, u64, Lease),
    End(HandlerId, u64),
    Sent(HandlerId, u64),
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    token: u64,
    handler: u8,
    /// A receive is in the kernel.
    receiving: bool,
    paused: bool,
    /// A send was handed over in this turn.
    trying: bool,
    /// A send waits for room.
    waiting: bool,
    /// Shutdowns under way.
    shutdowns: u32,
    /// The end was told.
    ended: bool,
    /// The socket was dropped.
    closing: bool,
}

/// A send of this turn.
struct Trying {
    slot: u32,
    chunk: Chunk,
    /// What the kernel said, when it did not simply take it.
    refused: Option<i32>,
}

/// A send that waits for room.
struct Waiting {
    slot: u32,
    chunk: Chunk,
    /// Bytes that are out.
    done: usize,
}

/// The table.
pub(crate) struct Sockets {
    slots: Vec<Slot>,
    free: Vec<u32>,
    trying: Vec<Trying>,
    waiting: Slab<Waiting>,
    spares: Vec<Vec<u8>>,
    buffers: Buffers,
    open: usize,
}

impl Sockets {
    pub(crate) fn new(driver: &Driver) -> io::Result<Self> {
        let buffers = Buffers::new();
        buffers.register(driver.uring())?;
        Ok(Self {
            slots: Vec::new(),
            free: Vec::new(),
            trying: Vec::new(),
            waiting: Slab::new(),
            spares: Vec::new(),
            buffers,
            open: 0,
        })
    }

    /// Slots that are not free.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Takes a connected socket into the table and begins to receive.
    ///
    /// # Errors
    /// The table is full, or the kernel refuses.
    pub(crate) fn attach(
        &mut self,
        driver: &mut Driver,
        descriptor: OwnedFd,
        handler: HandlerId,
        token: u64,
    ) -> io::Result<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => u32::try_from(self.slots.len()).unwrap_or(u32::MAX),
        };
        if slot >= driver.descriptors() {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        if let Err(error) = driver.install(slot, descriptor.as_raw_fd()) {
            if (slot as usize) < self.slots.len() {
                self.free.push(slot);
            }
            return Err(error);
        }
        if slot as usize == self.slots.len() {
            self.slots.push(Slot::default());
        }
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            *entry = Slot { token, handler: handler.0, ..Slot::default() };
        }
        self.open += 1;
        self.receive(driver, slot);
        Ok(slot)
    }

    fn receive(&mut self, driver: &mut Driver, slot: u32) {
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            entry.receiving = true;
        }
        let receive = opcode::RecvMulti::new(Fixed(slot), 0).build();
        // SAFETY: it points to nothing; its buffers are those of the registered group.
        unsafe { driver.push(receive.user_data(Operation::Receive.data(slot as usize))) };
    }

    /// Whether a send is in this turn or waits for room.
    pub(crate) fn is_sending(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(|entry| entry.trying || entry.waiting)
    }

    /// Whether a send waits for room.
    pub(crate) fn is_blocked(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(|entry| entry.waiting)
    }

    /// Hands a buffer over; gives it back when the last one is not out yet.
    pub(crate) fn send(&mut self, driver: &mut Driver, slot: u32, chunk: Chunk) -> Result<(), Chunk> {
        let Some(entry) = self.slots.get_mut(slot as usize).filter(|entry| !entry.trying && !entry.waiting) else {
            return Err(chunk);
        };
        entry.trying = true;
        let number = self.trying.len();
        let bytes = chunk.bytes();
        let send = opcode::Send::new(Fixed(slot), bytes.as_ptr(), u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let send = send.flags(flags).build().flags(Flags::SKIP_SUCCESS).user_data(Operation::Try.data(number));
        // Its bytes are on the heap: they stay where they are when the chunk moves.
        self.trying.push(Trying { slot, chunk, refused: None });
        // SAFETY: the chunk stays in `trying`, and after it in `waiting`, until the kernel is done with it.
        unsafe { driver.push(send) };
        Ok(())
    }

    /// An empty buffer for a later send, perhaps with room.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        self.spares.pop().unwrap_or_default()
    }

    fn keep(&mut self, chunk: Chunk) {
        if let Chunk::Owned(mut buffer) = chunk
            && self.spares.len() < SPARES_MAX
            && buffer.capacity() <= SPARE_BYTES_MAX
        {
            buffer.clear();
            self.spares.push(buffer);
        }
    }

    /// Takes note of a send that did not simply go out. To be called for all of a hand-over before [`Self::settle`].
    pub(crate) fn refused(&mut self, completion: &Completion) {
        if let Some(trying) = self.trying.get_mut(completion.number) {
            trying.refused = Some(completion.result);
        }
    }

    /// Every send of the turn that the kernel said nothing about is out; the rest waits for room.
    pub(crate) fn settle(&mut self, driver: &mut Driver) {
        let mut trying = std::mem::take(&mut self.trying);
        for Trying { slot, chunk, refused } in trying.drain(..) {
            let Some(entry) = self.slots.get_mut(slot as usize) else { continue };
            entry.trying = false;
            let done = match refused {
                Some(count @ 0..) => count.unsigned_abs() as usize,
                Some(result) if result == -libc::EAGAIN => 0,
                other => {
                    if other.is_some() {
                        // Bytes are lost: it must end, which the receive tells.
                        self.shutdown(driver, slot, libc::SHUT_RDWR);
                    }
                    self.keep(chunk);
                    self.close_if_over(driver, slot);
                    continue;
                }
            };
            entry.waiting = true;
            let number = self.waiting.insert(Waiting { slot, chunk, done });
            self.send_rest(driver, number);
        }
        self.trying = trying;
    }

    fn send_rest(&mut self, driver: &mut Driver, number: usize) {
        let Some(waiting) = self.waiting.get(number) else { return };
        let rest = waiting.chunk.bytes().get(waiting.done..).unwrap_or_default();
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(Fixed(waiting.slot), rest.as_ptr(), length);
        let send = send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build();
        // SAFETY: the chunk stays in `waiting` until this operation has ended.
        unsafe { driver.push(send.user_data(Operation::Wait.data(number))) };
    }

    /// A send that waited has ended.
    pub(crate) fn waited(&mut self, driver: &mut Driver, completion: &Completion) -> Option<Told> {
        let waiting = self.waiting.get_mut(completion.number)?;
        let goes_on = matches!(completion.result, 1..) || completion.result == -libc::EINTR;
        waiting.done += usize::try_from(completion.result).unwrap_or(0);
        let out = waiting.done >= waiting.chunk.bytes().len();
        if goes_on && !out {
            self.send_rest(driver, completion.number);
            return None;
        }
        let Waiting { slot, chunk, .. } = self.waiting.remove(completion.number);
        self.keep(chunk);
        let entry = self.slots.get_mut(slot as usize)?;
        entry.waiting = false;
        let told = Told::Sent(HandlerId(entry.handler), entry.token);
        if entry.closing {
            self.close_if_over(driver, slot);
        } else if out {
            return Some(told);
        } else {
            // Bytes are lost: it must end, which the receive tells.
            self.shutdown(driver, slot, libc::SHUT_RDWR);
        }
        None
    }

    /// A receive brought bytes, the end, or must be asked for again.
    pub(crate) fn received(&mut self, driver: &mut Driver, completion: &Completion) -> Option<Told> {
        let slot = u32::try_from(completion.number).ok()?;
        let entry = self.slots.get_mut(slot as usize)?;
        entry.receiving &= completion.more;
        let (handler, token) = (HandlerId(entry.handler), entry.token);
        let (closing, receiving, paused) = (entry.closing, entry.receiving, entry.paused);
        let count = usize::try_from(completion.result).unwrap_or(0);
        let goes_on = [libc::ENOBUFS, libc::ECANCELED, libc::EINTR, libc::EAGAIN].map(|code| -code);
        let over = !receiving && completion.result <= 0 && !goes_on.contains(&completion.result);
        if over && !closing {
            entry.ended = true;
        }
        let lease = completion.buffer.map(|number| self.buffers.lease(number, count));
        if closing {
            if let Some(lease) = lease {
                self.buffers.give(lease);
            }
            self.close_if_over(driver, slot);
            return None;
        }
        if !receiving && !over && !paused {
            self.receive(driver, slot);
        }
        match lease {
            Some(lease) if count > 0 => return Some(Told::Received(handler, token, lease)),
            Some(lease) => self.buffers.give(lease),
            None => {}
        }
        over.then_some(Told::End(handler, token))
    }

    /// What was received is handled.
    pub(crate) fn give(&mut self, lease: Lease) {
        self.buffers.give(lease);
    }

    /// Receives no more until `resume`. What has come in before the kernel knows is still told.
    pub(crate) fn pause(&mut self, driver: &mut Driver, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize).filter(|entry| !entry.paused) else { return };
        entry.paused = true;
        if entry.receiving {
            let cancel = opcode::AsyncCancel::new(Operation::Receive.data(slot as usize)).build();
            // SAFETY: it points to nothing.
            unsafe { driver.push(cancel.user_data(Operation::Ignored.data(0))) };
        }
    }

    /// Receives again.
    pub(crate) fn resume(&mut self, driver: &mut Driver, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize).filter(|entry| entry.paused) else { return };
        entry.paused = false;
        // A cancellation under way ends in a completion, which begins anew.
        if !entry.receiving && !entry.ended && !entry.closing {
            self.receive(driver, slot);
        }
    }

    /// Ends one direction or both.
    pub(crate) fn shutdown(&mut self, driver: &mut Driver, slot: u32, how: i32) {
        let Some(entry) = self.slots.get_mut(slot as usize) else { return };
        entry.shutdowns += 1;
        let shutdown = opcode::Shutdown::new(Fixed(slot), how).build();
        // SAFETY: it points to nothing.
        unsafe { driver.push(shutdown.user_data(Operation::Shutdown.data(slot as usize))) };
    }

    /// A shutdown has ended, whatever came of it.
    pub(crate) fn shut(&mut self, driver: &mut Driver, completion: &Completion) {
        let Ok(slot) = u32::try_from(completion.number) else { return };
        if let Some(entry) = self.slots.get_mut(slot as usize) {
            entry.shutdowns = entry.shutdowns.saturating_sub(1);
        }
        self.close_if_over(driver, slot);
    }

    /// The socket was dropped: ends what is under way, then closes.
    pub(crate) fn close(&mut self, driver: &mut Driver, slot: u32) {
        let Some(entry) = self.slots.get_mut(slot as usize).filter(|entry| !entry.closing) else { return };
        entry.closing = true;
        if entry.receiving || entry.waiting {
            self.shutdown(driver, slot, libc::SHUT_RDWR);
        }
        self.close_if_over(driver, slot);
    }

    fn close_if_over(&mut self, driver: &mut Driver, slot: u32) {
        let Some(entry) = self.slots.get(slot as usize) else { return };
        if entry.closing && !entry.receiving && !entry.trying && !entry.waiting && entry.shutdowns == 0 {
            let close = opcode::Close::new(Fixed(slot)).build();
            // SAFETY: it points to nothing.
            unsafe { driver.push(close.user_data(Operation::Close.data(slot as usize))) };
        }
    }

    /// A slot is free again.
    pub(crate) fn closed(&mut self, completion: &Completion) {
        if let Ok(slot) = u32::try_from(completion.number) {
            self.free.push(slot);
            self.open = self.open.saturating_sub(1);
        }
    }
}
