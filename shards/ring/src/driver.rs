//! The io_uring of a shard: what is handed to the kernel, and what it says.
//!
//! Belongs to the shard's thread. Operations are queued as they come and handed over together, once a turn of the
//! loop; completions are read in the same system call. Descriptors of connections are direct ones: they live in the
//! ring's table, not in the process's, and cost no reference counting a call.
//!
//! Whoever is called for a completion is in [`crate::sockets`] and [`crate::local`]; here is only the mechanism. All
//! memory that the kernel may read or write while an operation is under way is owned by `sockets` and `buffers`, and is
//! neither moved nor freed before that operation has ended.

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

use io_uring::opcode::{Timeout, TimeoutUpdate};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue};

use crate::support::ring_builder;

/// Completions between two looks; beyond that the kernel keeps them in a list of its own.
const COMPLETIONS: u32 = 16_384;
/// Direct descriptors of a ring at most (`IORING_MAX_FIXED_FILES`); the process's limit counts too.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// What an operation is, in the lowest bits of its user data; the rest is a number that the kind gives a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Operation {
    /// Multishot receive; the number is a socket's slot.
    Receive = 0,
    /// A send that must not wait; its number is its place among those of this turn.
    Try = 1,
    /// A send that waits for room; its number is its place among those that wait.
    Wait = 2,
    /// A poll of a listener; its number is the poll's.
    Poll = 3,
    /// The eventfd by which other threads wake the shard.
    Wake = 4,
    /// A close of a direct descriptor; the number is its slot.
    Close = 5,
    /// A cancellation, whose result says nothing.
    Ignored = 6,
    /// A shutdown; the number is its slot. The kernel carries it out on a thread of its own, and finds the slot then.
    Shutdown = 7,
    /// The time at which the first sleeper wakes.
    Timer = 8,
}

const OPERATION_BITS: u32 = 4;

impl Operation {
    /// The user data of this operation for a number.
    pub(crate) fn data(self, number: usize) -> u64 {
        (number as u64) << OPERATION_BITS | self as u64
    }
}

/// One completion, read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Completion {
    pub(crate) operation: Operation,
    pub(crate) number: usize,
    /// A count, or an error number below zero.
    pub(crate) result: i32,
    /// The operation goes on and will complete again.
    pub(crate) more: bool,
    /// The provided buffer that was filled.
    pub(crate) buffer: Option<u16>,
}

impl Completion {
    fn read(entry: &cqueue::Entry) -> Self {
        let data = entry.user_data();
        let operation = match data & ((1 << OPERATION_BITS) - 1) {
            0 => Operation::Receive,
            1 => Operation::Try,
            2 => Operation::Wait,
            3 => Operation::Poll,
            4 => Operation::Wake,
            5 => Operation::Close,
            7 => Operation::Shutdown,
            8 => Operation::Timer,
            _ => Operation::Ignored,
        };
        Self {
            operation,
            number: usize::try_from(data >> OPERATION_BITS).unwrap_or(usize::MAX),
            result: entry.result(),
            more: cqueue::more(entry.flags()),
            buffer: cqueue::buffer_select(entry.flags()),
        }
    }
}

/// The ring.
pub(crate) struct Driver {
    uring: IoUring,
    /// Read before their turn, when the kernel asked for room.
    early: Vec<Completion>,
    descriptors: u32,
    /// What a timer was last set to, where the kernel reads it at the next hand-over.
    timespec: Box<Timespec>,
}

