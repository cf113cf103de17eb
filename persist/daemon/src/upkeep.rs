//! The upkeep of the state: cursors written, idle memory let go, recent sends read once at the start.
//!
//! Dropping it leaves cursors that a device acknowledged in the last second unwritten: it is sent what it has again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringway_store::ports::Upkeep;
use tokio::sync::watch;

use crate::backoff::{pause, stopped};
use crate::metrics::{ProcessMetrics, now_ms};

/// The upkeep of one process.
pub(crate) struct Keeper<'a> {
    pub(crate) upkeep: &'a Arc<dyn Upkeep>,
    pub(crate) every_ms: u64,
    pub(crate) metrics: &'a ProcessMetrics,
}

impl Keeper<'_> {
    /// Runs until the stop.
    pub(crate) async fn run(&self, stop: watch::Receiver<bool>) {
        tokio::join!(self.keep(stop.clone()), self.warm_up(stop));
    }

    async fn keep(&self, mut stop: watch::Receiver<bool>) {
        while pause(Duration::from_millis(self.every_ms), &mut stop).await {
            if let Err(error) = self.upkeep.flush_cursors().await {
                self.metrics.retries.fetch_add(1, Relaxed);
                tracing::warn!(%error, "cursors are not written yet");
            }
            self.upkeep.forget_idle(now_ms());
        }
    }

    async fn warm_up(&self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            warm = self.upkeep.warm_up() => if let Err(error) = warm {
                tracing::warn!(%error, "what was sent lately is not read; repeats are looked up one by one");
            },
            () = stopped(&mut stop) => {}
        }
    }

    /// Once everything else has ended.
    pub(crate) async fn finish(&self) {
        if let Err(error) = self.upkeep.flush_cursors().await {
            tracing::warn!(%error, "cursors of the last moment are not written; devices are sent what they have again");
        }
    }
}
