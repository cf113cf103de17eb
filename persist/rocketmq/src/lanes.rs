//! The lanes of a log: for each queue its place, its broker, what waits for it and who is to be woken.
//!
//! One lock guards what waits for all queues, so that a call is taken or refused as a whole. It is held for moving
//! records about, never over an await.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ringway_store::ports::{AppendError, NewRecord};
use tokio::sync::{Notify, oneshot};

use crate::broker::{Broker, Brokers};
use crate::config::RocketConfig;
use crate::route::{Place, Route, queue_of};
use crate::window::{Bounds, Window, size};

/// Whom to tell how a call's records for one queue went. The call may be gone.
pub(crate) type Ticket = oneshot::Sender<Result<(), AppendError>>;
pub(crate) type Answer = oneshot::Receiver<Result<(), AppendError>>;

pub(crate) struct Lane {
    pub(crate) place: Place,
    pub(crate) broker: Arc<Broker>,
    pub(crate) wake: Notify,
}

pub(crate) struct Lanes {
    pub(crate) brokers: Brokers,
    pub(crate) list: Vec<Lane>,
    board: Mutex<Board>,
}

pub(crate) struct Board {
    pub(crate) closed: bool,
    windows: Vec<Window<Ticket>>,
}

impl Board {
    pub(crate) fn window(&mut self, index: usize) -> Option<&mut Window<Ticket>> {
        self.windows.get_mut(index)
    }
}

impl Lanes {
    pub(crate) fn new(config: &RocketConfig, brokers: Brokers, route: &Route) -> Self {
        let bounds = Bounds {
            batch_records_max: config.batch_records_max,
            batch_bytes_max: config.batch_bytes_max,
            waiting_bytes_max: config.queue_waiting_bytes_max,
        };
        let mut list = Vec::new();
        for place in &route.places {
            if let Some(broker) = brokers.get(&place.broker) {
                list.push(Lane { place: place.clone(), broker: Arc::clone(broker), wake: Notify::new() });
            }
        }
        let windows = list.iter().map(|_| Window::new(bounds)).collect();
        Self { brokers, list, board: Mutex::new(Board { closed: false, windows }) }
    }

    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Board) -> R) -> R {
        work(&mut self.board.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a call's records behind those of earlier calls, all or none. Every answer is to be awaited.
    pub(crate) fn offer(&self, records: Vec<NewRecord>) -> Result<Vec<Answer>, AppendError> {
        let mut parts: Vec<Part> = self.list.iter().map(|_| Part::default()).collect();
        for record in records {
            // The count of queues is checked when the route is learnt.
            let Some(part) = parts.get_mut(queue_of(record.key, self.list.len())) else { continue };
            part.bytes += size(&record.bytes);
            part.records.push_back(record.bytes);
        }
        let used = || parts.iter().zip(&self.list).filter(|(part, _)| !part.records.is_empty());
        if let Some(why) = used().find_map(|(_, lane)| lane.broker.paused()) {
            return Err(AppendError::Unavailable(why));
        }
        let mut answers = Vec::new();
        self.with(|board| {
            if board.closed {
                return Err(AppendError::Closed);
            }
            let full = |(part, window): (&Part, &Window<Ticket>)| !window.has_room(part.bytes);
            if parts.iter().zip(&board.windows).filter(|(part, _)| !part.records.is_empty()).any(full) {
                return Err(AppendError::Full("too much waits for a queue of RocketMQ".to_owned()));
            }
            for ((part, window), lane) in parts.into_iter().zip(&mut board.windows).zip(&self.list) {
                if part.records.is_empty() {
                    continue;
                }
                let (ticket, answer) = oneshot::channel();
                window.offer(ticket, part.records);
                lane.wake.notify_one();
                answers.push(answer);
            }
            Ok(())
        })?;
        Ok(answers)
    }

    /// Lets the senders end: what is on its way may arrive, what waits is answered `Closed`.
    pub(crate) fn close(&self) {
        self.with(|board| board.closed = true);
        for lane in &self.list {
            lane.wake.notify_one();
        }
    }
}

#[derive(Default)]
struct Part {
    records: VecDeque<Bytes>,
    bytes: usize,
}
