//! All connections of the generator, driven by one io_uring on one thread.
//!
//! Owns the connections; their sockets are the ring's. A turn is: append to connections, [`Network::flush`] (one system
//! call for all), then [`Network::poll`], which waits with nanosecond precision, hands over a bounded number of what came
//! with the time at which it was gathered, and flushes the answers. Whoever has something due looks between two polls.
//!
//! Close to the time that is waited for, the thread spins: the kernel wakes nobody to the microsecond, and to be woken
//! costs more than a message. What was spun away is counted apart, for it is no work; nor is an interrupt that comes
//! meanwhile, which would otherwise have come to an idle processor. Each step of it gives way to other threads: one of the
//! kernel's that is bound to this processor completes the server's synced writes, and would wait for a tick of the clock.

use std::time::Duration;

use anyhow::{Context as _, bail};
use ringway_perf_ring::{Ring, Service, Settings};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::clock::now_ns;
use crate::connection::{Connection, Phase, Target};
use crate::people::Person;
use crate::watch::{Glance, Watch};
use crate::wire::Packet;

/// Upgrades under way at a time: below any listen backlog.
const DIALING_MAX: usize = 128;
const DIAL_TIMEOUT: Duration = Duration::from_secs(30);
/// Completions that are handed over before the caller may look at what is due.
const LOOK_MAX: usize = 32;
/// The thread spins when less than this is to be waited, and wakes this much too early otherwise.
const SPIN_NS: u64 = 100_000;
/// A step of spinning is shorter, with any interrupt; in what takes longer another thread may have had the processor.
const STEP_NS_MAX: u64 = 50_000;
/// Descriptors that are no connections: the ring, standard streams, HTTP, /proc, those that are being made.
const OTHER_DESCRIPTORS: u64 = 32;
/// The kernel has no longer table of direct descriptors.
const PLACES_MAX: u32 = 1 << 20;
/// Bounds of the ring. Half a turn's sends of the largest room fit into the queue at once.
const SUBMISSIONS: u32 = 4_096;
const COMPLETIONS: u32 = 32_768;
const BUFFERS: u16 = 4_096;
const BUFFER_BYTES: usize = 2_048;

/// What a scenario does with what comes in.
pub(crate) trait Handler {
    /// A packet of a connection; frames may be appended to `out`.
    fn packet(&mut self, connection: usize, read_ns: u64, packet: &Packet<'_>, out: &mut Vec<u8>);
    /// All that one read brought has been handed over.
    fn read_done(&mut self, connection: usize, out: &mut Vec<u8>);
    /// The connection is over.
    fn closed(&mut self, connection: usize, reason: &str);
    /// What was counted so far, for who looks on; nothing, when nothing is sent.
    fn glance(&self) -> Option<Glance<'_>> {
        None
    }
}

/// The connections; see the module's head.
pub(crate) struct Network {
    /// Taken in turn.
    targets: Vec<Target>,
    /// Number of the first connection in the whole run, of which other processes may have some.
    first: usize,
    ring: Ring,
    held: Held,
    /// When what is gathered was.
    read_ns: u64,
    /// When the last submission began and ended.
    handed_over: (u64, u64),
    spun_ns: u64,
    /// Spinning takes nothing from a server on another processor.
    may_spin: bool,
    /// Why the kernel refused the last submission.
    refused: Option<std::io::Error>,
    /// Who looks on.
    watch: Option<Watch>,
}

/// Connections by their number, which scenarios know, and by their place in the ring.
#[derive(Default)]
struct Held {
    connections: Vec<Connection>,
    /// Numbers by places; those of ended connections lead nowhere.
    numbers: Vec<Option<usize>>,
    dirty: Vec<usize>,
    ready: usize,
}

impl Network {
    /// No connections yet.
    ///
    /// # Errors
    /// No io_uring to be had.
    pub(crate) fn new(targets: Vec<Target>) -> anyhow::Result<Self> {
        let descriptors = raise_descriptors()?;
        let ring = Ring::new(&Settings {
            submissions: SUBMISSIONS,
            completions: COMPLETIONS,
            buffers: BUFFERS,
            buffer_bytes: BUFFER_BYTES,
            connections_max: u32::try_from(descriptors).unwrap_or(u32::MAX).min(PLACES_MAX),
        });
        Ok(Self {
            targets,
            first: 0,
            ring: ring.context("no io_uring: a kernel of 6.1 or later that allows it is needed")?,
            held: Held::default(),
            read_ns: 0,
            handed_over: (0, 0),
            spun_ns: 0,
            may_spin: std::fs::read_to_string("/proc/cpuinfo")
                .is_ok_and(|text| text.matches("processor\t").count() > 1),
            refused: None,
            watch: None,
        })
    }

    /// Shows the run to who looks on, from now until it ends.
    pub(crate) fn show_to(&mut self, watch: Option<Watch>) {
        self.watch = watch;
    }

    /// Shows what was counted; of itself that happens a few times a second.
    pub(crate) fn show(&mut self, handler: &impl Handler) {
        if let Some(watch) = &mut self.watch {
            watch.show(self.held.ready, handler.glance());
        }
    }

