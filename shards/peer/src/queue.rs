//! What waits to be written on one connection: bounded in bytes, in order, taken in one go.
//!
//! Any task pushes; the connection's writer alone takes. A word that does not fit is dropped and the caller told; an
//! ask has twice the room, so that words do not push asks out; an answer always fits, because as many asks are read
//! as the server has bounds for. A `take` that is dropped has taken nothing.
//!
//! **Amends.** A queue that was given amends says them first, as nobody knows what was said before it was there, and
//! again, once all that waits is taken, if a word did not fit.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::frame::HEADER_BYTES;
use crate::sync::lock;

/// A frame that has not got its tag yet.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) kind: u8,
    pub(crate) request: u64,
    pub(crate) body: Bytes,
}

impl Outgoing {
    fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// Why a frame was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotQueued {
    /// No room.
    Full,
    /// The connection is ending.
    Closed,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Something was pushed, or the queue closed.
    pushed: Notify,
    /// Something was taken.
    taken: Notify,
    bytes_max: usize,
    amends: Option<Outgoing>,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Outgoing>,
    bytes: usize,
    /// Words were lost, and amends are to be made.
    lacking: bool,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(bytes_max: usize, amends: Option<Outgoing>) -> Self {
        let state = State { lacking: amends.is_some(), ..State::default() };
        Self { state: Mutex::new(state), pushed: Notify::new(), taken: Notify::new(), bytes_max, amends }
    }

    /// Queues a word, or refuses it.
    pub(crate) fn push_word(&self, frame: Outgoing) -> Result<(), NotQueued> {
        let pushed = self.push(frame, self.bytes_max, false);
        if pushed == Err(NotQueued::Full) && self.amends.is_some() {
            lock(&self.state).lacking = true;
        }
        pushed
    }

    /// Queues an ask, or refuses it.
    pub(crate) fn push_ask(&self, frame: Outgoing) -> Result<(), NotQueued> {
        self.push(frame, self.bytes_max.saturating_mul(2), false)
    }

    /// Queues an answer. Refused only when nobody will write it.
    pub(crate) fn push_answer(&self, frame: Outgoing) -> Result<(), NotQueued> {
        self.push(frame, usize::MAX, false)
    }

    /// Queues a frame before all others, whose order it does not touch.
    pub(crate) fn push_urgent(&self, frame: Outgoing) -> Result<(), NotQueued> {
        self.push(frame, usize::MAX, true)
    }

    fn push(&self, frame: Outgoing, bytes_max: usize, first: bool) -> Result<(), NotQueued> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(NotQueued::Closed);
        }
        let bytes = state.bytes.saturating_add(frame.bytes());
        if bytes > bytes_max {
            return Err(NotQueued::Full);
        }
        state.bytes = bytes;
        if first {
            state.frames.push_front(frame);
        } else {
            state.frames.push_back(frame);
        }
        drop(state);
        self.pushed.notify_one();
        Ok(())
    }

    /// Takes frames in order, up to so many bytes but at least one, as soon as there is one. Empty once the queue is
    /// closed and nothing is left.
    pub(crate) async fn take(&self, bytes_max: usize) -> Vec<Outgoing> {
        loop {
            {
                let mut state = lock(&self.state);
                let mut taken = state.take(bytes_max);
                if state.lacking && state.frames.is_empty() {
                    state.lacking = false;
                    taken.extend(self.amends.clone());
                }
                if !taken.is_empty() || state.closed {
                    drop(state);
                    self.taken.notify_one();
                    return taken;
                }
            }
            self.pushed.notified().await;
        }
    }

    /// Returns once no more than the bound waits.
    pub(crate) async fn has_room(&self) {
        loop {
            {
                let state = lock(&self.state);
                if state.bytes <= self.bytes_max || state.closed {
                    return;
                }
            }
            self.taken.notified().await;
        }
    }

    /// Takes no more; what waits can still be taken.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.pushed.notify_one();
        self.taken.notify_one();
    }

    /// Whether it takes no more.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }
}

