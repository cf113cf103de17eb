//! The ring itself; see the crate's head.
//!
//! A send is tried without waiting, and says nothing when it succeeds: what the submission leaves no word about has
//! gone out. Only what the socket had no room for is sent once more, by an operation that waits.
//!
//! Places of connections are chosen by the kernel for those that come to a listener, and here for those that are added;
//! so a ring serves one kind alone.

use std::io::{Error, ErrorKind, Result};
use std::net::TcpListener;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use crate::buffers::Buffers;
use crate::connection::{Connection, State};
use crate::{Service, Settings};

/// The one group of buffers.
const GROUP: u16 = 0;

/// An output buffer larger than this is not used again.
const BYTES_KEPT: usize = 64 * 1024;

/// What an operation is, in the lowest bits of its user data; the rest is the connection.
const OP_BITS: u32 = 3;
const ACCEPT: u64 = 0;
const RECEIVE: u64 = 1;
const TRY: u64 = 2;
const WAIT: u64 = 3;
const CANCEL: u64 = 4;
const CLOSE: u64 = 5;

/// How long a system call may take.
#[derive(Clone, Copy)]
enum Patience {
    /// It hands over, and does not look at what came.
    None,
    /// It gathers what is there.
    Look,
    /// It waits for something, for ever or for so long.
    Wait(Option<Duration>),
}

/// See the crate's head.
pub struct Ring {
    uring: IoUring,
    buffers: Buffers,
    connections: Vec<Connection>,
    connections_max: usize,
    /// Places of added connections that are free again.
    free: Vec<usize>,
    /// Connections whose send was tried since the last submission.
    tried: Vec<usize>,
    /// Operations to be handed over.
    queue: Vec<Entry>,
    /// Completions that were gathered, and how many of them were handled.
    arrived: Vec<cqueue::Entry>,
    handled: usize,
    listener: Option<TcpListener>,
}

