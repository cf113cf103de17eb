//! What the daemon counts, as Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use ringway_store::ports::DriftKind;

use crate::drift::DriftMetrics;
use crate::limits::RATE_WINDOW_MS;

/// Counters and gauges of one queue's consumer. Written by it, read by anybody.
#[derive(Debug, Default)]
pub struct QueueMetrics {
    /// Messages archived.
    pub archived_messages: AtomicU64,
    /// Transactions of the archive.
    pub archived_batches: AtomicU64,
    /// Messages of the last transaction.
    pub batch_messages: AtomicU64,
    /// Microseconds spent in transactions.
    pub commit_us: AtomicU64,
    /// Messages in the queue that repeat an earlier one.
    pub repeats: AtomicU64,
    /// Records that were no events, or that the archive refused.
    pub dead_letters: AtomicU64,
    /// Calls that failed and were tried again.
    pub retries: AtomicU64,
    /// Times that the archive was found to go on at an earlier place.
    pub replays: AtomicU64,
    /// The queue is consumed up to here.
    pub consumed_offset: AtomicU64,
    /// When the oldest message of the batch at hand was taken, Unix milliseconds; 0 when there is none.
    pub oldest_ms: AtomicU64,
    /// Messages archived a second.
    pub rate: Rate,
}

/// Counters of what a process does once, whatever queues it has.
#[derive(Debug, Default)]
pub struct ProcessMetrics {
    /// Outbox entries relayed.
    pub relayed: AtomicU64,
    /// Outbox entries that the gateways refused for good.
    pub refused: AtomicU64,
    /// Calls that failed and were tried again.
    pub retries: AtomicU64,
}

/// Counters and gauges of the leases.
#[derive(Debug, Default)]
pub struct LeaseMetrics {
    /// Processes that live, as far as this one knows.
    pub members: AtomicU64,
    /// Queues taken, from nobody or from whoever had them before.
    pub takeovers: AtomicU64,
    /// Leases that ran out, or became another's, while they were in use.
    pub lost: AtomicU64,
    /// Calls that had no answer.
    pub failures: AtomicU64,
}

/// A count a second, over whole windows of time.
#[derive(Debug, Default)]
pub struct Rate {
    window: Mutex<Window>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Window {
    number: u64,
    count: u64,
    before: u64,
}

impl Window {
    fn at(self, now_ms: u64) -> Self {
        let number = now_ms / RATE_WINDOW_MS;
        match number.saturating_sub(self.number) {
            0 => self,
            1 => Self { number, count: 0, before: self.count },
            _ => Self { number, ..Self::default() },
        }
    }
}

impl Rate {
    /// Counts.
    pub fn add(&self, count: u64, now_ms: u64) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        *window = window.at(now_ms);
        window.count += count;
    }

    /// A second, in the last whole window.
    #[must_use]
    pub fn per_second(&self, now_ms: u64) -> f64 {
        let window = *self.window.lock().unwrap_or_else(PoisonError::into_inner);
        window.at(now_ms).before as f64 * 1e3 / RATE_WINDOW_MS as f64
    }
}

/// One queue, as it is written down.
pub(crate) struct QueueReading<'a> {
    /// Its name, unless it is the only one there is.
    pub(crate) label: Option<&'a str>,
    pub(crate) metrics: &'a QueueMetrics,
    /// The end of the queue.
    pub(crate) end: u64,
}

