//! What a shard's thread keeps for itself: its tasks, and a way to let the ring have a turn.
//!
//! Lives in a thread-local of the shard's thread, from before its main future starts to after its
//! last task is gone. Everything here is dropped inside the runtime: monoio closes descriptors through
//! the ring, and a task left behind would be freed by whichever thread drops its last waker.
//!
//! Invariant: after [`Local::end`] no task started by [`Local::spawn`] holds a future.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use monoio::net::TcpStream;
use slab::Slab;

/// Turns given to the ring after the last task is dropped: one submits the cancellations, one reaps
/// them and queues the closes, one submits those; the rest is reserve.
const END_TURNS: u32 = 8;

thread_local! {
    static LOCAL: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// State of the shard that runs on this thread.
pub(crate) struct Local {
    tasks: RefCell<Slab<Option<Waker>>>,
    ending: Cell<bool>,
    /// An eventfd that is always readable: polling it completes on the ring's next turn.
    always_ready: TcpStream,
}

impl Local {
    /// Makes this thread a shard. Must be called inside `block_on`; `always_ready` is an eventfd with a
    /// count above zero.
    pub(crate) fn enter(always_ready: OwnedFd) -> std::io::Result<()> {
        let always_ready = TcpStream::from_std(std::net::TcpStream::from(always_ready))?;
        let local = Self { tasks: RefCell::default(), ending: Cell::new(false), always_ready };
        LOCAL.set(Some(Rc::new(local)));
        Ok(())
    }

    /// The shard that runs on this thread, if one does.
    pub(crate) fn current() -> Option<Rc<Self>> {
        LOCAL.with_borrow(Clone::clone)
    }

    /// Drops every task inside the runtime, then this state itself. Must be the last thing awaited.
    pub(crate) async fn end() {
        let Some(local) = Self::current() else { return };
        local.ending.set(true);
        // A task's drop may wake others, so the list is not held while waking.
        let wakers: Vec<Waker> = local.tasks.borrow().iter().filter_map(|(_, waker)| waker.clone()).collect();
        wakers.into_iter().for_each(Waker::wake);
        for _ in 0..END_TURNS {
            local.turn().await;
        }
        LOCAL.set(None);
    }

    /// Leaks this thread's state after a panic: its descriptors cannot be closed outside the runtime.
    pub(crate) fn abandon() {
        std::mem::forget(LOCAL.take());
    }

    /// Completes once the ring has been entered and its completions worked off.
    pub(crate) async fn turn(&self) {
        // An error means that the poll was refused; the ring has been entered all the same.
        let _ = self.always_ready.readable(true).await;
    }

    /// Starts a task that ends with the shard.
    pub(crate) fn spawn<F: Future<Output = ()> + 'static>(self: Rc<Self>, future: F) {
        if self.ending.get() {
            return;
        }
        let key = self.tasks.borrow_mut().insert(None);
        monoio::spawn(Task { future: Some(Box::pin(future)), key, known: false, local: self });
    }
}

/// A task's future, which the end of the shard can take away. It is boxed so that the task needs no
/// pin projection, and so that the end frees it whoever still holds a waker.
struct Task<F> {
    future: Option<Pin<Box<F>>>,
    key: usize,
    known: bool,
    local: Rc<Local>,
}

impl<F: Future<Output = ()>> Future for Task<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.local.ending.get() {
            self.future = None;
        }
        let Some(future) = self.future.as_mut() else { return Poll::Ready(()) };
        if future.as_mut().poll(context).is_ready() {
            self.future = None;
            return Poll::Ready(());
        }
        if !self.known {
            self.known = true;
            // A task's waker is the same for all its life.
            if let Some(waker) = self.local.tasks.borrow_mut().get_mut(self.key) {
                *waker = Some(context.waker().clone());
            }
        }
        Poll::Pending
    }
}

impl<F> Drop for Task<F> {
    fn drop(&mut self) {
        let _ = self.local.tasks.borrow_mut().try_remove(self.key);
    }
}
