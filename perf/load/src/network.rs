//! All connections of the generator, driven by one epoll on one thread.
//!
//! Owns the sockets. A turn is: append to connections, [`Network::flush`] (one write a connection), then
//! [`Network::poll`], which waits with nanosecond precision, reads once from each connection that has something,
//! hands every packet over with the time of its read, and flushes the answers.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::clock::now_ns;
use crate::connection::{Connection, Phase, Target};
use crate::people::Person;
use crate::wire::Packet;

/// Upgrades under way at a time: below any listen backlog.
const DIALING_MAX: usize = 128;
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections served by one wait.
const EVENTS_MAX: usize = 256;
/// One read; the rest comes with the next turn.
const READ_BYTES: usize = 128 * 1024;
/// Descriptors that are no connections: epoll, standard streams, HTTP, /proc.
const OTHER_DESCRIPTORS: u64 = 32;

/// What a scenario does with what comes in.
pub(crate) trait Handler {
    /// A packet of a connection; frames may be appended to `out`.
    fn packet(&mut self, connection: usize, read_ns: u64, packet: &Packet<'_>, out: &mut Vec<u8>);
    /// All that one read brought has been handed over.
    fn read_done(&mut self, connection: usize, out: &mut Vec<u8>);
    /// The connection is over.
    fn closed(&mut self, connection: usize, reason: &str);
}

/// The connections; see the module's head.
pub(crate) struct Network {
    /// Taken in turn.
    targets: Vec<Target>,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    dirty: Vec<usize>,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
    ready: usize,
}

impl Network {
    /// No connections yet.
    ///
    /// # Errors
    /// No epoll to be had.
    pub(crate) fn new(targets: Vec<Target>) -> anyhow::Result<Self> {
        Ok(Self {
            targets,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::new(),
            dirty: Vec::new(),
            buffer: vec![0; READ_BYTES],
            events: Vec::with_capacity(EVENTS_MAX),
            ready: 0,
        })
    }

    /// Connects everybody; connection n is the n-th person's. Returns when all are authenticated.
    ///
    /// # Errors
    /// The descriptor limit, a connection that is refused, or one that takes too long.
    pub(crate) fn dial(&mut self, people: &[Person], handler: &mut impl Handler) -> anyhow::Result<()> {
        let wanted = self.connections.len() + people.len();
        check_descriptors(wanted as u64)?;
        let mut people = people.iter();
        let mut progress_ns = now_ns();
        let mut ready = self.ready;
        while self.ready < wanted {
            while self.connections.len() < wanted && self.connections.len() - self.ready < DIALING_MAX {
                let Some(person) = people.next() else { break };
                self.open(person)?;
            }
            self.flush(handler);
            self.poll(now_ns() + 10_000_000, handler)?;
            if let Some(failed) = self.connections.iter().position(|connection| connection.phase == Phase::Closed) {
                bail!("connection {failed} ended before all were there (see above)");
            }
            if self.ready != ready {
                (ready, progress_ns) = (self.ready, now_ns());
            } else if now_ns() - progress_ns > DIAL_TIMEOUT.as_nanos() as u64 {
                bail!("{ready} of {wanted} connections are authenticated, and no further one in {DIAL_TIMEOUT:?}");
            }
        }
        Ok(())
    }

    fn open(&mut self, person: &Person) -> anyhow::Result<()> {
        let index = self.connections.len();
        let connection = self.connect(index, person)?;
        self.connections.push(connection);
        self.mark(index);
        Ok(())
    }

    fn connect(&self, index: usize, person: &Person) -> anyhow::Result<Connection> {
        let target = self.targets.get(index % self.targets.len().max(1)).context("there is nowhere to go")?;
        let connection = Connection::open(target, index, person)?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &connection.stream, data, epoll::EventFlags::IN)?;
        Ok(connection)
    }

    /// Ends a connection from this side, as a device that goes away does: without a word, and what was not sent is
    /// dropped. The handler is not told.
    pub(crate) fn hang_up(&mut self, connection: usize) {
        self.cut(connection);
    }

    /// Connects anew under the same number what is closed; never waits. The handler gets `Connected` once the person is
    /// signed in, and [`Network::out`] serves from then on; `closed`, if that fails.
    ///
    /// # Errors
    /// No socket, or refused at once.
    pub(crate) fn redial(&mut self, connection: usize, person: &Person) -> anyhow::Result<()> {
        let fresh = self.connect(connection, person)?;
        *self.connections.get_mut(connection).context("only what was connected once is redialled")? = fresh;
        self.mark(connection);
        Ok(())
    }

    /// Whether what comes on a connection is read. While it is not, the kernel's buffers fill, and not even the
    /// connection's end is seen; what is sent goes out as ever.
    pub(crate) fn set_reading(&mut self, connection: usize, reading: bool) {
        let Some(found) = self.connections.get_mut(connection).filter(|found| found.phase != Phase::Closed) else {
            return;
        };
        found.reading = reading;
        self.watch(connection);
    }

    /// Connections that are closed, by either side.
    pub(crate) fn is_closed(&self, connection: usize) -> bool {
        self.connections.get(connection).is_none_or(|found| found.phase == Phase::Closed)
    }

