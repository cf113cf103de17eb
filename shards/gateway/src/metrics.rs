//! Counters of the shards and the uplink: each has one writer, so a count is a plain add.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes and any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds; only ever called on the owner's thread, so no locked instruction is needed.
    pub(crate) fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Takes away.
    pub(crate) fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency buckets in microseconds; the last bucket is everything above.
const BOUNDS_US: [u64; 14] =
    [50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 1_000_000, 5_000_000];

/// A latency histogram with fixed buckets, one writer.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    buckets: [Counter; BOUNDS_US.len() + 1],
    sum_us: Counter,
}

impl Latency {
    pub(crate) fn record(&self, us: u64) {
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(at) {
            bucket.add(1);
        }
        self.sum_us.add(us);
    }
}

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $kind:literal, $metric:literal, $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        pub(crate) struct $name { $(#[doc = $help] pub(crate) $field: Counter,)* }

        impl $name {
            const ROWS: &'static [(&'static str, &'static str, &'static str)] = &[$(($metric, $kind, $help),)*];

            fn values(&self) -> Vec<u64> {
                vec![$(self.$field.get(),)*]
            }
        }
    };
}

counters! {
    /// What a shard counts.
    ShardCounters {
        connections: "gauge", "ringway_connections", "Open connections.";
        sessions: "gauge", "ringway_sessions", "Authenticated sessions.";
        accepted: "counter", "ringway_accepted_total", "Connections accepted.";
        refused: "counter", "ringway_refused_total", "Connections refused before a session.";
        closed_by_server: "counter", "ringway_closed_by_server_total", "Connections closed by the server with a code.";
        bytes_in: "counter", "ringway_received_bytes_total", "Bytes read from clients.";
        bytes_out: "counter", "ringway_sent_bytes_total", "Bytes written to clients.";
        reads: "counter", "ringway_reads_total", "Read calls that gave bytes.";
        writes: "counter", "ringway_writes_total", "Sends to clients; each carries all frames of a turn.";
        frames_out: "counter", "ringway_frames_total", "Frames queued for clients.";
        commands: "counter", "ringway_commands_total", "Commands received.";
        errors: "counter", "ringway_command_errors_total", "Commands answered by an error.";
        submitted: "counter", "ringway_submitted_total", "Messages handed to their hubs.";
        batches: "counter", "ringway_hub_batches_total", "Batches committed by the hubs of this shard.";
        numbered: "counter", "ringway_numbered_total", "Messages numbered and fanned out.";
        duplicates: "counter", "ringway_duplicates_total", "Repeated sends answered with their first number.";
        encodings: "counter", "ringway_encodings_total", "Message encodings, one a wire format.";
        delivered: "counter", "ringway_delivered_total", "Messages queued for devices.";
        resyncs: "counter", "ringway_resyncs_total", "Conversations that a slow device was told to read anew.";
        slow_closed: "counter", "ringway_slow_readers_total", "Devices closed because they did not read.";
        pages: "counter", "ringway_backlog_pages_total", "Backlog pages pushed.";
        transients: "counter", "ringway_transients_total", "Transient pushes queued for devices.";
        arrived: "counter", "ringway_arrived_total", "Messages committed by other nodes and shown here.";
        reordered: "counter", "ringway_reordered_total", "Times a batch began to wait for those of other nodes below it.";
        missed: "counter", "ringway_mailbox_missed_total", "Deliveries dropped at a full mailbox and owed.";
        hubs: "gauge", "ringway_hubs", "Conversations with a hub on this shard.";
        mailbox_depth: "gauge", "ringway_mailbox_depth", "Items taken from the mailbox in the last turn.";
        turns: "counter", "ringway_mailbox_turns_total", "Turns of the mailbox.";
    }
}

counters! {
    /// What the uplink counts.
    UplinkCounters {
        commits: "counter", "ringway_uplink_commits_total", "Append calls to the event log.";
        committed: "counter", "ringway_uplink_committed_total", "Messages made durable and numbered.";
        failed: "counter", "ringway_uplink_failed_total", "Messages refused because log or numbering failed.";
        opens: "counter", "ringway_opens_total", "Tokens checked for connect.";
        opens_refused: "counter", "ringway_opens_refused_total", "Connects refused.";
        told_nodes: "counter", "ringway_told_nodes_total", "Batches handed to other nodes.";
        kicked: "counter", "ringway_kicked_total", "Sessions ended by policy or revocation.";
        users: "gauge", "ringway_users_online", "Users with a session.";
    }
}

