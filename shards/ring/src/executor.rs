//! The tasks of a shard, and how they are woken: by the shard itself, or from another thread.
//!
//! Belongs to the shard's thread, but for [`Remote`], which wakers on other threads share. A task woken here goes into
//! a plain queue; one woken from elsewhere goes into a lock-free queue, and an eventfd in the shard's ring is written
//! if the shard sleeps.
//!
//! Why no wake is lost: the waker publishes the task, then reads `asleep`; the shard sets `asleep`, then looks at the
//! queue; between each pair stands a sequentially consistent fence, so at least one of the two sees the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::{Context, Wake, Waker};

use crossbeam_queue::SegQueue;
use slab::Slab;

use crate::local::Local;

/// Number of the shard's main future, which is in no slab.
pub(crate) const MAIN: usize = usize::MAX;

/// What wakers on other threads share with the shard.
pub(crate) struct Remote {
    woken: SegQueue<usize>,
    asleep: AtomicBool,
    eventfd: OwnedFd,
}

impl Remote {
    pub(crate) fn new(eventfd: OwnedFd) -> Self {
        Self { woken: SegQueue::new(), asleep: AtomicBool::new(false), eventfd }
    }

    pub(crate) fn eventfd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    fn wake(&self, task: usize) {
        self.woken.push(task);
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            // It fails only when the count is full, and then the eventfd is readable anyway.
            let _ = rustix::io::write(self.eventfd.as_fd(), &1_u64.to_ne_bytes());
        }
    }

    /// Says that the shard is about to sleep; false when it must not, since somebody was woken.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.woken.is_empty() {
            return true;
        }
        self.asleep.store(false, Ordering::Relaxed);
        false
    }

    pub(crate) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// The waker of one task.
struct TaskWaker {
    task: usize,
    /// It stands in a queue already.
    queued: AtomicBool,
    remote: Arc<Remote>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        if !Local::wake_here(&self.remote, self.task) {
            self.remote.wake(self.task);
        }
    }
}

struct Task {
    /// None while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Arc<TaskWaker>,
}

/// The tasks of a shard and the queue of those to be polled.
pub(crate) struct Executor {
    tasks: RefCell<Slab<Task>>,
    ready: RefCell<VecDeque<usize>>,
    main: Arc<TaskWaker>,
    remote: Arc<Remote>,
}

impl Executor {
    pub(crate) fn new(remote: Arc<Remote>) -> Self {
        let main = Arc::new(TaskWaker { task: MAIN, queued: AtomicBool::new(true), remote: Arc::clone(&remote) });
        Self { tasks: RefCell::default(), ready: RefCell::new(VecDeque::from([MAIN])), main, remote }
    }

    pub(crate) fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Adds a task; it is polled when its turn comes.
    pub(crate) fn spawn(&self, future: Pin<Box<dyn Future<Output = ()>>>) {
        let mut tasks = self.tasks.borrow_mut();
        let entry = tasks.vacant_entry();
        let task = entry.key();
        let waker = TaskWaker { task, queued: AtomicBool::new(true), remote: Arc::clone(&self.remote) };
        entry.insert(Task { future: Some(future), waker: Arc::new(waker) });
        self.wake(task);
    }

    /// Puts a task into the queue.
    pub(crate) fn wake(&self, task: usize) {
        self.ready.borrow_mut().push_back(task);
    }

    /// Takes over what other threads woke.
    pub(crate) fn gather(&self) {
        while let Some(task) = self.remote.woken.pop() {
            self.wake(task);
        }
    }

    /// Tasks that wait to be polled.
    pub(crate) fn ready(&self) -> usize {
        self.ready.borrow().len()
    }

    /// The next to be polled.
    pub(crate) fn next(&self) -> Option<usize> {
        self.ready.borrow_mut().pop_front()
    }

    /// The main future's waker, ready to be queued again.
    pub(crate) fn main_waker(&self) -> Waker {
        self.main.queued.store(false, Ordering::Release);
        Waker::from(Arc::clone(&self.main))
    }

    /// Polls a task, unless it ended before.
    pub(crate) fn poll(&self, task: usize) {
        let (mut future, waker) = {
            let mut tasks = self.tasks.borrow_mut();
            let Some(found) = tasks.get_mut(task) else { return };
            let Some(future) = found.future.take() else { return };
            (future, Arc::clone(&found.waker))
        };
        // Before the poll: what wakes it from here on must queue it again.
        waker.queued.store(false, Ordering::Release);
        let waker = Waker::from(waker);
        let done = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if done {
            // The future's drop may start or wake others, so the slab is not held.
            drop(future);
            drop(self.tasks.borrow_mut().try_remove(task));
        } else if let Some(found) = self.tasks.borrow_mut().get_mut(task) {
            found.future = Some(future);
        }
    }

    /// Takes all tasks out, to be dropped by the caller with nothing borrowed.
    pub(crate) fn take_all(&self) -> Vec<Pin<Box<dyn Future<Output = ()>>>> {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        tasks.into_iter().filter_map(|(_, task)| task.future).collect()
    }
}
