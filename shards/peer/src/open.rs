//! A link that stands, as those see it who say and ask: its queue, and the asks that wait for their answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::error::PeerError;
use crate::frame::kind;
use crate::queue::{NotQueued, Outgoing, Queue};
use crate::sync::lock;
use crate::words::Reply;

type Answer = Result<Reply, PeerError>;

/// See the module.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) queue: Queue,
    asks: Mutex<Asks>,
    heard: Mutex<Instant>,
    asks_max: usize,
}

#[derive(Debug, Default)]
struct Asks {
    /// Number of the last ask; 0 is the link's own sign of life.
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    ended: bool,
}

/// An ask under way. Dropping it gives its place free; a late answer is then ignored.
#[derive(Debug)]
pub(crate) struct Asked {
    open: Arc<Open>,
    request: u64,
    answer: oneshot::Receiver<Answer>,
}

impl Asked {
    /// Waits; who asks bounds the time.
    pub(crate) async fn answer(mut self) -> Answer {
        (&mut self.answer).await.unwrap_or(Err(PeerError::Broken))
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        lock(&self.open.asks).waiting.remove(&self.request);
    }
}

impl Open {
    pub(crate) fn new(queue_bytes_max: usize, asks_max: usize, amends: Option<Outgoing>) -> Self {
        let queue = Queue::new(queue_bytes_max, amends);
        Self { queue, asks: Mutex::default(), heard: Mutex::new(Instant::now()), asks_max }
    }

    /// Queues an ask.
    pub(crate) fn ask(self: &Arc<Self>, kind: u8, body: Bytes) -> Result<Asked, PeerError> {
        let (sender, answer) = oneshot::channel();
        let request = {
            let mut asks = lock(&self.asks);
            if asks.ended {
                return Err(PeerError::NoLink);
            }
            if asks.waiting.len() >= self.asks_max {
                return Err(PeerError::Busy);
            }
            asks.last += 1;
            let request = asks.last;
            asks.waiting.insert(request, sender);
            request
        };
        // From here on its drop gives the place free.
        let asked = Asked { open: Arc::clone(self), request, answer };
        match self.queue.push_ask(Outgoing { kind, request, body }) {
            Ok(()) => Ok(asked),
            Err(NotQueued::Full) => Err(PeerError::Busy),
            Err(NotQueued::Closed) => Err(PeerError::NoLink),
        }
    }

    /// Asks for a sign of life, before anything that waits. Its answer is only heard, not waited for.
    pub(crate) fn ping(&self) {
        // A link that is closing needs none.
        let _ = self.queue.push_urgent(Outgoing { kind: kind::PING, request: 0, body: Bytes::new() });
    }

    /// Something came.
    pub(crate) fn hear(&self) {
        *lock(&self.heard) = Instant::now();
    }

    /// When something came last.
    pub(crate) fn heard(&self) -> Instant {
        *lock(&self.heard)
    }

    /// Hands an answer to whoever waits for it.
    pub(crate) fn answered(&self, request: u64, answer: Answer) {
        if let Some(waiting) = lock(&self.asks).waiting.remove(&request) {
            // Whoever asked may have given up.
            let _ = waiting.send(answer);
        }
    }

    /// Nothing will be answered any more.
    pub(crate) fn end(&self) {
        self.queue.close();
        let mut asks = lock(&self.asks);
        asks.ended = true;
        // Dropped senders tell those who wait.
        asks.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn asks_are_bounded_and_a_dropped_one_gives_its_place_free() {
        let open = Arc::new(Open::new(1_000_000, 2, None));
        let ask = || open.ask(kind::RESYNC, Bytes::new());
        let (first, second) = (ask().unwrap(), ask().unwrap());
        assert_eq!(ask().unwrap_err(), PeerError::Busy);
        drop(first);
        let third = ask().unwrap();
        open.answered(1, Ok(Reply::Done));
        open.answered(3, Ok(Reply::Done));
        assert_eq!(third.answer().now_or_never(), Some(Ok(Reply::Done)));
        open.end();
        assert_eq!(second.answer().now_or_never(), Some(Err(PeerError::Broken)));
        assert_eq!(ask().unwrap_err(), PeerError::NoLink);
    }

    #[tokio::test]
    async fn an_ask_that_finds_no_room_leaves_nothing_behind() {
        let open = Arc::new(Open::new(10, 1, None));
        for _ in 0..2 {
            assert_eq!(open.ask(kind::ONLINE, Bytes::from(vec![0; 100])).unwrap_err(), PeerError::Busy);
        }
        assert!(lock(&open.asks).waiting.is_empty());
    }
}
