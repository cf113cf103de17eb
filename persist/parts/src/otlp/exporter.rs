//! The task that gathers what was handed over, makes spans of it and sends them.
//!
//! ```text
//!            ┌── a tick ──┐
//!            ▼            │
//!  idle ── spans ──► a batch is sent ──taken, or refused for good──► the next one, or idle
//!                         ▲     │
//!                  pause is over└── later ──► pausing, 0.5 s to 30 s; spans are gathered meanwhile
//! ```
//!
//! While an answer is awaited spans are gathered too. It ends when it is told to, after one more try; dropped, what
//! waits is lost. One at most is in flight.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::bytes::Bytes;
use ringway_hops::{Hop, Hops, Lane};
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::collector::{Collector, Outcome};
use super::counts::Counts;
use super::journey::Journeys;
use super::limits::{BATCH_MAX, GATHER_EVERY, PAUSE_MAX, PAUSE_MIN, SPANS_MAX, WARN_EVERY};
use super::request::Request;
use super::span::of_request;

/// Where spans come from.
#[derive(Clone)]
pub(super) enum Source {
    Hops(Lane<Hop>),
    Requests(Lane<Request>),
}

impl Source {
    pub(super) fn of_hops(hops: &Hops) -> Self {
        Self::Hops(hops.lane().clone())
    }

    /// How many found no room on the way.
    pub(super) fn dropped(&self) -> u64 {
        match self {
            Self::Hops(lane) => lane.dropped(),
            Self::Requests(lane) => lane.dropped(),
        }
    }
}

/// A body that is sent until it is taken or refused.
struct Batch {
    body: Bytes,
    spans: u64,
}

/// See the module's doc.
pub(super) struct Exporter {
    collector: Arc<Collector>,
    source: Source,
    counts: Arc<Counts>,
    journeys: Journeys,
    waiting: VecDeque<Span>,
    batch: Option<Batch>,
    pause: Duration,
    not_before: Instant,
    warned: Option<Instant>,
}

impl Exporter {
    pub(super) fn new(collector: Collector, source: Source, counts: Arc<Counts>, instance: &str) -> Self {
        Self {
            collector: Arc::new(collector),
            source,
            counts,
            journeys: Journeys::new(instance),
            waiting: VecDeque::new(),
            batch: None,
            pause: PAUSE_MIN,
            not_before: Instant::now(),
            warned: None,
        }
    }

    /// Exports until it is told to end, or whoever could tell it is gone.
    pub(super) async fn run(mut self, mut ended: oneshot::Receiver<()>) {
        let mut ticks = interval(GATHER_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = &mut ended => break,
                _ = ticks.tick() => {}
            }
            self.gather();
            if Instant::now() >= self.not_before {
                self.send_all(&mut ticks).await;
            }
        }
        self.gather();
        self.send_all(&mut ticks).await;
    }

    /// Takes over what was handed over.
    fn gather(&mut self) {
        match self.source.clone() {
            Source::Hops(lane) => {
                while let Some(hop) = lane.take() {
                    let (span, root) = self.journeys.spans(hop);
                    self.wait(span);
                    root.into_iter().for_each(|root| self.wait(root));
                }
            }
            Source::Requests(lane) => {
                while let Some(request) = lane.take() {
                    let mut drawn = [0; 24];
                    match getrandom::fill(&mut drawn) {
                        Ok(()) => self.wait(of_request(&request, drawn)),
                        // A trace without an id is none.
                        Err(_) => _ = self.counts.dropped.fetch_add(1, Relaxed),
                    }
                }
            }
        }
    }

    fn wait(&mut self, span: Span) {
        if self.waiting.len() == SPANS_MAX {
            self.waiting.pop_front();
            self.counts.dropped.fetch_add(1, Relaxed);
        }
        self.waiting.push_back(span);
    }

    /// Sends until nothing waits or the collector is to be left alone.
    async fn send_all(&mut self, ticks: &mut Interval) {
        while let Some(batch) = self.next_batch() {
            let outcome = self.send(&batch, ticks).await;
            if !self.settle(batch, outcome) {
                return;
            }
        }
    }

    fn next_batch(&mut self) -> Option<Batch> {
        self.batch.take().or_else(|| {
            let spans: Vec<Span> = self.waiting.drain(..self.waiting.len().min(BATCH_MAX)).collect();
            let count = spans.len() as u64;
            (count > 0).then(|| Batch { body: self.collector.encoded(spans), spans: count })
        })
    }

    async fn send(&mut self, batch: &Batch, ticks: &mut Interval) -> Outcome {
        let collector = Arc::clone(&self.collector);
        let mut answer = pin!(collector.send(batch.body.clone()));
        loop {
            tokio::select! {
                outcome = &mut answer => return outcome,
                _ = ticks.tick() => self.gather(),
            }
        }
    }

    /// Counts what became of a batch; whether the next one may be sent.
    fn settle(&mut self, batch: Batch, outcome: Outcome) -> bool {
        let (refused, why) = match outcome {
            Outcome::Taken(refused, why) => (refused.min(batch.spans), why),
            Outcome::Refused(why) => {
                self.counts.failures.fetch_add(1, Relaxed);
                (batch.spans, why)
            }
            Outcome::Later(why, after) => {
                self.counts.failures.fetch_add(1, Relaxed);
                self.not_before = Instant::now() + after.unwrap_or(self.pause).min(PAUSE_MAX);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                self.batch = Some(batch);
                self.warn(&why);
                return false;
            }
        };
        self.pause = PAUSE_MIN;
        self.counts.refused.fetch_add(refused, Relaxed);
        self.counts.exported.fetch_add(batch.spans - refused, Relaxed);
        if refused > 0 {
            self.warn(&why);
        }
        true
    }

    fn warn(&mut self, why: &str) {
        if self.warned.is_some_and(|warned| warned.elapsed() < WARN_EVERY) {
            return;
        }
        self.warned = Some(Instant::now());
        let (refused, dropped) = (self.counts.refused.load(Relaxed), self.counts.dropped.load(Relaxed));
        let dropped = dropped + self.source.dropped();
        let waiting = self.waiting.len() as u64 + self.batch.as_ref().map_or(0, |batch| batch.spans);
        tracing::warn!(why, waiting, refused, dropped, "the collector does not take spans");
    }
}
