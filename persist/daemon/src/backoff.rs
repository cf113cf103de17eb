//! How long to wait after a failure, and waiting that a stop ends.

use std::time::Duration;

use tokio::sync::watch;

/// First wait after a failure.
const FIRST_MS: u64 = 50;
/// Longest wait: a store that is back is noticed this soon.
const LONGEST_MS: u64 = 5_000;

/// Waits that double up to a bound.
#[derive(Debug)]
pub(crate) struct Backoff {
    next_ms: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { next_ms: FIRST_MS }
    }

    pub(crate) fn reset(&mut self) {
        self.next_ms = FIRST_MS;
    }

    /// Waits; false when it was ended by a stop.
    pub(crate) async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> bool {
        let wait = Duration::from_millis(self.next_ms);
        self.next_ms = (self.next_ms * 2).min(LONGEST_MS);
        pause(wait, stop).await
    }
}

/// Waits; false when it was ended by a stop. A sender that is gone counts as a stop.
pub(crate) async fn pause(wait: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(wait, stopped(stop)).await.is_err()
}

/// Returns once the stop is asked for.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody is left who could ask: that is a stop too.
    let _ = stop.wait_for(|stop| *stop).await;
}