impl Driver {
    /// Sets a ring up with so many submission entries. It belongs to the thread that makes it.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let mut builder = ring_builder();
        builder.setup_submit_all().setup_cqsize(COMPLETIONS.max(entries.saturating_mul(2)));
        let uring = builder.build(entries)?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(DESCRIPTORS_MAX);
        let descriptors = u32::try_from(limit.min(DESCRIPTORS_MAX)).unwrap_or(u32::MAX);
        uring.submitter().register_files_sparse(descriptors)?;
        Ok(Self { uring, early: Vec::new(), descriptors, timespec: Box::default() })
    }

    /// Direct descriptors that the table holds.
    pub(crate) fn descriptors(&self) -> u32 {
        self.descriptors
    }

    pub(crate) fn uring(&self) -> &IoUring {
        &self.uring
    }

    /// Puts a descriptor into the table of direct ones; the process's own may be closed then.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn install(&self, slot: u32, descriptor: RawFd) -> io::Result<()> {
        self.uring.submitter().register_files_update(slot, &[descriptor]).map(|_count| ())
    }

    /// Queues an operation; hands over what is queued when there is no room.
    ///
    /// # Safety
    /// What the entry points to must stay in place until its operation has ended.
    pub(crate) unsafe fn push(&mut self, entry: Entry) {
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return;
            }
            self.make_room();
        }
    }

    /// Sets the timer to this time from now; `again` moves the one that runs. To be called once between two hand-overs.
    /// It completes when the time has come.
    ///
    /// A timeout of the wait itself would set the clock and reset it at every turn, which a virtual machine pays for
    /// with an exit each; this one stays as it is until it is due.
    pub(crate) fn set_timer(&mut self, time: Duration, again: bool) {
        *self.timespec = Timespec::new().sec(time.as_secs()).nsec(time.subsec_nanos());
        let at = &raw const *self.timespec;
        let entry = if again {
            // It finds none when the time has just come; then that completion is on its way.
            let update = TimeoutUpdate::new(Operation::Timer.data(0), at).build().flags(Flags::SKIP_SUCCESS);
            update.user_data(Operation::Ignored.data(0))
        } else {
            Timeout::new(at).build().user_data(Operation::Timer.data(0))
        };
        // SAFETY: the kernel reads the time when the entry is handed over, and until then it stays as it is.
        unsafe { self.push(entry) };
    }

    /// Hands over what is queued without waiting. Completions that are in the way are kept for the next look.
    ///
    /// # Panics
    /// When the ring takes nothing any more: the shard can do nothing without it, and its end is told to whoever joins.
    fn make_room(&mut self) {
        match self.uring.submit() {
            Err(error) if !is_passing(&error) => panic!("the ring of this shard takes no operations: {error}"),
            _ => self.early.extend(self.uring.completion().map(|entry| Completion::read(&entry))),
        }
    }

    /// Hands over everything, works off what the kernel has for this thread and gives all completions. With `wait` it
    /// sleeps until there is one, or for that time.
    ///
    /// The kernel has taken every operation when this returns, so one that must not wait has ended.
    ///
    /// # Errors
    /// The ring is useless.
    pub(crate) fn enter(&mut self, wait: Option<Option<Duration>>, out: &mut VecDeque<Completion>) -> io::Result<()> {
        out.extend(self.early.drain(..));
        let mut wait = wait.filter(|_| out.is_empty());
        loop {
            let entered = match wait {
                Some(Some(time)) => {
                    let time = Timespec::new().sec(time.as_secs()).nsec(time.subsec_nanos());
                    self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
                }
                Some(None) => self.uring.submit_and_wait(1),
                None => self.enter_now(),
            };
            match entered {
                Err(error) if !is_passing(&error) => return Err(error),
                _ => {}
            }
            out.extend(self.uring.completion().map(|entry| Completion::read(&entry)));
            let submission = self.uring.submission();
            if submission.is_empty() && !submission.cq_overflow() {
                return Ok(());
            }
            wait = None;
        }
    }

    /// Enters without waiting. The crate's own `submit` would not ask for completions, and with `DEFER_TASKRUN` they
    /// come only when asked for.
    fn enter_now(&mut self) -> io::Result<usize> {
        const GETEVENTS: u32 = 1;
        let count = u32::try_from(self.uring.submission().len()).unwrap_or(u32::MAX);
        // SAFETY: no signal mask is passed, and the entries were pushed under the promise of `push`.
        unsafe { self.uring.submitter().enter::<libc::sigset_t>(count, 0, GETEVENTS, None) }
    }
}

/// Whether the call may simply be made again: a signal came, time is over, or the kernel wants completions read first.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EBUSY | libc::EAGAIN))
}
