//! Counters of parts as Prometheus text, where the part itself only counts.

use std::fmt::Write as _;

use ringway_redis::StateCounts;
use ringway_rocketmq::LogCounts;

/// What an event log has been given.
#[must_use]
pub fn event_log(counts: &LogCounts, available: bool) -> String {
    let rows: [(&str, &str, &str, u64); 5] = [
        ("batches_total", "counter", "Batches that brokers have acknowledged.", counts.batches),
        ("records_total", "counter", "Records in those batches.", counts.records),
        ("record_bytes_total", "counter", "Bytes of those records.", counts.bytes),
        ("failures_total", "counter", "Batches that failed.", counts.failures),
        ("available", "gauge", "1 while appends go to brokers.", u64::from(available)),
    ];
    told("ringway_event_log_", &rows)
}

/// What a shared state has done, and stands at.
#[must_use]
pub fn shared_state(counts: &StateCounts) -> String {
    let rows = [
        ("epoch", "gauge", "Generation of numbers; 0 while it is not known.", counts.epoch),
        ("numbering_calls_total", "counter", "Numbering calls that Redis answered.", counts.calls),
        ("numbered_messages_total", "counter", "Messages of those calls.", counts.messages),
        ("unarchived_bytes", "gauge", "Bytes numbered here and not archived yet.", counts.unarchived_bytes),
    ];
    told("ringway_state_", &rows)
}

/// Rows of name, type, help and value.
fn told(prefix: &str, rows: &[(&str, &str, &str, u64)]) -> String {
    let mut text = String::new();
    for (name, kind, help, value) in rows {
        let name = format!("{prefix}{name}");
        // Writing into a string has no way to fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    text
}