    /// The connections are those of a run from this number on.
    pub(crate) fn count_from(&mut self, first: usize) {
        self.first = first;
    }

    /// Connects everybody; connection n is the n-th person's. Returns when all are authenticated.
    ///
    /// # Errors
    /// The descriptor limit, a connection that is refused, or one that takes too long.
    pub(crate) fn dial(&mut self, people: &[Person], handler: &mut impl Handler) -> anyhow::Result<()> {
        let wanted = self.held.connections.len() + people.len();
        let room = connections_max()?;
        if wanted > room {
            bail!(
                "{wanted} connections, and the limit of file descriptors (ulimit -Hn) leaves this process {room}: lower \
                 --connections, or raise the limit"
            );
        }
        let mut people = people.iter();
        let mut progress_ns = now_ns();
        let mut ready = self.held.ready;
        while self.held.ready < wanted {
            while self.held.connections.len() < wanted && self.held.connections.len() - self.held.ready < DIALING_MAX {
                let Some(person) = people.next() else { break };
                self.open(person)?;
            }
            self.flush();
            self.poll(now_ns() + 10_000_000, handler)?;
            let failed = |connection: &Connection| connection.phase == Phase::Closed;
            if let Some(failed) = self.held.connections.iter().position(failed) {
                bail!("connection {failed} ended before all were there (see above)");
            }
            if self.held.ready != ready {
                (ready, progress_ns) = (self.held.ready, now_ns());
            } else if now_ns() - progress_ns > DIAL_TIMEOUT.as_nanos() as u64 {
                bail!("{ready} of {wanted} connections are authenticated, and no further one in {DIAL_TIMEOUT:?}");
            }
        }
        Ok(())
    }

    fn open(&mut self, person: &Person) -> anyhow::Result<()> {
        let index = self.held.connections.len();
        let connection = self.connect(index, person)?;
        self.held.connections.push(connection);
        self.held.mark(index);
        Ok(())
    }

    fn connect(&mut self, index: usize, person: &Person) -> anyhow::Result<Connection> {
        let number = self.first + index;
        let target = self.targets.get(number % self.targets.len().max(1)).context("there is nowhere to go")?;
        let (mut connection, socket) = Connection::open(target, number, person)?;
        connection.place = self.ring.add(socket).context("the ring takes no further connection")?;
        if self.held.numbers.len() <= connection.place {
            self.held.numbers.resize(connection.place + 1, None);
        }
        if let Some(number) = self.held.numbers.get_mut(connection.place) {
            *number = Some(index);
        }
        Ok(connection)
    }

    /// Where to append frames of a connection; they go out with the next flush. `None` once it is closed.
    pub(crate) fn out(&mut self, connection: usize) -> Option<&mut Vec<u8>> {
        self.held.mark(connection);
        let found = self.held.connections.get_mut(connection);
        found.filter(|found| found.phase == Phase::Ready).map(|found| &mut found.out)
    }

    /// Connections that are authenticated and open.
    pub(crate) fn ready(&self) -> usize {
        self.held.ready
    }

    /// When the last submission began and ended: what it held was handed to the kernel one by one meanwhile.
    pub(crate) fn handed_over(&self) -> (u64, u64) {
        self.handed_over
    }

    /// Nanoseconds of processor time that went into waiting.
    pub(crate) fn spun_ns(&self) -> u64 {
        self.spun_ns
    }

    /// Hands over what waits, all of it together. Should the kernel refuse, the next poll says so.
    pub(crate) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.held.dirty);
        for index in dirty.drain(..) {
            let Some(connection) = self.held.connections.get_mut(index) else { continue };
            connection.dirty = false;
            if !connection.out.is_empty() && connection.phase != Phase::Closed {
                // What cannot go yet is marked again when it can.
                let _ = self.ring.send(connection.place, &mut connection.out);
            }
        }
        // Nothing was marked meanwhile; the list's room is kept.
        self.held.dirty = dirty;
        if self.ring.is_queued() {
            let began = now_ns();
            self.refused = self.ring.submit().err();
            self.handed_over = (began, now_ns());
        }
    }

    /// Waits for input until `until_ns`, then takes in some of what is there: the rest comes with the next polls.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn poll(&mut self, until_ns: u64, handler: &mut impl Handler) -> anyhow::Result<()> {
        if let Some(error) = self.refused.take() {
            return Err(error).context("io_uring");
        }
        if self.ring.unhandled() == 0 {
            self.gather(until_ns).context("io_uring")?;
            self.read_ns = now_ns();
        }
        if self.watch.as_ref().is_some_and(|watch| watch.due_ns() <= self.read_ns) {
            self.show(handler);
        }
        let mut arrivals = Arrivals { held: &mut self.held, handler, read_ns: self.read_ns };
        self.ring.handle(LOOK_MAX, &mut arrivals).context("io_uring")?;
        self.flush();
        Ok(())
    }

    fn gather(&mut self, until_ns: u64) -> std::io::Result<()> {
        let mut now = now_ns();
        while !self.ring.is_pending() && now < until_ns {
            let early_ns = if self.may_spin { SPIN_NS } else { 0 };
            if until_ns - now > early_ns {
                self.ring.wait(Some(Duration::from_nanos(until_ns - now - early_ns)))?;
                if self.ring.unhandled() > 0 {
                    return Ok(());
                }
                now = now_ns();
            } else {
                rustix::thread::sched_yield();
                let before = std::mem::replace(&mut now, now_ns());
                if now - before <= STEP_NS_MAX {
                    self.spun_ns += now - before;
                }
            }
        }
        if self.ring.is_pending() { self.ring.gather() } else { Ok(()) }
    }
}