    /// Says to the kernel what is waited for.
    fn watch(&self, index: usize) {
        let Some(connection) = self.connections.get(index) else { return };
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, connection.reading);
        flags.set(epoll::EventFlags::OUT, connection.blocked);
        let data = epoll::EventData::new_u64(index as u64);
        // Fails only for a descriptor that is not there: one that broke while nobody read it, which comes back here.
        if epoll::modify(&self.epoll, &connection.stream, data, flags).is_err() && connection.reading {
            let _ = epoll::add(&self.epoll, &connection.stream, data, flags);
        }
    }

    /// Where to append frames of a connection; they go out with the next flush. `None` once it is closed.
    pub(crate) fn out(&mut self, connection: usize) -> Option<&mut Vec<u8>> {
        self.mark(connection);
        self.connections.get_mut(connection).filter(|found| found.phase == Phase::Ready).map(|found| &mut found.out)
    }

    /// Connections that are authenticated and open.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    fn mark(&mut self, index: usize) {
        if let Some(connection) = self.connections.get_mut(index)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    /// Writes what waits, one call a connection.
    pub(crate) fn flush(&mut self, handler: &mut impl Handler) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let Some(connection) = self.connections.get_mut(index) else { continue };
            connection.dirty = false;
            if connection.blocked || connection.out.is_empty() || connection.phase == Phase::Closed {
                continue;
            }
            self.write(index, handler);
        }
        // Nothing was marked meanwhile; the list's room is kept.
        self.dirty = dirty;
    }

    fn write(&mut self, index: usize, handler: &mut impl Handler) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        let was_blocked = connection.blocked;
        let flushed = connection.flush();
        if connection.blocked != was_blocked {
            self.watch(index);
        }
        if let Err(error) = flushed {
            self.end(index, &format!("write: {error}"), handler);
        }
    }

    /// Waits for input until `until_ns`, then takes in what is there.
    ///
    /// # Errors
    /// The kernel refuses to wait.
    pub(crate) fn poll(&mut self, until_ns: u64, handler: &mut impl Handler) -> anyhow::Result<()> {
        let mut events = std::mem::take(&mut self.events);
        self.take_events(&mut events)?;
        if events.is_empty() {
            let wait_ns = until_ns.saturating_sub(now_ns());
            if wait_ns > 0 {
                let timeout =
                    Timespec { tv_sec: (wait_ns / 1_000_000_000) as i64, tv_nsec: (wait_ns % 1_000_000_000) as _ };
                match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&timeout)) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error).context("poll"),
                }
                self.take_events(&mut events)?;
            }
        }
        for event in events.drain(..) {
            let index = event.data.u64() as usize;
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT) {
                self.write(index, handler);
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.read(index, handler);
            }
        }
        self.events = events;
        self.flush(handler);
        Ok(())
    }

    fn take_events(&self, events: &mut Vec<epoll::Event>) -> anyhow::Result<()> {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&now)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error).context("epoll"),
        }
    }

    fn read(&mut self, index: usize, handler: &mut impl Handler) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.phase == Phase::Closed {
            return;
        }
        if !connection.reading {
            // It broke, and nobody wants to know yet.
            let _ = epoll::delete(&self.epoll, &connection.stream);
            return;
        }
        let was_ready = connection.phase == Phase::Ready;
        let ended = match connection.read(&mut self.buffer) {
            Ok(None) => None,
            Ok(Some(0)) => Some("the server closed without a word".to_owned()),
            Ok(Some(count)) => {
                let read_ns = now_ns();
                let input = self.buffer.get(..count).unwrap_or_default();
                let on = &mut |packet: &Packet<'_>, out: &mut Vec<u8>| handler.packet(index, read_ns, packet, out);
                let taken = connection.take_in(input, on);
                handler.read_done(index, &mut connection.out);
                taken.err()
            }
            Err(error) => Some(format!("read: {error}")),
        };
        if connection.phase == Phase::Ready && !was_ready {
            self.ready += 1;
        }
        if !connection.out.is_empty() {
            self.mark(index);
        }
        if let Some(reason) = ended {
            self.end(index, &reason, handler);
        }
    }

    fn end(&mut self, index: usize, reason: &str, handler: &mut impl Handler) {
        if self.cut(index) {
            handler.closed(index, reason);
        }
    }

    /// Closes; false if it was closed already.
    fn cut(&mut self, index: usize) -> bool {
        let Some(connection) = self.connections.get_mut(index).filter(|found| found.phase != Phase::Closed) else {
            return false;
        };
        if connection.phase == Phase::Ready {
            self.ready -= 1;
        }
        connection.phase = Phase::Closed;
        // Closed or not there any more: both are fine.
        let _ = epoll::delete(&self.epoll, &connection.stream);
        let _ = connection.stream.shutdown(std::net::Shutdown::Both);
        true
    }
}

/// Raises the soft limit as far as it goes and says so when it does not suffice.
fn check_descriptors(connections: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).context("the limit of file descriptors cannot be raised")?;
    }
    let needed = connections + OTHER_DESCRIPTORS;
    match limit.maximum {
        Some(maximum) if maximum < needed => bail!(
            "{connections} connections need {needed} file descriptors and this process may have {maximum} \
             (ulimit -Hn): lower --connections, or raise the limit"
        ),
        _ => Ok(()),
    }
}