impl Ring {
    /// A ring of this thread, which alone may use it.
    ///
    /// # Errors
    /// The kernel has no io_uring, or one that is too old (6.1 is not), or the process may not have so many descriptors.
    pub fn new(settings: &Settings) -> Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(settings.completions)
            .build(settings.submissions)?;
        uring.submitter().register_files_sparse(settings.connections_max)?;
        let buffers = Buffers::new(settings.buffers, settings.buffer_bytes);
        // SAFETY: the slots are leaked, at the start of a page, and as many as is said here.
        unsafe { uring.submitter().register_buf_ring(buffers.address(), buffers.count(), GROUP)? };
        Ok(Self {
            uring,
            buffers,
            connections: Vec::new(),
            connections_max: settings.connections_max as usize,
            free: Vec::new(),
            tried: Vec::new(),
            queue: Vec::new(),
            arrived: Vec::new(),
            handled: 0,
            listener: None,
        })
    }

    /// Serves the connections that come to a listener.
    pub fn listen(&mut self, listener: TcpListener) {
        self.listener = Some(listener);
        self.accept();
    }

    /// Serves a connection, or one that is being made; answers its place. The socket must be a blocking one. The process
    /// has no descriptor of it after this.
    ///
    /// # Errors
    /// There is no place left, this ring listens, or the kernel refuses.
    pub fn add(&mut self, socket: OwnedFd) -> Result<usize> {
        if self.listener.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "a ring that listens takes no other connections"));
        }
        let at = self.free.last().copied().unwrap_or(self.connections.len());
        if at >= self.connections_max {
            return Err(Error::new(ErrorKind::QuotaExceeded, "the ring has no place left"));
        }
        self.uring.submitter().register_files_update(at as u32, &[socket.as_raw_fd()])?;
        self.free.pop();
        self.open(at);
        Ok(at)
    }

    fn open(&mut self, at: usize) {
        if self.connections.len() <= at {
            self.connections.resize_with(at + 1, Connection::default);
        }
        if let Some(connection) = self.connections.get_mut(at) {
            *connection = Connection { state: State::Open, ..Connection::default() };
        }
        self.receive(at);
    }

    /// Queues what a connection has to send, swapping room for it into `bytes`; false, and nothing is done, while the
    /// last of it is still under way. [`Service::sent`] tells when that is over.
    pub fn send(&mut self, at: usize, bytes: &mut Vec<u8>) -> bool {
        let Some(connection) = self.connections.get_mut(at).filter(|connection| connection.state == State::Open) else {
            bytes.clear();
            return true;
        };
        let sending = &mut connection.sending;
        if sending.trying || sending.waiting {
            return false;
        }
        std::mem::swap(&mut sending.bytes, bytes);
        if bytes.capacity() > BYTES_KEPT {
            *bytes = Vec::new();
        }
        (sending.gone, sending.trying) = (0, true);
        let send = opcode::Send::new(Fixed(at as u32), sending.bytes.as_ptr(), sending.bytes.len() as u32);
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        self.tried.push(at);
        self.push(TRY, at, send.flags(flags).build().flags(Flags::SKIP_SUCCESS));
        true
    }

    /// Ends a connection without a further word about it.
    pub fn end(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at).filter(|connection| connection.state == State::Open) else {
            return;
        };
        connection.state = State::Ending;
        let (receiving, waiting) = (connection.receiving, connection.sending.waiting);
        if receiving {
            self.cancel(RECEIVE, at);
        }
        if waiting {
            self.cancel(WAIT, at);
        }
        self.close_if_idle(at);
    }

    /// From now on what comes is left in the kernel's buffers, the end too; of what was under way, some may still be
    /// told.
    pub fn pause(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at).filter(|connection| connection.state == State::Open) else {
            return;
        };
        connection.paused = true;
        if connection.receiving {
            self.cancel(RECEIVE, at);
        }
    }

    /// What comes is told again.
    pub fn resume(&mut self, at: usize) {
        let Some(connection) = self.connections.get_mut(at).filter(|connection| connection.state == State::Open) else {
            return;
        };
        connection.paused = false;
        if !connection.receiving {
            self.receive(at);
        }
    }

    /// Whether there is something to be handed over.
    pub fn is_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Hands over what is queued; no system call when that is nothing.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn submit(&mut self) -> Result<()> {
        if self.is_queued() { self.enter(Patience::None) } else { Ok(()) }
    }

    /// Whether there is something to be gathered or handled; costs no system call.
    pub fn is_pending(&mut self) -> bool {
        self.unhandled() > 0 || self.uring.submission().taskrun() || !self.uring.completion().is_empty()
    }

    /// Completions that were gathered and not handled.
    pub fn unhandled(&self) -> usize {
        self.arrived.len() - self.handled
    }

    /// Hands over what is queued and gathers what is there.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn gather(&mut self) -> Result<()> {
        self.enter(Patience::Look)
    }

    /// Hands over what is queued and waits until there is something, at most for so long; gathers it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn wait(&mut self, limit: Option<Duration>) -> Result<()> {
        self.enter(Patience::Wait(limit))
    }

    /// Tells the service what was gathered, at most so many completions.
    ///
    /// # Errors
    /// No further connection can be accepted.
    pub fn handle(&mut self, max: usize, service: &mut impl Service) -> Result<()> {
        for _ in 0..max {
            let Some(completion) = self.arrived.get(self.handled).cloned() else { break };
            self.handled += 1;
            self.complete(&completion, service)?;
        }
        if self.handled == self.arrived.len() {
            self.arrived.clear();
            self.handled = 0;
        }
        Ok(())
    }

    /// The kernel has taken every operation when this returns, so that those which must not wait have ended.
    fn enter(&mut self, patience: Patience) -> Result<()> {
        let before = self.arrived.len();
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
            let limit = match patience {
                Patience::Wait(limit) if left.is_empty() && self.arrived.len() == before => limit,
                _ => Some(Duration::ZERO),
            };
            let submitter = self.uring.submitter();
            let entered = match (patience, limit) {
                (Patience::None, _) => submitter.submit(),
                (_, None) => submitter.submit_and_wait(1),
                (_, Some(limit)) => submitter.submit_with_args(1, &SubmitArgs::new().timespec(&Timespec::from(limit))),
            };
            // The time is up, a signal came, or completions must be gathered first.
            let passes = [libc::ETIME, libc::EINTR, libc::EBUSY, libc::EAGAIN];
            if let Err(error) = entered
                && !error.raw_os_error().is_some_and(|code| passes.contains(&code))
            {
                return Err(error);
            }
            self.arrived.extend(self.uring.completion());
            if left.is_empty() && self.uring.submission().is_empty() {
                break;
            }
        }
        self.queue.clear();
        self.settle(before);
        Ok(())
    }

    /// Failed tries first: those of whom there is no word are done, and their bytes may go.
    fn settle(&mut self, from: usize) {
        if self.tried.is_empty() {
            return;
        }
        for index in from..self.arrived.len() {
            let Some((TRY, at)) = self.arrived.get(index).map(parts) else { continue };
            let result = self.arrived.get(index).map_or(0, cqueue::Entry::result);
            let Some(connection) = self.connections.get_mut(at) else { continue };
            if connection.state == State::Open && (result >= 0 || result == -libc::EAGAIN) {
                connection.sending.gone += result.max(0) as usize;
                connection.sending.waiting = true;
                self.send_rest(at);
            }
        }
        let mut tried = std::mem::take(&mut self.tried);
        for at in tried.drain(..) {
            let Some(connection) = self.connections.get_mut(at) else { continue };
            connection.sending.trying = false;
            if !connection.sending.waiting {
                connection.sending.bytes.clear();
            }
            self.close_if_idle(at);
        }
        // The list's room is used again.
        self.tried = tried;
    }

    fn complete(&mut self, completion: &cqueue::Entry, service: &mut impl Service) -> Result<()> {
        let ((operation, at), result) = (parts(completion), completion.result());
        match operation {
            ACCEPT => {
                if result < 0 {
                    return Err(Error::from_raw_os_error(-result));
                }
                self.open(result as usize);
                service.entered(result as usize);
                if !cqueue::more(completion.flags()) {
                    self.accept();
                }
            }
            RECEIVE => self.received(at, completion, service),
            TRY if result < 0 && result != -libc::EAGAIN => self.over(at, -result, service),
            WAIT => self.waited(at, result, service),
            CLOSE => {
                if let Some(connection) = self.connections.get_mut(at) {
                    *connection = Connection::default();
                }
                if self.listener.is_none() {
                    self.free.push(at);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn received(&mut self, at: usize, completion: &cqueue::Entry, service: &mut impl Service) {
        let result = completion.result();
        let is_open = self.connections.get(at).is_some_and(|connection| connection.state == State::Open);
        let mut goes_on = true;
        if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
            if is_open && result > 0 {
                goes_on = service.received(at, self.buffers.bytes(buffer, result as usize));
            }
            self.buffers.give(buffer);
        }
        if !cqueue::more(completion.flags()) {
            let Some(connection) = self.connections.get_mut(at) else { return };
            connection.receiving = false;
            match result {
                _ if !is_open => self.close_if_idle(at),
                1.. => self.receive(at),
                result if result == -libc::ENOBUFS => {
                    self.buffers.grow_twice();
                    self.receive(at);
                }
                // It was paused, and may want to go on already.
                result if result == -libc::ECANCELED => self.receive(at),
                result => self.over(at, -result, service),
            }
        }
        if !goes_on {
            self.end(at);
        }
    }

    fn waited(&mut self, at: usize, result: i32, service: &mut impl Service) {
        let Some(connection) = self.connections.get_mut(at) else { return };
        let sending = &mut connection.sending;
        sending.gone += result.max(0) as usize;
        if result > 0 && sending.gone < sending.bytes.len() && connection.state == State::Open {
            return self.send_rest(at);
        }
        sending.waiting = false;
        sending.bytes.clear();
        match (connection.state, result) {
            (State::Open, 0..) => service.sent(at),
            (State::Open, error) => self.over(at, -error, service),
            _ => self.close_if_idle(at),
        }
    }

    /// The other side closed (0), or the connection broke.
    fn over(&mut self, at: usize, error: i32, service: &mut impl Service) {
        if self.connections.get(at).is_some_and(|connection| connection.state == State::Open) {
            self.end(at);
            service.ended(at, (error != 0).then(|| Error::from_raw_os_error(error)));
        }
    }

    fn close_if_idle(&mut self, at: usize) {
        let ending = |connection: &&mut Connection| connection.state == State::Ending && connection.is_idle();
        if let Some(connection) = self.connections.get_mut(at).filter(ending) {
            connection.state = State::Closing;
            self.push(CLOSE, at, opcode::Close::new(Fixed(at as u32)).build());
        }
    }

    fn accept(&mut self) {
        if let Some(listener) = &self.listener {
            let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).allocate_file_index(true);
            self.push(ACCEPT, 0, accept.build());
        }
    }

    /// Arms a receive, unless nothing is wanted.
    fn receive(&mut self, at: usize) {
        if let Some(connection) = self.connections.get_mut(at).filter(|connection| !connection.paused) {
            connection.receiving = true;
            self.push(RECEIVE, at, opcode::RecvMulti::new(Fixed(at as u32), GROUP).build());
        }
    }

    fn send_rest(&mut self, at: usize) {
        let sending = self.connections.get(at).map(|connection| &connection.sending);
        let Some(rest) = sending.and_then(|sending| sending.bytes.get(sending.gone..)) else { return };
        let send = opcode::Send::new(Fixed(at as u32), rest.as_ptr(), rest.len() as u32);
        let entry = send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build();
        self.push(WAIT, at, entry);
    }

    fn cancel(&mut self, operation: u64, at: usize) {
        self.push(CANCEL, at, opcode::AsyncCancel::new(user_data(operation, at)).build());
    }

    fn push(&mut self, operation: u64, at: usize, entry: Entry) {
        self.queue.push(entry.user_data(user_data(operation, at)));
    }
}

impl Drop for Ring {
    /// The kernel may still read what is under way.
    fn drop(&mut self) {
        std::mem::forget(std::mem::take(&mut self.connections));
    }
}

fn user_data(operation: u64, at: usize) -> u64 {
    (at as u64) << OP_BITS | operation
}

fn parts(completion: &cqueue::Entry) -> (u64, usize) {
    let data = completion.user_data();
    (data & ((1 << OP_BITS) - 1), (data >> OP_BITS) as usize)
}
