//! What two readings of a node say about the time between them.
//!
//! A figure that has nothing under it (frames a write without a write) is none. A counter that went down means that the
//! node was started anew: what it shows then has all been counted since.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reading::Reading;
use crate::clock;

const STAGE_SECONDS: &str = "ringway_stage_seconds";
/// Stages that a shard sees, in the order of a message's way.
pub(super) const STAGES: [&str; 6] = ["home", "batch", "commit", "sent", "push", "ack"];
const COMMIT_SECONDS: &str = "ringway_journal_commit_seconds";
/// Counters shown as they stand, for whoever compares with what was done before the first reading.
const TOTALS: [(&str, &str); 13] = [
    ("accepted", "ringway_accepted_total"),
    ("commands", "ringway_commands_total"),
    ("submitted", "ringway_submitted_total"),
    ("batches", "ringway_hub_batches_total"),
    ("batched", "ringway_hub_batched_total"),
    ("numbered", "ringway_numbered_total"),
    ("delivered", "ringway_delivered_total"),
    ("frames", "ringway_frames_total"),
    ("writes", "ringway_writes_total"),
    ("mailbox_items", "ringway_mailbox_items_total"),
    ("mailbox_wakes", "ringway_mailbox_wakes_total"),
    ("turns", "ringway_loop_turns_total"),
    ("completions", "ringway_loop_completions_total"),
];

/// A node between two readings.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    /// Of the second reading, Unix milliseconds.
    pub(super) at_ms: u64,
    /// Between the two.
    pub(super) seconds: f64,
    /// Each shard, in order.
    pub(super) shards: Vec<Shard>,
    /// All of them together.
    pub(super) all: Shard,
    /// The thread that makes durable and numbers.
    pub(super) uplink: Uplink,
    /// The journal of `ringway up`; a gateway's is its spool, and tells less.
    pub(super) journal: Option<Journal>,
}

/// A shard, or all of them.
#[derive(Debug, Serialize)]
pub(super) struct Shard {
    /// Its number; none for all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) shard: Option<u16>,
    pub(super) connections: f64,
    pub(super) sessions: f64,
    pub(super) hubs: f64,
    /// Of a processor; 1 is a whole one.
    pub(super) cpu: Option<f64>,
    pub(super) turns_per_s: Option<f64>,
    pub(super) completions_per_turn: Option<f64>,
    pub(super) polls_per_turn: Option<f64>,
    pub(super) commands_per_s: f64,
    pub(super) frames_per_s: f64,
    pub(super) writes_per_s: f64,
    pub(super) frames_per_write: Option<f64>,
    pub(super) bytes_per_write: Option<f64>,
    pub(super) mailbox_items_per_s: f64,
    pub(super) mailbox_items_per_turn: Option<f64>,
    pub(super) mailbox_depth: f64,
    pub(super) mailbox_wakes_per_s: f64,
    pub(super) batches_per_s: f64,
    pub(super) messages_per_batch: Option<f64>,
    pub(super) numbered_per_s: f64,
    pub(super) delivered_per_s: f64,
    /// By name.
    pub(super) stages: BTreeMap<&'static str, Stage>,
    /// Since the node's start.
    pub(super) total: BTreeMap<&'static str, f64>,
}

/// A histogram of times, between the readings.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(super) struct Stage {
    /// How many, between the readings.
    pub(super) count: f64,
    /// How many since the node's start.
    pub(super) total: f64,
    pub(super) mean_us: Option<f64>,
    /// As far as the buckets tell.
    pub(super) p50_us: Option<f64>,
    pub(super) p99_us: Option<f64>,
}

/// The uplink.
#[derive(Debug, Serialize)]
pub(super) struct Uplink {
    pub(super) appends_per_s: f64,
    pub(super) messages_per_append: Option<f64>,
    pub(super) append: Stage,
    pub(super) number: Stage,
}

/// The journal.
#[derive(Debug, Serialize)]
pub(super) struct Journal {
    pub(super) commits_per_s: f64,
    pub(super) records_per_commit: Option<f64>,
    pub(super) bytes_per_commit: Option<f64>,
    pub(super) commit: Stage,
    /// Since the node's start.
    pub(super) commit_max_us: f64,
}

impl Figures {
    /// What happened between two readings of one node.
    pub(super) fn between(before: &Reading, after: &Reading) -> Self {
        let seconds = after.at.saturating_duration_since(before.at).as_secs_f64().max(1e-3);
        let span = Span { before, after, seconds };
        let shards = after.shards().into_iter().map(|shard| span.shard(Some(shard))).collect();
        Self {
            at_ms: clock::unix_ms(),
            seconds,
            shards,
            all: span.shard(None),
            uplink: span.uplink(),
            journal: span.journal(),
        }
    }
}