/// What scenarios do to single connections.
impl Network {
    /// Ends a connection from this side, as a device that goes away does: without a word, and what was not sent is
    /// dropped. The handler is not told.
    pub(crate) fn hang_up(&mut self, connection: usize) {
        if let Some(place) = self.held.cut(connection) {
            self.ring.end(place);
        }
    }

    /// Connects anew under the same number what is closed; never waits. The handler gets `Connected` once the person is
    /// signed in, and [`Network::out`] serves from then on; `closed`, if that fails.
    ///
    /// # Errors
    /// No socket, or refused at once.
    pub(crate) fn redial(&mut self, connection: usize, person: &Person) -> anyhow::Result<()> {
        let fresh = self.connect(connection, person)?;
        let place = self.held.connections.get_mut(connection);
        *place.context("only what was connected once is redialled")? = fresh;
        self.held.mark(connection);
        Ok(())
    }

    /// Whether what comes on a connection is read. While it is not, the kernel's buffers fill, and not even the
    /// connection's end is seen; what is sent goes out as ever.
    pub(crate) fn set_reading(&mut self, connection: usize, reading: bool) {
        let Some(found) = self.held.connections.get(connection).filter(|found| found.phase != Phase::Closed) else {
            return;
        };
        if reading {
            self.ring.resume(found.place);
        } else {
            self.ring.pause(found.place);
        }
    }

    /// Whether a connection is closed, by either side.
    pub(crate) fn is_closed(&self, connection: usize) -> bool {
        self.held.connections.get(connection).is_none_or(|found| found.phase == Phase::Closed)
    }
}

impl Held {
    fn mark(&mut self, index: usize) {
        if let Some(connection) = self.connections.get_mut(index)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(index);
        }
    }

    fn number(&self, place: usize) -> Option<usize> {
        self.numbers.get(place).copied().flatten()
    }

    /// Closes, and answers the place; `None` if it was closed already.
    fn cut(&mut self, index: usize) -> Option<usize> {
        let connection = self.connections.get_mut(index).filter(|found| found.phase != Phase::Closed)?;
        if connection.phase == Phase::Ready {
            self.ready -= 1;
        }
        connection.phase = Phase::Closed;
        connection.out = Vec::new();
        if let Some(number) = self.numbers.get_mut(connection.place) {
            *number = None;
        }
        Some(connection.place)
    }
}

/// What the ring brings, on its way to the handler.
struct Arrivals<'a, H> {
    held: &'a mut Held,
    handler: &'a mut H,
    read_ns: u64,
}

impl<H: Handler> Service for Arrivals<'_, H> {
    fn received(&mut self, at: usize, bytes: &mut [u8]) -> bool {
        let Some(index) = self.held.number(at) else { return false };
        let Some(connection) = self.held.connections.get_mut(index) else { return false };
        let was_ready = connection.phase == Phase::Ready;
        let (handler, read_ns) = (&mut *self.handler, self.read_ns);
        let on = &mut |packet: &Packet<'_>, out: &mut Vec<u8>| handler.packet(index, read_ns, packet, out);
        let taken = connection.take_in(bytes, on);
        self.handler.read_done(index, &mut connection.out);
        if connection.phase == Phase::Ready && !was_ready {
            self.held.ready += 1;
        }
        if !connection.out.is_empty() {
            self.held.mark(index);
        }
        match taken {
            Ok(()) => true,
            Err(reason) => {
                self.close(index, &reason);
                false
            }
        }
    }

    fn sent(&mut self, at: usize) {
        if let Some(index) = self.held.number(at) {
            self.held.mark(index);
        }
    }

    fn ended(&mut self, at: usize, error: Option<std::io::Error>) {
        if let Some(index) = self.held.number(at) {
            let reason = error.map_or("the server closed without a word".to_owned(), |error| error.to_string());
            self.close(index, &reason);
        }
    }
}

impl<H: Handler> Arrivals<'_, H> {
    fn close(&mut self, index: usize, reason: &str) {
        if self.held.cut(index).is_some() {
            self.handler.closed(index, reason);
        }
    }
}

/// Raises the soft limit as far as it goes; answers it.
fn raise_descriptors() -> anyhow::Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).context("the limit of file descriptors cannot be raised")?;
    }
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

/// Connections that this process may have.
///
/// # Errors
/// The limit of descriptors cannot be raised.
pub(crate) fn connections_max() -> anyhow::Result<usize> {
    let room = raise_descriptors()?.saturating_sub(OTHER_DESCRIPTORS);
    Ok(usize::try_from(room).unwrap_or(usize::MAX).min(PLACES_MAX as usize))
}
