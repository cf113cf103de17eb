//! One connection of a server after its greeting: what is heard, and what is answered.
//!
//! Words are given to the handler by the reader itself, in order. Asks are answered beside each other, each by a task
//! of its own, but for signals and resyncs: those of one process are answered one after the other in the order asked,
//! so that a late change cannot undo a later one. One that has begun is finished even if the connection ends; the
//! rest ends with the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use ringway_store::ports::NodeRun;
use rkyv::util::AlignedVec;
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;
use tokio::time::timeout;

use crate::body::{Body, BodyError, align};
use crate::counters::add;
use crate::error::ConnectionError;
use crate::frame::{Class, Head, class, kind};
use crate::greet::Greeted;
use crate::link::stopped;
use crate::queue::{Outgoing, Queue};
use crate::server::Served;
use crate::stream::{Session, SessionReader, write_queue};
use crate::words::{Ask, Reply, Word};

/// Serves a connection until it ends, and says why it did.
pub(crate) async fn serve(greeted: Greeted, served: &Arc<Served>, stop: &mut watch::Receiver<bool>) -> ConnectionError {
    let Greeted { reader, writer, peer, version, outgoing, incoming } = greeted;
    let limits = served.limits;
    let session = Session { version, limits };
    let desk = Arc::new(Desk {
        served: Arc::clone(served),
        peer,
        queue: Queue::new(limits.queue_bytes_max, None),
        asks: Arc::new(Semaphore::new(limits.asks_max)),
        stopping: AtomicBool::new(false),
    });
    let _end = EndOfDesk(Arc::clone(&desk));
    let mut reader = reader.begin(session, incoming);
    let mut writing = std::pin::pin!(write_queue(writer, session, outgoing, &desk.queue, served.counters.written()));
    let mut hearing = std::pin::pin!(hear(&mut reader, &desk));
    let why = tokio::select! {
        ended = &mut writing => ended.err().unwrap_or(ConnectionError::Closed),
        why = &mut hearing => why,
        () = stopped(stop) => ConnectionError::Stopped,
    };
    if matches!(why, ConnectionError::Stopped) {
        // What was asked is answered; what is asked from now on is told to go elsewhere.
        desk.stopping.store(true, Relaxed);
        let all = u32::try_from(limits.asks_max).unwrap_or(u32::MAX);
        let answered = async {
            // The semaphore is never closed.
            let _ = desk.asks.acquire_many(all).await;
            desk.queue.close();
            std::future::pending::<()>().await;
        };
        let rest = async {
            tokio::select! {
                ended = async { tokio::join!(&mut writing, &mut hearing) } => drop(ended),
                () = answered => {}
            }
        };
        // Past the time, those who asked see the connection break.
        let _ = timeout(Duration::from_millis(limits.close_ms), rest).await;
    }
    why
}

/// Where the asks of one connection are answered.
struct Desk {
    served: Arc<Served>,
    peer: NodeRun,
    queue: Queue,
    /// One permit an ask under way.
    asks: Arc<Semaphore>,
    stopping: AtomicBool,
}

/// Ends the queue, and with it the asks that have not begun.
struct EndOfDesk(Arc<Desk>);