struct Span<'a> {
    before: &'a Reading,
    after: &'a Reading,
    seconds: f64,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Span<'_> {
    fn shard(&self, shard: Option<u16>) -> Shard {
        let number = shard.map(|shard| shard.to_string());
        let labels: Vec<(&str, &str)> = number.iter().map(|number| ("shard", number.as_str())).collect();
        let grown = |metric| self.grown(metric, &labels);
        let per_s = |metric| grown(metric).unwrap_or(0.0) / self.seconds;
        let per = |metric, of| ratio(grown(metric), grown(of));
        let now = |metric| self.after.value(metric, &labels).unwrap_or(0.0);
        let stage = |name| {
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("stage", name)]).collect();
            (name, self.times(STAGE_SECONDS, &labels))
        };
        Shard {
            shard,
            connections: now("ringway_connections"),
            sessions: now("ringway_sessions"),
            hubs: now("ringway_hubs"),
            cpu: grown("ringway_shard_cpu_seconds_total").map(|cpu| cpu / self.seconds),
            turns_per_s: grown("ringway_loop_turns_total").map(|turns| turns / self.seconds),
            completions_per_turn: per("ringway_loop_completions_total", "ringway_loop_turns_total"),
            polls_per_turn: per("ringway_loop_polls_total", "ringway_loop_turns_total"),
            commands_per_s: per_s("ringway_commands_total"),
            frames_per_s: per_s("ringway_frames_total"),
            writes_per_s: per_s("ringway_writes_total"),
            frames_per_write: per("ringway_frames_total", "ringway_writes_total"),
            bytes_per_write: per("ringway_sent_bytes_total", "ringway_writes_total"),
            mailbox_items_per_s: per_s("ringway_mailbox_items_total"),
            mailbox_items_per_turn: per("ringway_mailbox_items_total", "ringway_mailbox_turns_total"),
            mailbox_depth: now("ringway_mailbox_depth"),
            mailbox_wakes_per_s: per_s("ringway_mailbox_wakes_total"),
            batches_per_s: per_s("ringway_hub_batches_total"),
            messages_per_batch: per("ringway_hub_batched_total", "ringway_hub_batches_total"),
            numbered_per_s: per_s("ringway_numbered_total"),
            delivered_per_s: per_s("ringway_delivered_total"),
            stages: STAGES.into_iter().map(stage).collect(),
            total: TOTALS.iter().filter_map(|(name, of)| Some((*name, self.after.value(of, &labels)?))).collect(),
        }
    }

    fn uplink(&self) -> Uplink {
        let (appends, messages) =
            (self.grown("ringway_uplink_commits_total", &[]), self.grown("ringway_uplink_committed_total", &[]));
        Uplink {
            appends_per_s: appends.unwrap_or(0.0) / self.seconds,
            messages_per_append: ratio(messages, appends),
            append: self.times(STAGE_SECONDS, &[("stage", "append")]),
            number: self.times(STAGE_SECONDS, &[("stage", "number")]),
        }
    }

    fn journal(&self) -> Option<Journal> {
        let commit_max_s = self.after.value(&format!("{COMMIT_SECONDS}_max"), &[])?;
        let commit = self.times(COMMIT_SECONDS, &[]);
        let per_commit = |metric| ratio(self.grown(metric, &[]), Some(commit.count));
        Some(Journal {
            commits_per_s: commit.count / self.seconds,
            records_per_commit: per_commit("ringway_journal_records_total"),
            bytes_per_commit: per_commit("ringway_journal_record_bytes_total"),
            commit,
            commit_max_us: commit_max_s * 1e6,
        })
    }

    /// By how much a counter has grown; `None` where the node has no such counter.
    fn grown(&self, metric: &str, labels: Labels<'_>) -> Option<f64> {
        let after = self.after.value(metric, labels)?;
        Some(since(self.before.value(metric, labels).unwrap_or(0.0), after))
    }

    fn times(&self, metric: &str, labels: Labels<'_>) -> Stage {
        let before = self.before.buckets(metric, labels);
        let after = self.after.buckets(metric, labels);
        let total = after.last().map_or(0.0, |(_, count)| *count);
        let anew = total < before.last().map_or(0.0, |(_, count)| *count);
        let of_before = |bound: f64| before.iter().find(|(found, _)| *found == bound && !anew).map_or(0.0, |(_, n)| *n);
        let grown: Vec<(f64, f64)> = after.iter().map(|(bound, n)| (*bound, n - of_before(*bound))).collect();
        let count = grown.last().map_or(0.0, |(_, count)| *count);
        let sum_s = self.grown(&format!("{metric}_sum"), labels);
        Stage {
            count,
            total,
            mean_us: ratio(sum_s, Some(count)).map(|mean_s| mean_s * 1e6),
            p50_us: quantile(&grown, 0.5).map(|s| s * 1e6),
            p99_us: quantile(&grown, 0.99).map(|s| s * 1e6),
        }
    }
}

fn since(before: f64, after: f64) -> f64 {
    if after < before { after } else { after - before }
}

fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to.filter(|to| *to > 0.0)?)
}

