//! The event log's counters as Prometheus text.

use std::fmt::Write as _;

use ringway_journal::JournalStats;

/// Prometheus text, format 0.0.4.
pub(super) fn journal(stats: &JournalStats) -> String {
    let mut text = String::new();
    let rows: [(&str, &str, &str, u64); 9] = [
        ("records_total", "counter", "Records made durable since the start.", stats.records),
        ("record_bytes_total", "counter", "Bytes of those records.", stats.bytes),
        ("queued_bytes", "gauge", "Bytes that wait for their commit.", stats.queued_bytes),
        ("segments", "gauge", "Segment files.", stats.segments),
        ("disk_bytes", "gauge", "Bytes of segment files and the spare.", stats.disk_bytes),
        ("first", "gauge", "Ordinal of the first record that can be read.", stats.first),
        ("end", "gauge", "Ordinal of the next record.", stats.end),
        ("full", "gauge", "1 while appends are refused for want of room.", u64::from(stats.full)),
        ("failed", "gauge", "1 after a failed write: nothing is taken until a restart.", u64::from(stats.failed)),
    ];
    // Writing into a string has no way to fail.
    for (name, kind, help, value) in rows {
        let _ = writeln!(text, "# HELP ringway_journal_{name} {help}\n# TYPE ringway_journal_{name} {kind}");
        let _ = writeln!(text, "ringway_journal_{name} {value}");
    }
    let seconds = |us: u64| us as f64 / 1e6;
    let _ = writeln!(text, "# HELP ringway_journal_commit_seconds Write and flush of a commit.");
    let _ = writeln!(text, "# TYPE ringway_journal_commit_seconds histogram");
    let within = |bucket: usize| seconds(64 << bucket);
    let timed = buckets("ringway_journal_commit_seconds", &stats.commits_by_us, within, &mut text);
    let _ = writeln!(text, "ringway_journal_commit_seconds_sum {}", seconds(stats.commit_us_total));
    let _ = writeln!(text, "ringway_journal_commit_seconds_count {timed}");
    let _ = writeln!(text, "# HELP ringway_journal_commit_seconds_max The longest commit since the start.");
    let _ = writeln!(text, "# TYPE ringway_journal_commit_seconds_max gauge");
    let _ = writeln!(text, "ringway_journal_commit_seconds_max {}", seconds(stats.commit_us_max));
    let _ = writeln!(text, "# HELP ringway_journal_commit_records Records of a commit.");
    let _ = writeln!(text, "# TYPE ringway_journal_commit_records histogram");
    let below_next_power = |bucket: usize| ((2_u64 << bucket) - 1) as f64;
    let sized = buckets("ringway_journal_commit_records", &stats.commits_by_records, below_next_power, &mut text);
    let _ = writeln!(text, "ringway_journal_commit_records_sum {}", stats.records);
    let _ = writeln!(text, "ringway_journal_commit_records_count {sized}");
    text
}

/// The buckets of a histogram, each with its bound; the last one has none. Gives the count of all.
fn buckets(metric: &str, counts: &[u64], bound: impl Fn(usize) -> f64, text: &mut String) -> u64 {
    let mut total = 0;
    for (bucket, count) in counts.iter().enumerate() {
        total += count;
        let bound = if bucket + 1 < counts.len() { bound(bucket).to_string() } else { "+Inf".to_owned() };
        let _ = writeln!(text, "{metric}_bucket{{le=\"{bound}\"}} {total}");
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_the_histogram_of_commit_sizes_are_shown() {
        let mut stats = JournalStats { commits: 3, records: 12, commit_us_total: 1_500, ..JournalStats::default() };
        stats.commits_by_records[0] = 1;
        stats.commits_by_records[3] = 2;
        stats.commits_by_us[0] = 2;
        stats.commits_by_us[4] = 1;
        let text = journal(&stats);
        for line in [
            "ringway_journal_records_total 12",
            "ringway_journal_commit_seconds_bucket{le=\"0.000064\"} 2",
            "ringway_journal_commit_seconds_bucket{le=\"0.001024\"} 3",
            "ringway_journal_commit_seconds_bucket{le=\"+Inf\"} 3",
            "ringway_journal_commit_seconds_sum 0.0015",
            "ringway_journal_commit_records_bucket{le=\"1\"} 1",
            "ringway_journal_commit_records_bucket{le=\"7\"} 1",
            "ringway_journal_commit_records_bucket{le=\"15\"} 3",
            "ringway_journal_commit_records_count 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
