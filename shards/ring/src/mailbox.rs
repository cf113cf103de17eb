//! Bounded mailboxes between threads: one single-producer ring for each pair, one wake for a batch.
//!
//! ```text
//!  sender 0 ──ring──┐
//!  sender 1 ──ring──┼──▶ inbox (one thread drains; one waker; one "sleeping" flag)
//!  sender 2 ──ring──┘
//! ```
//!
//! A [`Sender`] belongs to one thread, an [`Inbox`] to one task. A full ring gives the item back to the
//! sender, who decides. Pushed items are seen by a receiver that is awake at once, and by one that
//! sleeps only after [`Sender::flush`]: flush at the end of each piece of work, once.
//!
//! Why no wake is lost: the sender publishes its item, then reads `sleeping`; the receiver sets
//! `sleeping`, then looks at the rings; between each pair stands a sequentially consistent fence, so at
//! least one of the two sees the other.
//!
//! Works on a shard and on any other executor: the receiver's plain `Waker` is all that is used. Dropping
//! [`Inbox::wait`] loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::task::Poll;

use atomic_waker::AtomicWaker;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use crate::runtime;

/// Items taken from one ring before the next has its turn.
const RING_SLICE_MAX: usize = 64;

/// What the senders and the receiver of one inbox share.
struct Shared {
    waker: AtomicWaker,
    sleeping: AtomicBool,
    senders: AtomicUsize,
}

impl Shared {
    /// Wakes the receiver if it sleeps. What it shall see must have been published before.
    fn wake_sleeper(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel) {
            self.waker.wake();
        }
    }
}

/// The sending end of one ring. Dropping it flushes it and counts it as gone.
pub struct Sender<T> {
    ring: Producer<T>,
    shared: Arc<Shared>,
    unflushed: bool,
}

impl<T> Sender<T> {
    /// Puts an item into the ring. A receiver that sleeps is not woken before [`Sender::flush`].
    ///
    /// # Errors
    ///
    /// The item itself, when the ring is full or (see [`Sender::is_closed`]) nobody will read it. What
    /// was pushed before is flushed then, so that a sleeping receiver makes room.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.ring.is_abandoned() {
            return Err(item);
        }
        match self.ring.push(item) {
            Ok(()) => {
                self.unflushed = true;
                Ok(())
            }
            Err(PushError::Full(item)) => {
                self.flush();
                Err(item)
            }
        }
    }

    /// Wakes the receiver if it sleeps and something was pushed since the last flush.
    pub fn flush(&mut self) {
        if std::mem::take(&mut self.unflushed) {
            self.shared.wake_sleeper();
        }
    }

    /// Items that certainly fit now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.ring.slots()
    }

    /// Whether the inbox is gone; nothing pushed will be read any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ring.is_abandoned()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        // Pairs with the acquire in `Inbox::is_closed`: who sees the count sees the last items.
        self.shared.senders.fetch_sub(1, Ordering::AcqRel);
        self.shared.wake_sleeper();
    }
}

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sender").field("free", &self.free()).field("closed", &self.is_closed()).finish()
    }
}

/// The receiving end of all the rings that lead to one thread.
pub struct Inbox<T> {
    /// By sender; `None` where a thread would send to itself.
    rings: Vec<Option<Consumer<T>>>,
    shared: Arc<Shared>,
    /// The ring that the next drain begins with.
    next: usize,
    /// Sleeps that a sender has ended, since the start.
    woken: u64,
}

impl<T> Inbox<T> {
    /// Takes up to `max` items, giving each with the number of its sender, and says how many.
    ///
    /// The items of one sender come in its order; senders take turns, and the next call goes on with the
    /// sender after the last one served.
    pub fn drain(&mut self, max: usize, on: &mut dyn FnMut(usize, T)) -> usize {
        let count = self.rings.len();
        let mut taken = 0;
        // Consecutive rings found without more to give; a full round of them means empty.
        let mut dry = 0;
        while taken < max && dry < count {
            let sender = self.next;
            self.next = if sender + 1 < count { sender + 1 } else { 0 };
            let share = RING_SLICE_MAX.min(max - taken);
            let got = match self.rings.get_mut(sender) {
                Some(Some(ring)) => take(ring, share, |item| on(sender, item)),
                _ => 0,
            };
            taken += got;
            dry = if got < share { dry + 1 } else { 0 };
        }
        taken
    }

