//! Counters of the shards and the uplink: each has one writer, so a count is a plain add.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::counter::Counter;
use crate::latency::Latency;
use crate::stages::Stages;

/// The metric of all stages.
const STAGE_SECONDS: &str = "ringway_stage_seconds";

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
        frames_out: "counter", "ringway_frames_total", "Frames queued for clients: replies, messages, pings.";
        commands: "counter", "ringway_commands_total", "Commands received.";
        errors: "counter", "ringway_command_errors_total", "Commands answered by an error.";
        submitted: "counter", "ringway_submitted_total", "Messages handed to their hubs.";
        batches: "counter", "ringway_hub_batches_total", "Batches committed by the hubs of this shard.";
        batched: "counter", "ringway_hub_batched_total", "Messages in those batches.";
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
        turns: "counter", "ringway_mailbox_turns_total", "Times items were taken from the mailbox, all that fit a turn.";
        mail: "counter", "ringway_mailbox_items_total", "Items taken from the mailbox.";
        wakes: "counter", "ringway_mailbox_wakes_total", "Times another thread woke the mailbox out of its sleep.";
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

/// What a shard's loop has done, as its ticker last saw it.
#[derive(Debug, Default)]
pub(crate) struct LoopCounters {
    pub(crate) polls: Counter,
    pub(crate) cpu_us: Counter,
    pub(crate) turns: Counter,
    pub(crate) completions: Counter,
    pub(crate) wakes: Counter,
}

/// One shard's metrics. Aligned so that no other thread writes to their cache lines, nor to those fetched with them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct ShardMetrics {
    pub(crate) counters: ShardCounters,
    pub(crate) stages: Stages,
    pub(crate) of_loop: LoopCounters,
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
    render_loops(&mut out, shards);
    for ((metric, kind, help), value) in UplinkCounters::ROWS.iter().zip(uplink.counters.values()) {
        head(&mut out, metric, kind, help);
        let _ = writeln!(out, "{metric} {value}");
    }
    out.push_str(&uplink.canary.text());
    head(&mut out, "ringway_unheard_total", "counter", "Words of other nodes dropped because the uplink was behind.");
    let _ = writeln!(out, "ringway_unheard_total {}", uplink.unheard.load(Ordering::Relaxed));
    head(&mut out, STAGE_SECONDS, "histogram", "Time of a message in a stage.");
    for (shard, metrics) in shards.iter().enumerate() {
        for (stage, latency) in metrics.stages.each() {
            latency.render(STAGE_SECONDS, &format!("stage=\"{stage}\",shard=\"{shard}\""), &mut out);
        }
    }
    uplink.append_latency.render(STAGE_SECONDS, "stage=\"append\"", &mut out);
    uplink.number_latency.render(STAGE_SECONDS, "stage=\"number\"", &mut out);
    out
}

fn render_loops(out: &mut String, shards: &[std::sync::Arc<ShardMetrics>]) {
    type Value = fn(&LoopCounters) -> f64;
    let rows: [(&str, &str, Value); 5] = [
        ("ringway_loop_turns_total", "Turns of the loop, one entry of the ring each.", |of| of.turns.get() as f64),
        (
            "ringway_loop_completions_total",
            "Completions of the ring: reads, waits for room, wakes by other threads. A send that goes out at once has none.",
            |of| of.completions.get() as f64,
        ),
        ("ringway_loop_wakes_total", "Wakes by other threads that the ring told of.", |of| of.wakes.get() as f64),
        ("ringway_loop_polls_total", "Times a task of the shard was polled.", |of| of.polls.get() as f64),
        ("ringway_shard_cpu_seconds_total", "Processor time of the shard's thread, user and system.", |of| {
            of.cpu_us.get() as f64 / 1e6
        }),
    ];
    for (metric, help, value) in rows {
        head(out, metric, "counter", help);
        for (shard, metrics) in shards.iter().enumerate() {
            let _ = writeln!(out, "{metric}{{shard=\"{shard}\"}} {}", value(&metrics.of_loop));
        }
    }
}

fn head(out: &mut String, metric: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {metric} {help}\n# TYPE {metric} {kind}");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn lines_of(text: &str, metric: &str) -> Vec<String> {
        text.lines().filter(|line| line.starts_with(&format!("{metric}{{"))).map(str::to_owned).collect()
    }

    #[test]
    fn every_shard_has_its_row_and_its_stages() {
        let shards = [Arc::new(ShardMetrics::default()), Arc::new(ShardMetrics::default())];
        shards[1].counters.batched.add(7);
        shards[1].stages.sent.record(40);
        let text = render(&shards, &UplinkMetrics::default());
        let rows = ["ringway_hub_batched_total{shard=\"0\"} 0", "ringway_hub_batched_total{shard=\"1\"} 7"];
        assert_eq!(lines_of(&text, "ringway_hub_batched_total"), rows);
        let counts = lines_of(&text, "ringway_stage_seconds_count");
        assert_eq!(counts.len(), 2 * 6 + 2, "{counts:?}");
        assert!(counts.contains(&"ringway_stage_seconds_count{stage=\"sent\",shard=\"1\"} 1".to_owned()), "{counts:?}");
    }

    #[test]
    fn processor_time_is_told_in_seconds() {
        let shards = [Arc::new(ShardMetrics::default()), Arc::new(ShardMetrics::default())];
        shards[1].of_loop.cpu_us.set(1_500_000);
        let text = render(&shards, &UplinkMetrics::default());
        assert!(text.contains("ringway_shard_cpu_seconds_total{shard=\"1\"} 1.5\n"), "{text}");
    }
}