/// A quantile of cumulative counts by upper bound: even within a bucket, and the highest bound there is for what lies
/// above it. `None` without any count.
fn quantile(counts: &[(f64, f64)], quantile: f64) -> Option<f64> {
    let total = counts.last().map(|(_, count)| *count).filter(|total| *total > 0.0)?;
    let rank = quantile * total;
    let (mut below, mut passed) = (0.0, 0.0);
    for &(bound, count) in counts {
        if count >= rank && count > passed {
            let part = (rank - passed) / (count - passed);
            return Some(if bound.is_finite() { below + (bound - below) * part } else { below });
        }
        if bound.is_finite() {
            (below, passed) = (bound, count);
        }
    }
    Some(below)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn between(before: &str, after: &str) -> Figures {
        let begin = Instant::now();
        let read = |text, at| Reading::parse(text, at).unwrap();
        Figures::between(&read(before, begin), &read(after, begin + Duration::from_secs(2)))
    }

    const BEFORE: &str = "\
ringway_connections{shard=\"0\"} 1
ringway_connections{shard=\"1\"} 2
ringway_frames_total{shard=\"0\"} 100
ringway_frames_total{shard=\"1\"} 0
ringway_writes_total{shard=\"0\"} 10
ringway_writes_total{shard=\"1\"} 0
ringway_loop_turns_total{shard=\"0\"} 10
";
    const AFTER: &str = "\
ringway_connections{shard=\"0\"} 3
ringway_connections{shard=\"1\"} 2
ringway_frames_total{shard=\"0\"} 180
ringway_frames_total{shard=\"1\"} 20
ringway_writes_total{shard=\"0\"} 20
ringway_writes_total{shard=\"1\"} 10
ringway_loop_turns_total{shard=\"0\"} 30
";

    #[test]
    fn rates_are_differences_by_time_for_each_shard_and_for_all() {
        let Figures { shards, all, seconds, journal, .. } = between(BEFORE, AFTER);
        assert_eq!((seconds, shards.len(), journal.is_none()), (2.0, 2, true));
        assert_eq!((shards[0].shard, shards[1].shard, all.shard), (Some(0), Some(1), None));
        let rates = |shard: &Shard| (shard.connections, shard.frames_per_s, shard.frames_per_write, shard.turns_per_s);
        assert_eq!(rates(&shards[0]), (3.0, 40.0, Some(8.0), Some(10.0)));
        assert_eq!(rates(&shards[1]), (2.0, 10.0, Some(2.0), None));
        assert_eq!(rates(&all), (5.0, 50.0, Some(5.0), Some(10.0)));
        assert_eq!((shards[0].total["frames"], all.total["frames"]), (180.0, 200.0));
        assert_eq!(shards[0].messages_per_batch, None, "no batch");
    }

    #[test]
    fn a_node_that_was_started_anew_is_counted_from_its_start() {
        let Figures { shards, .. } = between(AFTER, BEFORE);
        assert_eq!((shards[0].frames_per_s, shards[0].frames_per_write), (50.0, Some(10.0)));
    }

    #[test]
    fn stages_are_of_the_time_between() {
        let stage = |counts: [u32; 3], sum: f64| {
            let [first, second, all] = counts;
            format!(
                "x_sum{{stage=\"sent\",shard=\"0\"}} {sum}\nx_bucket{{stage=\"sent\",shard=\"0\",le=\"0.001\"}} {first}\n\
                 x_bucket{{stage=\"sent\",shard=\"0\",le=\"0.002\"}} {second}\n\
                 x_bucket{{stage=\"sent\",shard=\"0\",le=\"+Inf\"}} {all}\n"
            )
            .replace('x', STAGE_SECONDS)
        };
        let text = |counts, sum| format!("ringway_connections{{shard=\"0\"}} 0\n{}", stage(counts, sum));
        let figures = between(&text([100, 100, 100], 0.05), &text([110, 200, 200], 0.2));
        let sent = &figures.shards[0].stages["sent"];
        assert_eq!((sent.count, sent.total), (100.0, 200.0));
        assert!((sent.mean_us.unwrap() - 1_500.0).abs() < 1e-6, "{sent:?}");
        assert!((sent.p50_us.unwrap() - (1_000.0 + 1_000.0 * 40.0 / 90.0)).abs() < 1e-6, "{sent:?}");
        assert_eq!(figures.shards[0].stages["ack"], Stage::default());
        let anew = between(&text([110, 200, 200], 0.2), &text([10, 10, 10], 0.005));
        assert_eq!((anew.all.stages["sent"].count, anew.all.stages["sent"].total), (10.0, 10.0));
    }

    #[test]
    fn a_quantile_above_the_last_bound_is_that_bound() {
        let counts = [(1.0, 0.0), (2.0, 10.0), (f64::INFINITY, 20.0)];
        assert_eq!(quantile(&counts, 0.25), Some(1.5));
        assert_eq!(quantile(&counts, 0.99), Some(2.0));
        assert_eq!(quantile(&[(1.0, 0.0), (f64::INFINITY, 0.0)], 0.5), None);
        assert_eq!(quantile(&[], 0.5), None);
    }
}