    /// Returns `true` when something is there, `false` when nothing is and all senders are gone.
    ///
    /// Always lets the rest of the thread go on when there is no pause between messages, so a loop of
    /// `wait` and a bounded `drain` starves nobody. May be dropped at any time.
    pub async fn wait(&mut self) -> bool {
        if !self.is_empty() {
            runtime::turn().await;
        }
        let mut slept = false;
        let ready = std::future::poll_fn(|context| {
            if let Some(ready) = self.readiness() {
                return Poll::Ready(ready);
            }
            self.shared.waker.register(context.waker());
            // Release: who swaps this flag finds the waker registered.
            self.shared.sleeping.store(true, Ordering::Release);
            fence(Ordering::SeqCst);
            match self.readiness() {
                Some(ready) => {
                    self.shared.sleeping.store(false, Ordering::Relaxed);
                    Poll::Ready(ready)
                }
                None => {
                    slept = true;
                    Poll::Pending
                }
            }
        })
        .await;
        self.woken += u64::from(slept);
        ready
    }

    /// Items that wait in all rings together.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.rings.iter().flatten().map(Consumer::slots).sum()
    }

    /// How often a sender has woken this inbox out of its sleep; a batch that finds it awake wakes nobody.
    #[must_use]
    pub fn woken(&self) -> u64 {
        self.woken
    }

    /// Whether no item waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rings.iter().flatten().all(Consumer::is_empty)
    }

    /// Whether all senders are gone and nothing of theirs is left.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.senders.load(Ordering::Acquire) == 0 && self.is_empty()
    }

    /// `Some(true)`: something is there; `Some(false)`: nothing ever will be; `None`: not yet.
    fn readiness(&self) -> Option<bool> {
        // The count is read first: a sender's last items are published before it is gone.
        let gone = self.shared.senders.load(Ordering::Acquire) == 0;
        if !self.is_empty() {
            return Some(true);
        }
        gone.then_some(false)
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        // The waker keeps a task of this thread alive: it must not be left for a sender to drop.
        self.shared.sleeping.store(false, Ordering::Release);
        drop(self.shared.waker.take());
    }
}

impl<T> std::fmt::Debug for Inbox<T> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inbox").field("depth", &self.depth()).field("rings", &self.rings.len()).finish()
    }
}

fn take<T>(ring: &mut Consumer<T>, max: usize, mut on: impl FnMut(T)) -> usize {
    let mut taken = 0;
    while taken < max {
        let Ok(item) = ring.pop() else { break };
        on(item);
        taken += 1;
    }
    taken
}

/// An inbox with this many senders, numbered from 0, each with a ring of `capacity` items.
#[must_use]
pub fn inbox<T>(senders: usize, capacity: usize) -> (Vec<Sender<T>>, Inbox<T>) {
    let (ends, inbox) = build((0..senders).map(|_| true), capacity);
    (ends.into_iter().flatten().collect(), inbox)
}

/// The ends that one thread of a [`mesh`] holds: a sender to each thread (`None` to itself), its inbox.
pub type MeshEnds<T> = (Vec<Option<Sender<T>>>, Inbox<T>);

/// Joins `threads` threads, each to each other, by rings of `capacity` items.
///
/// Element `i` is for thread `i`; in its inbox, an item's sender is the number of the thread it is from.
#[must_use]
pub fn mesh<T>(threads: usize, capacity: usize) -> Vec<MeshEnds<T>> {
    let mut senders: Vec<Vec<Option<Sender<T>>>> = (0..threads).map(|_| Vec::with_capacity(threads)).collect();
    let mut inboxes = Vec::with_capacity(threads);
    for receiver in 0..threads {
        let (ends, inbox) = build((0..threads).map(|sender| sender != receiver), capacity);
        senders.iter_mut().zip(ends).for_each(|(of_thread, end)| of_thread.push(end));
        inboxes.push(inbox);
    }
    senders.into_iter().zip(inboxes).collect()
}

fn build<T>(wanted: impl Iterator<Item = bool>, capacity: usize) -> (Vec<Option<Sender<T>>>, Inbox<T>) {
    let shared =
        Arc::new(Shared { waker: AtomicWaker::new(), sleeping: AtomicBool::new(false), senders: AtomicUsize::new(0) });
    let mut senders = Vec::new();
    let mut rings = Vec::new();
    for wanted in wanted {
        if !wanted {
            senders.push(None);
            rings.push(None);
            continue;
        }
        let (producer, consumer) = RingBuffer::new(capacity);
        shared.senders.fetch_add(1, Ordering::Relaxed);
        senders.push(Some(Sender { ring: producer, shared: Arc::clone(&shared), unflushed: false }));
        rings.push(Some(consumer));
    }
    (senders, Inbox { rings, shared, next: 0, woken: 0 })
}
