//! The bounded way from many threads to one.
//!
//! Whoever hands over never waits, takes no lock and makes no system call; what finds no room is dropped and counted.
//! Whoever takes comes by now and then: nobody wakes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_queue::ArrayQueue;

/// Both ends of it; clones are of the same lane.
#[derive(Debug)]
pub struct Lane<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    queue: ArrayQueue<T>,
    dropped: AtomicU64,
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Lane<T> {
    /// With room for so many; at least for one.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Shared { queue: ArrayQueue::new(max.max(1)), dropped: AtomicU64::new(0) }))
    }

    /// Hands one over, or drops and counts it.
    pub fn offer(&self, one: T) {
        if self.0.queue.push(one).is_err() {
            self.0.dropped.fetch_add(1, Relaxed);
        }
    }

    /// The oldest one.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        self.0.queue.pop()
    }

    /// How many were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let lane = Lane::new(2);
        let other_end = lane.clone();
        (1..=5).for_each(|one| lane.offer(one));
        assert_eq!((other_end.take(), other_end.take(), other_end.take()), (Some(1), Some(2), None));
        assert_eq!(other_end.dropped(), 3);
        lane.offer(6);
        assert_eq!((other_end.take(), other_end.dropped()), (Some(6), 3));
    }
}
