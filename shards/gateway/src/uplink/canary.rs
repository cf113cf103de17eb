//! The canary: a message of this node to itself, through log and numbering, every few seconds.
//!
//! ```text
//!   submit ──► hub ──► log ──► number ──► answered: healthy, and how long it took
//!                       └── refused, or not in time: unhealthy from the next look on
//! ```
//!
//! It travels as any server message does, in a conversation of its own that no user is in, so whatever keeps users'
//! messages from being acknowledged keeps it too. It runs only where there may be other nodes: there balancers and
//! `/v1/locate` have somewhere else to send people.

use std::rc::Rc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ringway_store::ports::ServerMessage;

use super::Uplink;
use crate::clock;

/// Pause between two canaries.
const PAUSE_MS: u64 = 2_000;
/// One that takes longer than this counts as lost.
const LIMIT_MS: u64 = 3_000;
/// The node is unhealthy when its last canary came back longer ago than this.
const STALE_MS: u64 = 7_000;

/// How the last canaries went. Written by the uplink, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Canary {
    /// Steady milliseconds of the last that came back; 0 before the first.
    back_ms: AtomicU64,
    /// Microseconds that it took.
    took_us: AtomicU64,
    sent: AtomicU64,
    lost: AtomicU64,
    /// Why the last one was lost; empty when it was not.
    why: Mutex<String>,
}

impl Canary {
    /// What speaks against the node's health, if anything does. `None` too while no canary was sent.
    pub(crate) fn complaint(&self) -> Option<String> {
        if self.sent.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ago_ms = clock::steady_ms().saturating_sub(self.back_ms.load(Ordering::Relaxed));
        if why.is_empty() && ago_ms < STALE_MS {
            return None;
        }
        let why = if why.is_empty() { "none came back in time" } else { &why };
        Some(format!("messages are not getting through: the canary of this node says: {why}"))
    }

    /// Prometheus text.
    pub(crate) fn text(&self) -> String {
        if self.sent.load(Ordering::Relaxed) == 0 {
            return String::new();
        }
        let healthy = u64::from(self.complaint().is_none());
        let seconds = self.took_us.load(Ordering::Relaxed) as f64 / 1e6;
        let (sent, lost) = (self.sent.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed));
        format!(
            "# HELP ringway_canary_healthy Whether this node's own messages get through.\n\
             # TYPE ringway_canary_healthy gauge\nringway_canary_healthy {healthy}\n\
             # HELP ringway_canary_seconds Time of the last canary that came back.\n\
             # TYPE ringway_canary_seconds gauge\nringway_canary_seconds {seconds}\n\
             # HELP ringway_canaries_total Canaries sent.\n\
             # TYPE ringway_canaries_total counter\nringway_canaries_total {sent}\n\
             # HELP ringway_canaries_lost_total Canaries refused, or not back in time.\n\
             # TYPE ringway_canaries_lost_total counter\nringway_canaries_lost_total {lost}\n"
        )
    }

    fn came_back(&self, took: Duration) {
        self.back_ms.store(clock::steady_ms(), Ordering::Relaxed);
        self.took_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn was_lost(&self, why: String) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }
}

impl Uplink {
    /// Sends canaries until the process ends.
    pub(super) async fn sing(self: Rc<Self>) {
        let Some(cluster) = self.ports.cluster.clone() else { return };
        let canary = &self.metrics.canary;
        loop {
            let number = canary.sent.fetch_add(1, Ordering::Relaxed);
            let message = ServerMessage {
                conv: format!("sys:canary.{}", cluster.run.node),
                client_msg_id: format!("{:x}-{number}", cluster.run.boot),
                kind: "canary".to_owned(),
                body: String::new(),
            };
            let began = Instant::now();
            match tokio::time::timeout(Duration::from_millis(LIMIT_MS), self.submit(message)).await {
                Ok(Ok(_)) => canary.came_back(began.elapsed()),
                Ok(Err(error)) => canary.was_lost(error.to_string()),
                Err(_) => canary.was_lost(format!("no answer within {LIMIT_MS} ms")),
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    }
}
