//! Sending: one task a queue, one batch at a time.
//!
//! A batch that fails takes all that waits for its queue with it, as what came later must not overtake it; the next
//! call is a fresh try. Only a batch that the broker says it has not looked at is sent a second time, to the same queue
//! and before anything else; one of an unknown fate never is.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use ringway_store::ports::AppendError;
use rocketmq_protocol::RemotingCommand;
use tokio::time::Instant;

use crate::config::RocketConfig;
use crate::error::NoAnswer;
use crate::lanes::{Lane, Lanes, Ticket};
use crate::limits::BUSY_PAUSE_MS;
use crate::log::Shared;
use crate::requests;

/// What to do next.
enum Step {
    Send(Vec<Bytes>),
    Wait,
    End,
}

pub(crate) async fn run(shared: Arc<Shared>, lanes: Arc<Lanes>, index: usize) {
    let Some(lane) = lanes.list.get(index) else { return };
    loop {
        match step(&lanes, lane, index) {
            Step::Send(batch) => send(&shared, &lanes, lane, index, &batch).await,
            Step::Wait => lane.wake.notified().await,
            Step::End => return,
        }
    }
}

fn step(lanes: &Lanes, lane: &Lane, index: usize) -> Step {
    let paused = lane.broker.paused();
    let (step, failed, why) = lanes.with(|board| {
        let closed = board.closed;
        let Some(window) = board.window(index) else { return (Step::End, Vec::new(), AppendError::Closed) };
        match paused {
            _ if closed => (Step::End, window.failed(), AppendError::Closed),
            Some(why) => (Step::Wait, window.failed(), AppendError::Unavailable(why)),
            None => (window.next_batch().map_or(Step::Wait, Step::Send), Vec::new(), AppendError::Closed),
        }
    });
    answer(failed, &Err(why));
    step
}

/// Sends until the broker has looked at the batch, or the time is up.
async fn deliver(config: &RocketConfig, lane: &Lane, batch: &[Bytes]) -> Result<RemotingCommand, NoAnswer> {
    let deadline = Instant::now() + Duration::from_millis(config.send_timeout_ms);
    let pause = Duration::from_millis(BUSY_PAUSE_MS);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let command = requests::send(config, lane.place.queue_id, batch);
        let answer = lane.broker.connection.call(command, left).await?;
        if !requests::was_too_busy(&answer) || Instant::now() + pause >= deadline {
            return Ok(answer);
        }
        tokio::time::sleep(pause).await;
    }
}

async fn send(shared: &Shared, lanes: &Lanes, lane: &Lane, index: usize, batch: &[Bytes]) {
    let sent = match deliver(&shared.config, lane, batch).await {
        Ok(answer) => match lane.broker.refusal(&answer) {
            Some(refused) => Err(NoAnswer(refused.to_string())),
            None => requests::read_sent(&answer),
        },
        Err(why) => {
            if lane.broker.pause(&why) {
                shared.alarm.notify_one();
            }
            Err(why)
        }
    };
    let counts = &shared.counts;
    match sent {
        Ok(()) => {
            counts.batches.fetch_add(1, Relaxed);
            counts.records.fetch_add(batch.len() as u64, Relaxed);
            counts.bytes.fetch_add(batch.iter().map(|record| record.len() as u64).sum(), Relaxed);
            let complete = lanes.with(|board| board.window(index).map(|window| window.acknowledged()));
            answer(complete.unwrap_or_default(), &Ok(()));
        }
        Err(NoAnswer(why)) => {
            counts.failures.fetch_add(1, Relaxed);
            tracing::debug!(broker = lane.place.broker, queue = lane.place.queue_id, why, "a batch failed");
            let failed = lanes.with(|board| board.window(index).map(|window| window.failed()));
            answer(failed.unwrap_or_default(), &Err(AppendError::Unavailable(why)));
        }
    }
}

fn answer(tickets: Vec<Ticket>, how: &Result<(), AppendError>) {
    for ticket in tickets {
        if ticket.send(how.clone()).is_err() {
            tracing::trace!("the caller of an append did not wait for its answer");
        }
    }
}
