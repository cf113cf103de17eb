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
//!
//! Each is new, as most of theirs are, so it waits for the archive no more than they do.
//!
//! It tells what users meet, and nothing else: while the event log is away and the spool takes messages it comes back,
//! for theirs are acknowledged as well. That the log is away is told beside it, by whoever asks the parts; `/readyz` of
//! the process is red by either.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringway_store::ports::ServerMessage;

use super::Uplink;
use crate::clock;

/// Pause between two canaries.
const PAUSE_MS: u64 = 2_000;
/// One that takes longer than this counts as lost.
const LIMIT_MS: u64 = 3_000;
/// The node is unhealthy when its last canary came back longer ago than this: the uplink itself is stuck.
const STALE_MS: u64 = 7_000;
/// The promise: whatever dies, the node is unhealthy after this long.
const UNHEALTHY_WITHIN_MS: u64 = 10_000;

// One that is on its way is not missed yet, and what is missed is missed in time.
const _: () = assert!(PAUSE_MS + LIMIT_MS < STALE_MS && STALE_MS < UNHEALTHY_WITHIN_MS);

/// How the last canaries went. Written by the uplink, read by anybody. Times are steady milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Canary {
    /// When the last came back; before that, when the first was sent.
    heard_ms: AtomicU64,
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
        self.complaint_at(clock::steady_ms())
    }

    fn complaint_at(&self, now_ms: u64) -> Option<String> {
        if self.sent.load(Ordering::Acquire) == 0 {
            return None;
        }
        let why = self.why().clone();
        let ago_ms = now_ms.saturating_sub(self.heard_ms.load(Ordering::Relaxed));
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
            "# HELP ringway_canary_healthy Whether this node's own messages get through, be it to its spool.\n\
             # TYPE ringway_canary_healthy gauge\nringway_canary_healthy {healthy}\n\
             # HELP ringway_canary_seconds Time of the last canary that came back.\n\
             # TYPE ringway_canary_seconds gauge\nringway_canary_seconds {seconds}\n\
             # HELP ringway_canaries_total Canaries sent.\n\
             # TYPE ringway_canaries_total counter\nringway_canaries_total {sent}\n\
             # HELP ringway_canaries_lost_total Canaries refused, or not back in time.\n\
             # TYPE ringway_canaries_lost_total counter\nringway_canaries_lost_total {lost}\n"
        )
    }

    /// One goes out; its number.
    fn goes(&self, now_ms: u64) -> u64 {
        let number = self.sent.load(Ordering::Relaxed);
        if number == 0 {
            // Before it is counted: who reads meanwhile finds the time.
            self.heard_ms.store(now_ms, Ordering::Relaxed);
        }
        self.sent.store(number + 1, Ordering::Release);
        number
    }

    /// It is back. Answers whether the one before was lost.
    fn came_back(&self, now_ms: u64, took: Duration) -> bool {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
        self.took_us.store(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        !std::mem::take(&mut *self.why()).is_empty()
    }

    /// It is lost. Answers whether the one before was not.
    fn was_lost(&self, why: String) -> bool {
        self.lost.fetch_add(1, Ordering::Relaxed);
        std::mem::replace(&mut *self.why(), why).is_empty()
    }

    fn why(&self) -> MutexGuard<'_, String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uplink {
    /// Sends canaries until the process ends.
    pub(super) async fn sing(self: Rc<Self>) {
        let Some(cluster) = self.ports.cluster.clone() else { return };
        let canary = &self.metrics.canary;
        loop {
            let number = canary.goes(clock::steady_ms());
            let message = ServerMessage {
                conv: format!("sys:canary.{}", cluster.run.node),
                client_msg_id: format!("{:x}-{number}", cluster.run.boot),
                kind: "canary".to_owned(),
                body: String::new(),
            };
            let began = Instant::now();
            let limit = Duration::from_millis(LIMIT_MS);
            let answer = tokio::time::timeout(limit, self.submit(message, false)).await;
            let lost = match answer {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer within {LIMIT_MS} ms")),
            };
            match lost {
                None if canary.came_back(clock::steady_ms(), began.elapsed()) => {
                    tracing::info!("messages get through again");
                }
                None => {}
                Some(why) if canary.was_lost(why.clone()) => tracing::warn!(why, "messages are not getting through"),
                Some(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(complaint: Option<String>, why: &str) {
        let complaint = complaint.unwrap();
        assert_eq!(complaint, format!("messages are not getting through: the canary of this node says: {why}"));
    }

    #[test]
    fn a_node_is_unhealthy_from_the_lost_canary_to_the_next_that_comes_back() {
        let canary = Canary::default();
        assert_eq!((canary.complaint_at(1_000), canary.text()), (None, String::new()), "none was sent");
        assert_eq!(canary.goes(1_000), 0);
        assert_eq!(canary.complaint_at(1_000 + LIMIT_MS), None, "the first is on its way");
        says(canary.complaint_at(1_000 + STALE_MS), "none came back in time");
        assert!(canary.was_lost("no answer".into()) && !canary.was_lost("refused".into()));
        says(canary.complaint_at(1_000), "refused");
        assert!(canary.text().contains("\nringway_canary_healthy 0\n"));
        assert_eq!(canary.goes(8_000), 1);
        says(canary.complaint_at(8_000), "refused");
        assert!(canary.came_back(8_500, Duration::from_millis(500)));
        assert!(!canary.came_back(9_000, Duration::from_millis(500)));
        assert_eq!(canary.complaint_at(8_500 + PAUSE_MS + LIMIT_MS), None);
        says(canary.complaint_at(9_000 + STALE_MS), "none came back in time");
    }
}