/// One shard's metrics.
#[derive(Debug, Default)]
pub(crate) struct ShardMetrics {
    pub(crate) counters: ShardCounters,
    /// From a batch's commit to its number, as its hub sees it.
    pub(crate) commit_latency: Latency,
}

/// The uplink's metrics.
#[derive(Debug, Default)]
pub(crate) struct UplinkMetrics {
    pub(crate) counters: UplinkCounters,
    /// From the request until durable.
    pub(crate) append_latency: Latency,
    /// From durable until numbered.
    pub(crate) number_latency: Latency,
    /// Words of other nodes dropped because the uplink was behind; written by the peers' threads.
    pub(crate) unheard: AtomicU64,
    /// Whether this node's own messages get through.
    pub(crate) canary: crate::uplink::Canary,
}

/// All of it as Prometheus text.
pub(crate) fn render(shards: &[std::sync::Arc<ShardMetrics>], uplink: &UplinkMetrics) -> String {
    let mut out = String::new();
    let columns: Vec<Vec<u64>> = shards.iter().map(|shard| shard.counters.values()).collect();
    for (row, (metric, kind, help)) in ShardCounters::ROWS.iter().enumerate() {
        head(&mut out, metric, kind, help);
        for (shard, values) in columns.iter().enumerate() {
            let _ = writeln!(out, "{metric}{{shard=\"{shard}\"}} {}", values.get(row).copied().unwrap_or(0));
        }
    }
    for ((metric, kind, help), value) in UplinkCounters::ROWS.iter().zip(uplink.counters.values()) {
        head(&mut out, metric, kind, help);
        let _ = writeln!(out, "{metric} {value}");
    }
    out.push_str(&uplink.canary.text());
    head(&mut out, "ringway_unheard_total", "counter", "Words of other nodes dropped because the uplink was behind.");
    let _ = writeln!(out, "ringway_unheard_total {}", uplink.unheard.load(Ordering::Relaxed));
    head(&mut out, "ringway_stage_seconds", "histogram", "Time of a message in a stage.");
    for (shard, metrics) in shards.iter().enumerate() {
        histogram(&mut out, &format!("stage=\"commit\",shard=\"{shard}\""), &metrics.commit_latency);
    }
    histogram(&mut out, "stage=\"append\"", &uplink.append_latency);
    histogram(&mut out, "stage=\"number\"", &uplink.number_latency);
    out
}

fn head(out: &mut String, metric: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} {kind}");
}

fn histogram(out: &mut String, labels: &str, latency: &Latency) {
    let mut total = 0;
    let bounds = BOUNDS_US.iter().map(|us| (*us as f64 / 1e6).to_string()).chain(["+Inf".to_owned()]);
    for (bucket, bound) in latency.buckets.iter().zip(bounds) {
        total += bucket.get();
        let _ = writeln!(out, "ringway_stage_seconds_bucket{{{labels},le=\"{bound}\"}} {total}");
    }
    let _ = writeln!(out, "ringway_stage_seconds_sum{{{labels}}} {}", latency.sum_us.get() as f64 / 1e6);
    let _ = writeln!(out, "ringway_stage_seconds_count{{{labels}}} {total}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_ends_at_its_count() {
        let uplink = UplinkMetrics::default();
        for us in [10, 50, 51, 9_999_999] {
            uplink.append_latency.record(us);
        }
        let text = render(&[], &uplink);
        assert!(text.contains("stage=\"append\",le=\"0.00005\"} 2\n"), "{text}");
        assert!(text.contains("stage=\"append\",le=\"0.0001\"} 3\n"));
        assert!(text.contains("stage=\"append\",le=\"+Inf\"} 4\n"));
        assert!(text.contains("ringway_stage_seconds_count{stage=\"append\"} 4\n"));
    }
}
