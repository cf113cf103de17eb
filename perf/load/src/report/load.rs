//! What every scenario that sends reports: counts, latencies, and what server and generator spent.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::Quantiles;
use crate::intervals::Intervals;
use crate::options::Options;
use crate::run::Spent;
use crate::traffic::Traffic;

/// Figures of a scenario that sends.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    /// Messages a second that were to be sent; absent in a closed loop.
    offered_per_s: Option<f64>,
    /// Messages in flight a sender in a closed loop.
    inflight: Option<u64>,
    payload_bytes: usize,
    measured_s: f64,
    sent: u64,
    acknowledged: u64,
    delivered: u64,
    /// Deliveries to those who were away or did not read; not among the delivered.
    late: u64,
    /// Deliveries due in the whole run, before and after the measured window and to the late too, as `lost` counts them.
    due: u64,
    /// Messages that came back to their sender's own connection as well.
    echoed: u64,
    delivered_per_s: f64,
    /// Messages a second, each counted once however many receive it.
    messages_per_s: f64,
    /// By error code.
    refused: BTreeMap<u32, u64>,
    /// From the last send until everything was there.
    drain_s: f64,
    sent_us: Quantiles,
    pub(super) deliver_us: Quantiles,
    pub(super) lag_us: Quantiles,
    intervals: Intervals,
    server: Option<ServerSpent>,
    /// Processor time of the generator's work, spinning left out.
    load_cpu_us_per_delivery: f64,
    /// Processors that it kept busy by spinning until the next message was due.
    load_spin_cores: f64,
    /// Whether it cost more than the server; absent when the server's cost is not known.
    load_costs_more: Option<bool>,
}

/// What the server spent in the measured window; see `Tally::deliveries`.
#[derive(Debug, Serialize)]
struct ServerSpent {
    cpu_us_per_delivery: Option<f64>,
    /// User and kernel share of it.
    user_us_per_delivery: Option<f64>,
    system_us_per_delivery: Option<f64>,
    /// Processors it kept busy.
    cores: Option<f64>,
    writes_per_delivery: Option<f64>,
    reads_per_delivery: Option<f64>,
    messages_per_hub_batch: Option<f64>,
    records_per_commit: Option<f64>,
    commit_us_mean: Option<f64>,
    journal_bytes_per_record: Option<f64>,
}

impl Load {
    pub(super) fn of(options: &Options, traffic: &Traffic, spent: &Spent) -> Self {
        let delivered = spent.tally.delivered;
        let server = server_spent(spent);
        let load_cpu_us_per_delivery = (spent.own.total_s() - spent.spun_s).max(0.0) * 1e6 / spent.tally.deliveries();
        let server_cpu_us = server.as_ref().and_then(|server| server.cpu_us_per_delivery);
        Self {
            offered_per_s: options.inflight.is_none().then_some(options.rate),
            inflight: options.inflight,
            payload_bytes: options.payload,
            measured_s: spent.seconds,
            sent: spent.tally.sent,
            acknowledged: spent.tally.acknowledged,
            delivered,
            late: spent.tally.late,
            due: traffic.due(),
            echoed: spent.tally.echoed,
            delivered_per_s: delivered as f64 / spent.seconds,
            messages_per_s: messages(traffic, spent) / spent.seconds,
            refused: traffic.refused.clone(),
            drain_s: spent.drain_s,
            sent_us: Quantiles::of(&traffic.to_sent),
            deliver_us: Quantiles::of(&traffic.to_delivery),
            lag_us: Quantiles::of(&traffic.lag),
            intervals: traffic.intervals.clone(),
            server,
            load_cpu_us_per_delivery,
            load_spin_cores: spent.spun_s / spent.seconds,
            load_costs_more: server_cpu_us.map(|server| load_cpu_us_per_delivery > server),
        }
    }