impl State {
    fn take(&mut self, bytes_max: usize) -> Vec<Outgoing> {
        let mut bytes = 0;
        let mut count = 0;
        for frame in &self.frames {
            bytes += frame.bytes();
            if count > 0 && bytes > bytes_max {
                break;
            }
            count += 1;
        }
        let taken: Vec<Outgoing> = self.frames.drain(..count).collect();
        self.bytes -= taken.iter().map(Outgoing::bytes).sum::<usize>();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    fn frame(request: u64, body: usize) -> Outgoing {
        Outgoing { kind: 16, request, body: Bytes::from(vec![0; body]) }
    }

    fn waiting(queue: &Queue) -> usize {
        lock(&queue.state).bytes
    }

    fn requests(taken: &[Outgoing]) -> Vec<u64> {
        taken.iter().map(|frame| frame.request).collect()
    }

    #[test]
    fn words_are_refused_first_then_asks_and_answers_never() {
        let queue = Queue::new(2 * HEADER_BYTES, None);
        assert_eq!(queue.push_word(frame(1, 0)), Ok(()));
        assert_eq!(queue.push_word(frame(2, 0)), Ok(()));
        assert_eq!(queue.push_word(frame(3, 0)), Err(NotQueued::Full));
        assert_eq!(queue.push_ask(frame(4, HEADER_BYTES)), Ok(()));
        assert_eq!(queue.push_ask(frame(5, 0)), Err(NotQueued::Full));
        assert_eq!(queue.push_answer(frame(6, 999)), Ok(()));
        assert_eq!(queue.push_urgent(frame(7, 0)), Ok(()));
        assert_eq!(queue.has_room().now_or_never(), None);
        assert_eq!(requests(&queue.take(usize::MAX).now_or_never().unwrap()), [7, 1, 2, 4, 6]);
        assert_eq!((waiting(&queue), queue.has_room().now_or_never()), (0, Some(())));
    }

    #[test]
    fn amends_are_made_first_and_after_what_did_not_fit() {
        let queue = Queue::new(2 * HEADER_BYTES, Some(frame(99, 0)));
        let take = |bytes| queue.take(bytes).now_or_never().map(|taken| requests(&taken));
        assert_eq!(take(usize::MAX), Some(vec![99]));
        assert_eq!(take(usize::MAX), None);
        for request in 1..4 {
            let _ = queue.push_word(frame(request, 0));
        }
        assert_eq!(take(1), Some(vec![1]));
        assert_eq!(take(1), Some(vec![2, 99]));
        queue.push_word(frame(4, 0)).unwrap();
        assert_eq!(take(usize::MAX), Some(vec![4]));
    }

    #[test]
    fn a_closed_queue_gives_what_it_has_and_then_ends() {
        let queue = Queue::new(1_000, None);
        assert!(queue.take(1).now_or_never().is_none());
        queue.push_word(frame(1, 0)).unwrap();
        queue.close();
        assert_eq!(queue.push_answer(frame(2, 0)), Err(NotQueued::Closed));
        assert_eq!(requests(&queue.take(1).now_or_never().unwrap()), [1]);
        assert_eq!(requests(&queue.take(1).now_or_never().unwrap()), [0; 0]);
    }

    proptest! {
        #[test]
        fn order_and_bytes_are_kept_whatever_is_pushed_and_taken(
            steps in prop::collection::vec((0..400_usize, any::<bool>()), 1..200),
        ) {
            let queue = Queue::new(2_000, None);
            let (mut accepted, mut seen, mut waiting) = (Vec::new(), Vec::new(), 0);
            for (request, (size, take)) in steps.into_iter().enumerate() {
                if take {
                    let taken = queue.take(size).now_or_never().unwrap_or_default();
                    waiting -= taken.iter().map(Outgoing::bytes).sum::<usize>();
                    seen.extend(requests(&taken));
                } else if queue.push_word(frame(request as u64, size)).is_ok() {
                    waiting += HEADER_BYTES + size;
                    accepted.push(request as u64);
                }
                prop_assert_eq!(super::tests::waiting(&queue), waiting);
                prop_assert!(waiting <= 2_000);
            }
            queue.close();
            seen.extend(requests(&queue.take(usize::MAX).now_or_never().unwrap()));
            prop_assert_eq!(seen, accepted);
        }
    }
}
