//! Traces, exported to an OpenTelemetry collector over OTLP/HTTP in protobuf.
//!
//! ```text
//! threads of the parts ──hops, lock-free, bounded──► spans waiting, bounded ──POST /v1/traces──► collector
//!        requests of the API ──────────────────────►
//! ```
//!
//! | Module | Noun |
//! |---|---|
//! | `journey` | what is remembered of a message on its way, so that its hops become spans |
//! | `span` | a span: its ids, its times, its attributes |
//! | `request` | an answered request, on its way to the exporter |
//! | `exporter` | the task that gathers spans and sends them |
//! | `collector` | one request to the collector, and what its answer says |
//! | `counts` | what became of spans, as Prometheus text |
//! | `limits` | the bounds |
//!
//! **Without an endpoint nothing of this is there**: no task, no memory, and a thread that notes a hop has one branch
//! more. With one, nothing here ever waits for the collector but the exporter's own task: what finds no room is dropped
//! and counted. Losing the collector costs spans, never messages.

mod collector;
mod counts;
mod exporter;
mod journey;
pub mod limits;
mod request;
mod span;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use ringway_api::Api;
use ringway_hops::{Hops, Lane};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::collector::Collector;
use self::counts::Counts;
use self::exporter::{Exporter, Source};
use self::request::{Request, watcher};
use self::span::resource;
use crate::board::Board;
use crate::sections::Otlp;

/// The traces of one process: off without an endpoint, or until it says who it is.
pub struct Traces {
    service: &'static str,
    keys: Otlp,
    running: Mutex<Option<Running>>,
}

/// A running export.
struct Running {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Traces {
    /// For a service of this name.
    #[must_use]
    pub fn new(service: &'static str, keys: &Otlp) -> Self {
        Self { service, keys: keys.clone(), running: Mutex::default() }
    }

    /// Exports the hops that are handed over from here on; none without an endpoint. `instance` names this process
    /// among those of its service.
    ///
    /// # Errors
    /// An endpoint that is none, or no client for it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn of_messages(&self, board: &Board, instance: &str) -> anyhow::Result<Option<Hops>> {
        let Some(url) = self.keys.url()? else { return Ok(None) };
        let hops = Hops::new(self.keys.sampler());
        self.start(url, board, instance, Source::of_hops(&hops))?;
        Ok(Some(hops))
    }

    /// Exports a span of every request that an API answers from here on and that is taken; nothing without an endpoint.
    ///
    /// # Errors
    /// As [`Traces::of_messages`].
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn of_requests(&self, board: &Board, instance: &str, api: &Api) -> anyhow::Result<()> {
        let Some(url) = self.keys.url()? else { return Ok(()) };
        let lane: Lane<Request> = Lane::new(limits::REQUESTS_MAX);
        self.start(url, board, instance, Source::Requests(lane.clone()))?;
        api.watch_requests(watcher(self.keys.sampler(), lane));
        Ok(())
    }

    fn start(&self, url: Url, board: &Board, instance: &str, source: Source) -> anyhow::Result<()> {
        let (endpoint, one_in) = (url.to_string(), self.keys.sample_one_in);
        let collector = Collector::new(url, resource(self.service, instance))?;
        let (counts, (end, ended)) = (Arc::new(Counts::default()), oneshot::channel());
        let (measured, counted) = (source.clone(), Arc::clone(&counts));
        board.add_measure(move || counted.text(measured.dropped()));
        let task = tokio::spawn(Exporter::new(collector, source, counts, instance).run(ended));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { end, task });
        tracing::info!(endpoint, one_in, instance, "traces are exported");
        Ok(())
    }

    /// Sends what was handed over before, and ends; what cannot be sent within the limit is lost.
    pub async fn finish(&self, limit: Duration) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { end, mut task }) = running else { return };
        // A task that is gone has nothing left to send.
        let _ = end.send(());
        if timeout(limit, &mut task).await.is_err() {
            tracing::debug!("the collector did not take the last spans in time");
            task.abort();
        }
    }
}