type Row<'a> = (&'a str, &'a str, &'a str, fn(&QueueReading<'_>, u64) -> f64);

const QUEUE_ROWS: [Row<'static>; 10] = [
    ("archived_messages_total", "counter", "Messages archived.", |of, _| count(&of.metrics.archived_messages)),
    ("archived_per_second", "gauge", "Messages archived a second.", |of, now_ms| of.metrics.rate.per_second(now_ms)),
    ("archive_commits_total", "counter", "Transactions of the archive.", |of, _| count(&of.metrics.archived_batches)),
    ("archive_commit_seconds_total", "counter", "Time in transactions.", |of, _| count(&of.metrics.commit_us) / 1e6),
    ("archive_batch_messages", "gauge", "Messages of the last transaction.", |of, _| count(&of.metrics.batch_messages)),
    ("log_repeats_total", "counter", "Messages in the log that repeat an earlier one.", |of, _| {
        count(&of.metrics.repeats)
    }),
    ("log_dead_letters_total", "counter", "Records that were no events, or that the archive refused.", |of, _| {
        count(&of.metrics.dead_letters)
    }),
    ("log_replays_total", "counter", "Times that the log was read again from an earlier place.", |of, _| {
        count(&of.metrics.replays)
    }),
    ("log_lag_records", "gauge", "Records in the log that are not archived.", |of, _| {
        of.end.saturating_sub(of.metrics.consumed_offset.load(Relaxed)) as f64
    }),
    ("log_oldest_age_seconds", "gauge", "Age of the oldest message being archived.", |of, now_ms| {
        let oldest_ms = of.metrics.oldest_ms.load(Relaxed);
        if oldest_ms == 0 { 0.0 } else { now_ms.saturating_sub(oldest_ms) as f64 / 1e3 }
    }),
];

/// The rows of queues.
pub(crate) fn write_queues(text: &mut String, queues: &[QueueReading<'_>], now_ms: u64) {
    for (name, kind, help, value) in QUEUE_ROWS {
        let values = queues.iter().map(|queue| (queue.label, value(queue, now_ms)));
        write_rows(text, (name, kind, help), values);
    }
}

/// The rows of the process.
pub(crate) fn write_process(text: &mut String, outbox: &ProcessMetrics, queue_retries: u64, unarchived_bytes: usize) {
    let retries = outbox.retries.load(Relaxed) + queue_retries;
    let rows = [
        ("unarchived_bytes", "gauge", "Memory of numbered messages not yet archived.", unarchived_bytes as f64),
        ("store_retries_total", "counter", "Store calls tried again.", retries as f64),
        ("outbox_relayed_total", "counter", "Outbox entries told to the gateways.", count(&outbox.relayed)),
        ("outbox_refused_total", "counter", "Outbox entries refused for good.", count(&outbox.refused)),
    ];
    for (name, kind, help, value) in rows {
        write_rows(text, (name, kind, help), [(None, value)]);
    }
}

/// The rows of the leases.
pub(crate) fn write_leases(text: &mut String, leases: &LeaseMetrics, [held, failed, relay]: [u64; 3]) {
    let rows = [
        ("lease_members", "gauge", "Processes that consume, as far as this one knows.", count(&leases.members)),
        ("lease_queues_held", "gauge", "Queues that this process holds.", held as f64),
        ("lease_relay_held", "gauge", "Whether this process relays the outbox.", relay as f64),
        ("lease_takeovers_total", "counter", "Queues taken.", count(&leases.takeovers)),
        ("lease_lost_total", "counter", "Leases lost while they were in use.", count(&leases.lost)),
        ("lease_failures_total", "counter", "Calls about leases without an answer.", count(&leases.failures)),
        ("queues_failed", "gauge", "Queues held that cannot be read: look at the log.", failed as f64),
    ];
    for (name, kind, help, value) in rows {
        write_rows(text, (name, kind, help), [(None, value)]);
    }
}

/// The rows of the watch over holes: told so far, standing now past the bound, and the age of the oldest of all.
pub(crate) fn write_holes(text: &mut String, told: u64, old: u64, oldest_age_ms: u64) {
    let age = oldest_age_ms as f64 / 1e3;
    let rows = [
        ("holes_alarmed_total", "counter", "Holes of the archive that grew older than hole_alarm_ms.", told as f64),
        ("holes_old", "gauge", "Holes of the archive that are older than hole_alarm_ms.", old as f64),
        ("hole_oldest_age_seconds", "gauge", "Age of the oldest hole of the archive.", age),
    ];
    for (name, kind, help, value) in rows {
        write_rows(text, (name, kind, help), [(None, value)]);
    }
}

/// The rows of the drift check.
pub(crate) fn write_drift(text: &mut String, drift: &DriftMetrics) {
    let held = f64::from(u8::from(drift.held.load(Relaxed)));
    let rows = [
        ("drift_check_held", "gauge", "Whether this process is the one that compares the state with SQL.", held),
        ("drift_rounds_total", "counter", "Rounds of the drift check.", count(&drift.rounds)),
        ("drift_conversations_total", "counter", "Conversations compared with SQL.", count(&drift.conversations)),
        ("drift_failures_total", "counter", "Calls of the drift check that failed.", count(&drift.failures)),
    ];
    for (name, kind, help, value) in rows {
        write_rows(text, (name, kind, help), [(None, value)]);
    }
    let name = "ringway_persist_drift_repaired_total";
    let _ = writeln!(text, "# HELP {name} What was found wrong in the state, and repaired.\n# TYPE {name} counter");
    for (kind, repaired) in DriftKind::ALL.into_iter().zip(&drift.repaired) {
        let _ = writeln!(text, "{name}{{kind=\"{}\"}} {}", kind.name(), count(repaired));
    }
}

fn write_rows<'a>(
    text: &mut String,
    (name, kind, help): (&str, &str, &str),
    values: impl IntoIterator<Item = (Option<&'a str>, f64)>,
) {
    let name = format!("ringway_persist_{name}");
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (label, value) in values {
        let _ = match label {
            Some(queue) => writeln!(text, "{name}{{queue=\"{}\"}} {value}", escaped(queue)),
            None => writeln!(text, "{name} {value}"),
        };
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn count(value: &AtomicU64) -> f64 {
    value.load(Relaxed) as f64
}

pub(crate) fn now_ms() -> u64 {
    now_us() / 1_000
}

pub(crate) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_whole_window() {
        let rate = Rate::default();
        let second = |window: u64| window * RATE_WINDOW_MS;
        rate.add(500, second(10) + 1);
        rate.add(500, second(11) - 1);
        assert_eq!(rate.per_second(second(11) - 1), 0.0);
        assert_eq!(rate.per_second(second(11)), 200.0);
        rate.add(5, second(11) + 2);
        assert_eq!(rate.per_second(second(12)), 1.0);
        assert_eq!(rate.per_second(second(13)), 0.0);
    }

    #[test]
    fn each_queue_has_a_row_with_its_name() {
        let metrics = QueueMetrics::default();
        metrics.consumed_offset.store(3, Relaxed);
        let reading = |label, end| QueueReading { label: Some(label), metrics: &metrics, end };
        let mut text = String::new();
        write_queues(&mut text, &[reading("broker-a/0", 5), reading("b\"", 3)], 0);
        assert!(text.contains("\nringway_persist_log_lag_records{queue=\"broker-a/0\"} 2\n"), "{text}");
        assert!(text.contains("\nringway_persist_log_lag_records{queue=\"b\\\"\"} 0\n"), "{text}");
        assert_eq!(text.matches("# TYPE ringway_persist_log_lag_records gauge\n").count(), 1);
    }
}