    pub(super) fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        let pace = match (self.offered_per_s, self.inflight) {
            (Some(rate), _) => format!("open loop, {rate:.0}/s offered"),
            (None, inflight) => format!("closed loop, {} in flight a sender", inflight.unwrap_or(0)),
        };
        writeln!(
            text,
            "{pace}: {:.0} messages/s, {:.0} deliveries/s over {:.1} s, {} B bodies; drained in {:.2} s",
            self.messages_per_s, self.delivered_per_s, self.measured_s, self.payload_bytes, self.drain_s
        )?;
        for (name, us) in [("send → sent", &self.sent_us), ("send → deliver", &self.deliver_us), ("lag", &self.lag_us)]
        {
            if us.count > 0 {
                writeln!(
                    text,
                    "{name:>14} ms: p50 {:.3}  p90 {:.3}  p99 {:.3}  p99.9 {:.3}  max {:.3}",
                    us.p50 / 1e3,
                    us.p90 / 1e3,
                    us.p99 / 1e3,
                    us.p999 / 1e3,
                    us.max / 1e3
                )?;
            }
        }
        if let Some(server) = &self.server {
            let show = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
            writeln!(
                text,
                "server a delivery: {} µs CPU ({} user, {} kernel), {} writes, {} reads; {} cores busy",
                show(server.cpu_us_per_delivery),
                show(server.user_us_per_delivery),
                show(server.system_us_per_delivery),
                show(server.writes_per_delivery),
                show(server.reads_per_delivery),
                show(server.cores)
            )?;
        }
        if let Some(server) = self.server.as_ref().filter(|server| server.writes_per_delivery.is_some()) {
            let show = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
            writeln!(
                text,
                "server: {} records a journal commit of {} µs, {} messages a hub batch",
                show(server.records_per_commit),
                show(server.commit_us_mean),
                show(server.messages_per_hub_batch)
            )?;
        }
        let besides = match (&self.server, self.load_costs_more) {
            (Some(ServerSpent { cpu_us_per_delivery: Some(server), .. }), Some(more)) => {
                format!(", {} than the server's {server:.2}", if more { "MORE" } else { "less" })
            }
            _ => String::new(),
        };
        let (cost, spun) = (self.load_cpu_us_per_delivery, self.load_spin_cores);
        writeln!(text, "generator: {cost:.2} µs CPU a delivery{besides}; {spun:.2} cores spun until the next was due")?;
        if self.echoed > 0 {
            writeln!(text, "echoed to their senders: {}", self.echoed)?;
        }
        if !self.refused.is_empty() {
            writeln!(text, "refused, by code: {:?}", self.refused)?;
        }
        Ok(())
    }
}

/// Messages that were acknowledged, or, where none is, delivered to all.
fn messages(traffic: &Traffic, spent: &Spent) -> f64 {
    if spent.tally.acknowledged > 0 {
        return spent.tally.acknowledged as f64;
    }
    let receivers = traffic.streams.first().map_or(1, |stream| stream.receivers.max(1));
    spent.tally.delivered as f64 / receivers as f64
}

fn server_spent(spent: &Spent) -> Option<ServerSpent> {
    if spent.server.is_none() && spent.counters.is_none() {
        return None;
    }
    let delivered = spent.tally.deliveries();
    let us = |seconds: f64| seconds * 1e6 / delivered;
    let grown = |name: &str| spent.counters.as_ref().map(|(before, after)| after.grown(before, name));
    let ratio = |above: &str, below: &str| Some(grown(above)? / grown(below)?).filter(|ratio| ratio.is_finite());
    Some(ServerSpent {
        cpu_us_per_delivery: spent.server.map(|cpu| us(cpu.total_s())),
        user_us_per_delivery: spent.server.map(|cpu| us(cpu.user_s)),
        system_us_per_delivery: spent.server.map(|cpu| us(cpu.system_s)),
        cores: spent.server.map(|cpu| cpu.total_s() / spent.seconds),
        writes_per_delivery: grown("ringway_writes_total").map(|writes| writes / delivered),
        reads_per_delivery: grown("ringway_reads_total").map(|reads| reads / delivered),
        messages_per_hub_batch: ratio("ringway_numbered_total", "ringway_hub_batches_total"),
        records_per_commit: ratio("ringway_journal_records_total", "ringway_journal_commit_seconds_count"),
        commit_us_mean: ratio("ringway_journal_commit_seconds_sum", "ringway_journal_commit_seconds_count")
            .map(|s| s * 1e6),
        journal_bytes_per_record: ratio("ringway_journal_record_bytes_total", "ringway_journal_records_total"),
    })
}
