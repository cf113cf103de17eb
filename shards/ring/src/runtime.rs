//! The thread of a shard: pinned, with a ring of its own, running one main future to its end.
//!
//! Owns the thread and its ring. Nothing here is shared between shards. When the main future returns, every task
//! started with [`spawn_local`] and every handler is dropped on the thread and its sockets are closed; a panic on a
//! shard ends its thread and comes back through [`ShardHandle::join`].
//!
//! Tasks are for what happens seldom: a listener, a mailbox, a clock. Connections have none; the loop calls their
//! [`Handler`].

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::local::Local;
pub use crate::local::LoopCounts;
use crate::sockets::{Handler, HandlerId};
pub use crate::support::{Support, Unsupported, check_support};
use crate::timers::TimerKey;

/// Fewest submission entries of a shard's ring. With fewer, a burst costs extra system calls.
pub const ENTRIES_MIN: u32 = 4_096;

/// Which shard a thread is, and where it runs.
#[derive(Debug, Clone)]
pub struct ShardThread {
    /// Number of the shard, from 0; it is part of the thread's name.
    pub index: usize,
    /// The core the thread is pinned to, if any.
    pub core: Option<usize>,
    /// Submission entries of the ring; raised to [`ENTRIES_MIN`] if lower.
    pub entries: u32,
}

/// Why a shard did not start. Its main future was never run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel refused the ring.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The core does not exist, or is not among those this process may use.
    #[error("shard {index} cannot be pinned to core {core}: {source}")]
    Pin {
        /// The shard.
        index: usize,
        /// The core it asked for.
        core: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// No thread or descriptor could be had.
    #[error("shard {index} cannot start: {source}")]
    System {
        /// The shard.
        index: usize,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A started shard. Dropping it lets the shard run on.
#[derive(Debug)]
pub struct ShardHandle<T> {
    thread: std::thread::JoinHandle<Option<T>>,
}

impl<T> ShardHandle<T> {
    /// Waits for the shard's end and gives what its main future returned.
    ///
    /// # Errors
    ///
    /// The panic's payload, if the shard panicked.
    pub fn join(self) -> std::thread::Result<T> {
        self.thread.join()?.ok_or_else(|| Box::new("the shard was not started") as Box<dyn std::any::Any + Send>)
    }

    /// Whether the shard has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts the thread of a shard and runs the future that `main` makes on it to the end.
///
/// Returns once the ring stands, so a machine that cannot run shards says so here.
///
/// # Errors
///
/// [`StartError`] when the ring, the pinning or the thread is refused; `main` has not run then.
pub fn spawn<F, Fut, T>(thread: ShardThread, main: F) -> Result<ShardHandle<T>, StartError>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let index = thread.index;
    let (started, start) = mpsc::sync_channel(1);
    // The kernel keeps 15 bytes of a thread's name: past shard 9 the last hyphen goes.
    let name = if index < 10 { format!("ringway-shard-{index}") } else { format!("ringway-shard{index}") };
    let handle = std::thread::Builder::new()
        .name(name)
        .spawn(move || match prepare(&thread) {
            Ok(()) => {
                // The spawner waits for this; it cannot be gone.
                let _ = started.send(Ok(()));
                Some(run(main))
            }
            Err(error) => {
                let _ = started.send(Err(error));
                None
            }
        })
        .map_err(|source| StartError::System { index, source })?;
    match start.recv() {
        Ok(Ok(())) => Ok(ShardHandle { thread: handle }),
        Ok(Err(error)) => Err(error),
        Err(_gone) => Err(StartError::System { index, source: io::Error::other("its thread ended at once") }),
    }
}

/// Pins the thread and sets up its ring. The ring belongs to the thread that makes it.
fn prepare(thread: &ShardThread) -> Result<(), StartError> {
    let index = thread.index;
    if let Some(core) = thread.core {
        let mut cores = CpuSet::new();
        let pinned = if core < CpuSet::MAX_CPU {
            cores.set(core);
            sched_setaffinity(None, &cores)
        } else {
            Err(rustix::io::Errno::INVAL)
        };
        pinned.map_err(|error| StartError::Pin { index, core, source: error.into() })?;
    }
    let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|error| StartError::System { index, source: error.into() })?;
    Local::enter(thread.entries.max(ENTRIES_MIN), eventfd).map_err(|error| Unsupported::from_setup(&error))?;
    Ok(())
}

fn run<F, Fut, T>(main: F) -> T
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = T>,
{
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let local = Local::of_shard();
        let output = local.run(std::pin::pin!(main()));
        Local::end();
        output
    }));
    match ran {
        Ok(Ok(output)) => output,
        // Nothing can be carried any more; whoever joins must know.
        Ok(Err(error)) => panic!("the ring of this shard has failed: {error}"),
        Err(panic) => {
            // Operations may be under way: what they read and write must stay.
            Local::abandon();
            resume_unwind(panic)
        }
    }
}

/// Whether this thread runs a shard.
#[must_use]
pub fn on_shard() -> bool {
    Local::is_here()
}

/// Starts a task on this shard; it lives until it is done or the shard's main future returns.
///
/// Safe to call from the main future and from other tasks. A task started while the shard ends is
/// dropped at once.
///
/// # Panics
///
/// Outside a shard started with [`spawn`].
pub fn spawn_local<F: Future<Output = ()> + 'static>(future: F) {
    match Local::current() {
        Some(local) => local.spawn(future),
        None => panic!("spawn_local is only for code that runs on a shard"),
    }
}

/// Registers who is called for sockets that are [attached](crate::socket::Accepted::attach) to it. It lives until the
/// shard's end.
///
/// # Panics
///
/// Outside a shard.
pub fn add_handler(handler: Rc<dyn Handler>) -> HandlerId {
    Local::of_shard().add_handler(handler)
}

/// What this shard's loop has done; `None` on any other thread. One system call: not for every message.
#[must_use]
pub fn loop_counts() -> Option<LoopCounts> {
    Local::current().map(|local| local.counts())
}

/// Waits this many milliseconds or a little longer. Dropping it cancels the timer.
///
/// # Panics
///
/// Outside a shard.
pub async fn sleep(ms: u64) {
    /// Takes the sleeper out, whether it woke or was given up.
    struct Sleeper(Rc<Local>, TimerKey);
    impl Drop for Sleeper {
        fn drop(&mut self) {
            self.0.timers().remove(self.1);
        }
    }
    let local = Local::of_shard();
    let key = local.timers().key(ms);
    let sleeper = Sleeper(local, key);
    std::future::poll_fn(|context| {
        if Instant::now() >= key.0 {
            return Poll::Ready(());
        }
        sleeper.0.timers().enter(key, context.waker().clone());
        Poll::Pending
    })
    .await;
}

/// Waits for `future` for at most this many milliseconds; `None` when they are over, and it is dropped.
///
/// # Panics
///
/// Outside a shard.
pub async fn timeout<F: Future>(ms: u64, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut over = std::pin::pin!(sleep(ms));
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => over.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Lets everything else go on: I/O, timers, other tasks. Call it between bounded pieces of long work.
///
/// On a shard it completes once the ring has been entered and its completions worked off; on another
/// executor it gives way once. Dropping it is harmless.
pub async fn turn() {
    let mut given_way = false;
    std::future::poll_fn(|context| {
        if given_way {
            return Poll::Ready(());
        }
        given_way = true;
        match Local::current() {
            Some(local) => local.wake_after_turn(context.waker().clone()),
            None => context.waker().wake_by_ref(),
        }
        Poll::Pending
    })
    .await;
}
