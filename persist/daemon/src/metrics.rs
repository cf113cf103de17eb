//! What the daemon counts, as Prometheus text.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counters and gauges of one daemon. Written by its tasks, read by anybody.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Messages archived.
    pub archived_messages: AtomicU64,
    /// Transactions of the archive.
    pub archived_batches: AtomicU64,
    /// Messages of the last transaction.
    pub batch_messages: AtomicU64,
    /// Microseconds spent in transactions.
    pub commit_us: AtomicU64,
    /// Messages in the log that repeat an earlier one.
    pub repeats: AtomicU64,
    /// Records that were no events.
    pub dead_letters: AtomicU64,
    /// Store calls that failed and were tried again.
    pub retries: AtomicU64,
    /// The log is consumed up to here.
    pub consumed_offset: AtomicU64,
    /// When the oldest message of the batch at hand was taken, Unix milliseconds; 0 when there is none.
    pub oldest_ms: AtomicU64,
    /// Outbox entries relayed.
    pub relayed: AtomicU64,
    /// Outbox entries that the gateways refused for good.
    pub refused: AtomicU64,
}

impl Metrics {
    /// The text. `end_offset` is the end of the log, `now_ms` Unix time.
    #[must_use]
    pub fn text(&self, end_offset: u64, unarchived_bytes: usize, now_ms: u64) -> String {
        let oldest_ms = self.oldest_ms.load(Relaxed);
        let age_ms = if oldest_ms == 0 { 0 } else { now_ms.saturating_sub(oldest_ms) };
        let lag = end_offset.saturating_sub(self.consumed_offset.load(Relaxed));
        let rows: [(&str, &str, &str, f64); 12] = [
            ("archived_messages_total", "counter", "Messages archived.", count(&self.archived_messages)),
            ("archive_commits_total", "counter", "Transactions of the archive.", count(&self.archived_batches)),
            ("archive_commit_seconds_total", "counter", "Time in transactions.", count(&self.commit_us) / 1e6),
            ("archive_batch_messages", "gauge", "Messages of the last transaction.", count(&self.batch_messages)),
            ("log_repeats_total", "counter", "Messages in the log that repeat an earlier one.", count(&self.repeats)),
            ("log_dead_letters_total", "counter", "Records that were no events.", count(&self.dead_letters)),
            ("log_lag_records", "gauge", "Records in the log that are not archived.", lag as f64),
            ("log_oldest_age_seconds", "gauge", "Age of the oldest message being archived.", age_ms as f64 / 1e3),
            ("unarchived_bytes", "gauge", "Memory of numbered messages not yet archived.", unarchived_bytes as f64),
            ("store_retries_total", "counter", "Store calls tried again.", count(&self.retries)),
            ("outbox_relayed_total", "counter", "Outbox entries told to the gateways.", count(&self.relayed)),
            ("outbox_refused_total", "counter", "Outbox entries refused for good.", count(&self.refused)),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in rows {
            let name = format!("ringway_persist_{name}");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }
}

fn count(value: &AtomicU64) -> f64 {
    value.load(Relaxed) as f64
}
