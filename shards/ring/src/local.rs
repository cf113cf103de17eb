//! What a shard's thread keeps for itself, and its loop.
//!
//! ```text
//!  ┌─► poll what is ready ──► hand over and wait ──► settle sends ──► call handlers, fire timers ────┐
//!  └──────────────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Lives in a thread-local of the shard's thread, from before its main future starts to after its last task is gone.
//! Nothing in it is borrowed while a handler, a task or a waker runs, so each of them may use all of it.
//!
//! Invariants: everything that one turn produced goes to the kernel in one call; between two calls the work is bounded,
//! so that neither tasks that wake themselves nor other threads keep the shard from its sockets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::opcode;
use io_uring::types::Fd;
use slab::Slab;

use crate::driver::{Completion, Driver, Operation};
use crate::executor::{Executor, MAIN, Remote};
use crate::sockets::{Handler, HandlerId, Sockets, Told};
use crate::timers::{Setting, Timers};

/// Rounds of polling what is ready before the kernel has its turn: enough for a task to wake one that gathers.
const ROUNDS_MAX: usize = 4;
/// Completions worked off in one turn. The rest waits for the next ones: what a few thousand connections say at once does
/// not keep what is already in from going out.
const COMPLETIONS_MAX: usize = 256;
/// Turns that the end of a shard waits for its connections to close.
const END_TURNS_MAX: usize = 64;
/// How long each of them waits.
const END_TURN: Duration = Duration::from_millis(20);

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// What the loop has done, counted from the shard's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LoopCounts {
    /// Turns of the loop: one system call each.
    pub turns: u64,
    /// Completions of the kernel. A send that goes out at once has none.
    pub completions: u64,
    /// Turns in which another thread had woken the shard.
    pub wakes: u64,
    /// Tasks polled.
    pub polls: u64,
    /// Processor time of the thread, microseconds, user and system.
    pub cpu_us: u64,
}

/// A poll of a listener.
#[derive(Default)]
struct Readiness {
    waker: Option<Waker>,
    ready: bool,
    /// It is in the kernel.
    armed: bool,
    /// Its owner is gone.
    given_up: bool,
}

/// The ring and what its operations use; in this order they are dropped.
struct Io {
    driver: Driver,
    sockets: Sockets,
}

/// State of the shard that runs on this thread.
pub(crate) struct Local {
    executor: Executor,
    timers: Timers,
    turners: RefCell<Vec<Waker>>,
    handlers: RefCell<Vec<Rc<dyn Handler>>>,
    io: RefCell<Io>,
    polls: RefCell<Slab<Readiness>>,
    ending: Cell<bool>,
    counts: Cell<LoopCounts>,
}

impl Local {
    /// Makes this thread a shard, with a ring of so many submission entries.
    ///
    /// # Errors
    /// The kernel refuses the ring.
    pub(crate) fn enter(entries: u32, eventfd: OwnedFd) -> io::Result<()> {
        let driver = Driver::new(entries)?;
        let sockets = Sockets::new(&driver)?;
        let local = Self {
            executor: Executor::new(Arc::new(Remote::new(eventfd))),
            timers: Timers::default(),
            turners: RefCell::default(),
            handlers: RefCell::default(),
            io: RefCell::new(Io { driver, sockets }),
            polls: RefCell::default(),
            ending: Cell::new(false),
            counts: Cell::default(),
        };
        local.listen_for_wakes();
        LOCAL.set(Some(Rc::new(local)));
        Ok(())
    }

    /// The shard that runs on this thread, if one does.
    pub(crate) fn current() -> Option<Rc<Self>> {
        LOCAL.with_borrow(Clone::clone)
    }

    /// Whether one does.
    pub(crate) fn is_here() -> bool {
        LOCAL.with_borrow(Option::is_some)
    }

    /// The same, where there must be one.
    ///
    /// # Panics
    /// Outside a shard.
    pub(crate) fn of_shard() -> Rc<Self> {
        match Self::current() {
            Some(local) => local,
            None => panic!("only for code that runs on a shard"),
        }
    }

    /// Queues a task of this thread's shard; false when it is another's.
    pub(crate) fn wake_here(remote: &Arc<Remote>, task: usize) -> bool {
        let woken = LOCAL.try_with(|local| match &*local.borrow() {
            Some(local) if Arc::ptr_eq(local.executor.remote(), remote) => {
                local.executor.wake(task);
                true
            }
            _ => false,
        });
        woken.unwrap_or(false)
    }

