//! What reminders count, as Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters and gauges. Written by the tasks, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Recipients and conversations that are waited for.
    pub(crate) waiting: AtomicU64,
    /// Messages or recipients dropped because of a bound.
    pub(crate) dropped: AtomicU64,
    /// Look-ups of members or cursors that failed.
    pub(crate) failures: AtomicU64,
    /// Nudges that a gateway was told.
    pub(crate) nudged: AtomicU64,
    /// Nudges for users without a session.
    pub(crate) absent: AtomicU64,
    /// Notices that the vendor took.
    pub(crate) pushed: AtomicU64,
    /// Notices that it refused.
    pub(crate) refused: AtomicU64,
    /// Tries that it could not answer.
    pub(crate) retried: AtomicU64,
    /// Notices given up: too many tries, or too many waited.
    pub(crate) given_up: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

impl Metrics {
    pub(crate) fn text(&self) -> String {
        let rows: [(&str, &str, &str, &AtomicU64); 9] = [
            ("reminders_waiting", "gauge", "Recipients whose acknowledgement is waited for.", &self.waiting),
            ("reminders_dropped_total", "counter", "Reminders dropped because of a bound.", &self.dropped),
            ("reminders_failures_total", "counter", "Look-ups for reminders that failed.", &self.failures),
            ("nudges_total", "counter", "Nudges that a gateway was told.", &self.nudged),
            ("nudges_absent_total", "counter", "Nudges for users without a session.", &self.absent),
            ("pushes_total", "counter", "Notices that the push vendor took.", &self.pushed),
            ("pushes_refused_total", "counter", "Notices that the push vendor refused.", &self.refused),
            ("pushes_retried_total", "counter", "Tries that the push vendor could not answer.", &self.retried),
            (
                "pushes_given_up_total",
                "counter",
                "Notices given up: too many tries, or too many waited.",
                &self.given_up,
            ),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in rows {
            let (name, value) = (format!("ringway_persist_{name}"), value.load(Relaxed));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }
}