impl Drop for EndOfDesk {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

/// An ask that waits for its turn.
struct Change {
    request: u64,
    ask: Ask,
    permit: OwnedSemaphorePermit,
}

/// Hears until the connection ends. Dropping it ends the asks under way, but for a change that has begun.
async fn hear<R: AsyncRead + Unpin>(reader: &mut SessionReader<R>, desk: &Arc<Desk>) -> ConnectionError {
    let counters = &desk.served.counters;
    let mut scratch = AlignedVec::new();
    let mut answering = JoinSet::new();
    // Each waiting change holds a permit, so there is always room.
    let (changes, waiting) = mpsc::channel(desk.served.limits.asks_max.max(1));
    tokio::spawn(answer_changes(Arc::clone(desk), waiting));
    loop {
        desk.queue.has_room().await;
        let (head, body) = match reader.next(&counters.bytes_in).await {
            Ok(frame) => frame,
            Err(why) => return why,
        };
        // What one read brought is many frames: others on this thread have their turn in between.
        consume_budget().await;
        match class(head.kind) {
            Class::Word => desk.hear(head, &body, &mut scratch),
            Class::Ask if head.kind == kind::PING => desk.reply(head.request, Reply::Done),
            Class::Ask => {
                let ask = match Body::decode(head.kind, align(&mut scratch, &body)).and_then(Ask::try_from) {
                    Ok(ask) => ask,
                    Err(error) => {
                        desk.refuse(head.request, error);
                        continue;
                    }
                };
                add(&counters.asks, 1);
                let Ok(permit) = Arc::clone(&desk.asks).acquire_owned().await else {
                    return ConnectionError::Closed;
                };
                if desk.stopping.load(Relaxed) {
                    desk.reply(head.request, Reply::Temporary("the node is going away".into()));
                } else if matches!(ask, Ask::Signal(_) | Ask::Resync) {
                    // Fails only when the task that answers them has panicked.
                    if changes.send(Change { request: head.request, ask, permit }).await.is_err() {
                        return ConnectionError::Closed;
                    }
                } else {
                    while answering.try_join_next().is_some() {}
                    answering.spawn(Arc::clone(desk).answer(head.request, ask, permit));
                }
            }
            _ => return ConnectionError::Misplaced { version: head.version, kind: head.kind },
        }
    }
}

/// Answers the changes of one connection in order.
async fn answer_changes(desk: Arc<Desk>, mut waiting: mpsc::Receiver<Change>) {
    while let Some(Change { request, ask, permit }) = waiting.recv().await {
        // Also after those of an earlier connection of the same process.
        let turn = desk.served.turns.of(&desk.peer.node);
        let turn = turn.lock().await;
        if desk.queue.is_closed() {
            return;
        }
        Arc::clone(&desk).answer(request, ask, permit).await;
        drop(turn);
    }
}

impl Desk {
    fn hear(&self, head: Head, body: &Bytes, scratch: &mut AlignedVec) {
        match Body::decode(head.kind, align(scratch, body)).and_then(Word::try_from) {
            Ok(word) => {
                add(&self.served.counters.words, 1);
                self.served.handler.hear(&self.peer, word);
            }
            Err(error) => self.count(error),
        }
    }

    async fn answer(self: Arc<Self>, request: u64, ask: Ask, permit: OwnedSemaphorePermit) {
        let limit = Duration::from_millis(self.served.limits.answer_ms);
        let answer = timeout(limit, self.served.handler.answer(&self.peer, ask)).await;
        self.reply(request, answer.unwrap_or_else(|_| Reply::Temporary("the node took too long".into())));
        drop(permit);
    }

    fn refuse(&self, request: u64, error: BodyError) {
        self.count(error);
        self.reply(request, Reply::Refused(error.to_string()));
    }

    fn reply(&self, request: u64, reply: Reply) {
        let mut body = Body::from(reply);
        let mut bytes = body.encode();
        if bytes.len() > self.served.limits.frame_bytes_max {
            tracing::error!(kind = body.kind(), bytes = bytes.len(), "an answer is too long for a frame");
            body = Body::Refused("the answer is too long".into());
            bytes = body.encode();
        }
        // Closed only when nobody is left to be answered.
        let _ = self.queue.push_answer(Outgoing { kind: body.kind(), request, body: Bytes::from_owner(bytes) });
    }

    fn count(&self, error: BodyError) {
        let counters = &self.served.counters;
        let counter = match error {
            BodyError::Unknown(_) => &counters.unknown,
            BodyError::Malformed(_) => &counters.malformed,
        };
        add(counter, 1);
        if let Some(held_back) = self.served.quiet.may_speak(std::time::Instant::now()) {
            tracing::warn!(node = self.peer.node, %error, held_back, "a peer's frame is skipped or refused");
        }
    }
}