    /// What the loop has done so far. One system call.
    pub(crate) fn counts(&self) -> LoopCounts {
        LoopCounts { cpu_us: thread_cpu_us(), ..self.counts.get() }
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Starts a task that ends with the shard.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        if !self.ending.get() {
            self.executor.spawn(Box::pin(future));
        }
    }

    /// Wakes this once the ring has been entered and its completions are worked off.
    pub(crate) fn wake_after_turn(&self, waker: Waker) {
        self.turners.borrow_mut().push(waker);
    }

    pub(crate) fn add_handler(&self, handler: Rc<dyn Handler>) -> HandlerId {
        let mut handlers = self.handlers.borrow_mut();
        handlers.push(handler);
        HandlerId(u8::try_from(handlers.len() - 1).unwrap_or(u8::MAX))
    }

    /// Works on the sockets of the shard on this thread. Called for every send: it counts no references.
    ///
    /// # Panics
    /// Outside a shard.
    pub(crate) fn on_sockets<T>(work: impl FnOnce(&mut Sockets, &mut Driver) -> T) -> T {
        LOCAL.with_borrow(|local| match local {
            Some(local) => local.with_sockets(work),
            None => panic!("only for code that runs on a shard"),
        })
    }

    fn with_sockets<T>(&self, work: impl FnOnce(&mut Sockets, &mut Driver) -> T) -> T {
        let Io { driver, sockets } = &mut *self.io.borrow_mut();
        work(sockets, driver)
    }

    /// Runs the main future to its end, and everything else meanwhile.
    ///
    /// # Errors
    /// The ring is useless.
    pub(crate) fn run<F: Future>(&self, mut main: Pin<&mut F>) -> io::Result<F::Output> {
        let mut completions = VecDeque::new();
        loop {
            for _ in 0..ROUNDS_MAX {
                self.executor.gather();
                let ready = self.executor.ready();
                if ready == 0 {
                    break;
                }
                self.count(|counts| counts.polls += ready as u64);
                for _ in 0..ready {
                    match self.executor.next() {
                        Some(MAIN) => {
                            let waker = self.executor.main_waker();
                            if let Poll::Ready(output) = main.as_mut().poll(&mut Context::from_waker(&waker)) {
                                return Ok(output);
                            }
                        }
                        Some(task) => self.executor.poll(task),
                        None => break,
                    }
                }
            }
            let idle = self.executor.ready() == 0 && self.turners.borrow().is_empty() && completions.is_empty();
            let wait = (idle && self.executor.remote().fall_asleep()).then_some(None);
            self.turn(wait, &mut completions)?;
        }
    }

    /// Hands over, waits, and works off what the kernel says, as much as a turn may; the rest stays in `completions`.
    fn turn(&self, wait: Option<Option<Duration>>, completions: &mut VecDeque<Completion>) -> io::Result<()> {
        {
            let Io { driver, sockets } = &mut *self.io.borrow_mut();
            let before = completions.len();
            if let Some(Setting { time, again }) = self.timers.set() {
                driver.set_timer(time, again);
            }
            driver.enter(wait, completions)?;
            completions
                .iter()
                .skip(before)
                .filter(|entry| entry.operation == Operation::Try)
                .for_each(|entry| sockets.refused(entry));
            sockets.settle(driver);
        }
        self.executor.remote().wake_up();
        let count = completions.len().min(COMPLETIONS_MAX);
        self.count(|counts| {
            counts.turns += 1;
            counts.completions += count as u64;
        });
        for completion in completions.drain(..count) {
            self.complete(&completion);
        }
        let turners = std::mem::take(&mut *self.turners.borrow_mut());
        turners.into_iter().for_each(Waker::wake);
        Ok(())
    }

    fn complete(&self, completion: &Completion) {
        let told = match completion.operation {
            Operation::Receive => self.with_sockets(|sockets, driver| sockets.received(driver, completion)),
            Operation::Wait => self.with_sockets(|sockets, driver| sockets.waited(driver, completion)),
            Operation::Shutdown => return self.with_sockets(|sockets, driver| sockets.shut(driver, completion)),
            Operation::Close => return self.with_sockets(|sockets, _| sockets.closed(completion)),
            Operation::Poll => return self.polled(completion),
            Operation::Timer => return self.timers.fire(),
            Operation::Wake => {
                self.count(|counts| counts.wakes += 1);
                if !completion.more {
                    self.listen_for_wakes();
                }
                return;
            }
            Operation::Try | Operation::Ignored => return,
        };
        match told {
            Some(Told::Received(handler, token, mut lease)) => {
                if let Some(handler) = self.handler(handler) {
                    handler.handle_received(token, lease.bytes());
                }
                self.with_sockets(|sockets, _| sockets.give(lease));
            }
            Some(Told::End(handler, token)) => {
                if let Some(handler) = self.handler(handler) {
                    handler.handle_end(token);
                }
            }
            Some(Told::Sent(handler, token)) => {
                if let Some(handler) = self.handler(handler) {
                    handler.handle_sent(token);
                }
            }
            None => {}
        }
    }

    fn handler(&self, handler: HandlerId) -> Option<Rc<dyn Handler>> {
        self.handlers.borrow().get(usize::from(handler.0)).cloned()
    }

    fn count(&self, add: impl FnOnce(&mut LoopCounts)) {
        let mut counts = self.counts.get();
        add(&mut counts);
        self.counts.set(counts);
    }

    /// Every write to the eventfd completes this poll, whatever its count is: it is never read.
    fn listen_for_wakes(&self) {
        let poll = opcode::PollAdd::new(Fd(self.executor.remote().eventfd()), libc::POLLIN as u32).multi(true).build();
        // SAFETY: it points to nothing; the eventfd is open as long as the ring.
        self.with_sockets(|_, driver| unsafe { driver.push(poll.user_data(Operation::Wake.data(0))) });
    }

    /// A number for polls of one descriptor.
    pub(crate) fn new_poll(&self) -> usize {
        self.polls.borrow_mut().insert(Readiness::default())
    }

    /// Ready when the descriptor of this poll can be read.
    pub(crate) fn poll_readable(&self, number: usize, descriptor: RawFd, context: &mut Context<'_>) -> Poll<()> {
        let mut polls = self.polls.borrow_mut();
        let Some(found) = polls.get_mut(number) else { return Poll::Pending };
        if std::mem::take(&mut found.ready) {
            return Poll::Ready(());
        }
        found.waker = Some(context.waker().clone());
        if !std::mem::replace(&mut found.armed, true) {
            let poll = opcode::PollAdd::new(Fd(descriptor), libc::POLLIN as u32).build();
            // SAFETY: it points to nothing.
            self.with_sockets(|_, driver| unsafe { driver.push(poll.user_data(Operation::Poll.data(number))) });
        }
        Poll::Pending
    }

    fn polled(&self, completion: &Completion) {
        let waker = {
            let mut polls = self.polls.borrow_mut();
            let Some(found) = polls.get_mut(completion.number) else { return };
            found.armed = false;
            found.ready = true;
            let waker = found.waker.take();
            if found.given_up {
                polls.remove(completion.number);
            }
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Gives a poll up; the kernel lets go of its descriptor.
    pub(crate) fn end_poll(&self, number: usize) {
        let mut polls = self.polls.borrow_mut();
        let Some(found) = polls.get_mut(number) else { return };
        let waker = found.waker.take();
        if found.armed {
            found.given_up = true;
            let cancel = opcode::AsyncCancel::new(Operation::Poll.data(number)).build();
            // SAFETY: it points to nothing.
            self.with_sockets(|_, driver| unsafe { driver.push(cancel.user_data(Operation::Ignored.data(0))) });
        } else {
            polls.remove(number);
        }
        drop(polls);
        drop(waker);
    }

    /// Drops every task and handler on this thread, lets the kernel close what is open, then drops this state itself.
    pub(crate) fn end() {
        let Some(local) = Self::current() else { return };
        local.ending.set(true);
        drop(local.executor.take_all());
        let handlers = std::mem::take(&mut *local.handlers.borrow_mut());
        drop(handlers);
        let mut completions = VecDeque::new();
        // One turn at least: what the drops queued must go out.
        for _ in 0..END_TURNS_MAX {
            let mut over = local.turn(Some(Some(END_TURN)), &mut completions).is_err();
            while !over && !completions.is_empty() {
                over = local.turn(None, &mut completions).is_err();
            }
            if over || local.with_sockets(|sockets, _| sockets.open()) == 0 && local.polls.borrow().is_empty() {
                break;
            }
        }
        let local = LOCAL.take();
        if local.as_ref().is_some_and(|local| local.with_sockets(|sockets, _| sockets.open()) > 0) {
            tracing::error!(
                "connections of a shard did not close; its buffers are leaked, since the kernel may use them"
            );
            std::mem::forget(local);
        }
    }

    /// Leaks this thread's state after a panic: its operations may still be under way.
    pub(crate) fn abandon() {
        std::mem::forget(LOCAL.take());
    }
}

/// Processor time of this thread.
fn thread_cpu_us() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes the timespec to which the pointer leads.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}
