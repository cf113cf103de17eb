//! The figures of a run: JSON for scripts, a summary for people, and the verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::check::Findings;
use crate::intervals::Intervals;
use crate::machine::{Machine, command};
use crate::options::{Options, Scenario};
use crate::run::Spent;
use crate::server::Memory;
use crate::traffic::Traffic;

/// Share of the latency's p99 that the generator's own p99 may have.
const LAG_SHARE_MAX: f64 = 0.1;

/// Whether the figures count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// They do.
    Good,
    /// The generator lagged behind its schedule.
    Void,
    /// The server did something wrong.
    Wrong,
}

impl Verdict {
    /// The exit code of the process.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Void => 3,
            Self::Wrong => 4,
        }
    }
}

/// A distribution in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Quantiles {
    count: u64,
    mean: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

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
    /// Deliveries due in the whole run, before and after the measured window too, as `lost` counts them.
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
    deliver_us: Quantiles,
    lag_us: Quantiles,
    intervals: Intervals,
    server: Option<ServerSpent>,
    /// Processor time of the generator's work, spinning left out.
    load_cpu_us_per_delivery: f64,
    /// Processors that it kept busy by spinning until the next message was due.
    load_spin_cores: f64,
    /// Whether it cost more than the server; absent when the server's cost is not known.
    load_costs_more: Option<bool>,
}

/// What the server spent in the measured window.
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

/// Figures of idle devices.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    /// Bytes before, with one device connected.
    pub(crate) before: Memory,
    /// Bytes with all.
    pub(crate) after: Memory,
    /// Growth for each further device.
    pub(crate) per_connection: Memory,
    /// Seconds that connecting took.
    pub(crate) connect_s: f64,
    /// Devices that answered after the rest.
    pub(crate) answered: u64,
    /// Processes of the generator that held them.
    pub(crate) processes: usize,
}

/// Everything about one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    scenario: Scenario,
    verdict: Verdict,
    format: &'static str,
    connections: usize,
    command: String,
    machine: Machine,
    findings: Findings,
    #[serde(flatten)]
    load: Option<Load>,
    memory: Option<Idle>,
}

impl Report {
    /// Of a scenario that sent.
    pub(crate) fn of_load(options: &Options, traffic: &Traffic, spent: &Spent) -> Self {
        let lag_us = Quantiles::of(&traffic.lag);
        let deliver_us = Quantiles::of(&traffic.to_delivery);
        let delivered = spent.tally.delivered;
        let is_void = options.inflight.is_none() && lag_us.p99 > deliver_us.p99 * LAG_SHARE_MAX;
        let is_clean = traffic.findings.is_clean() && delivered > 0;
        let server = server_spent(spent);
        let load_cpu_us_per_delivery = (spent.own.total_s() - spent.spun_s).max(0.0) * 1e6 / delivered.max(1) as f64;
        let server_cpu_us = server.as_ref().and_then(|server| server.cpu_us_per_delivery);
        let load = Load {
            offered_per_s: options.inflight.is_none().then_some(options.rate),
            inflight: options.inflight,
            payload_bytes: options.payload,
            measured_s: spent.seconds,
            sent: spent.tally.sent,
            acknowledged: spent.tally.acknowledged,
            delivered,
            due: traffic.due(),
            echoed: spent.tally.echoed,
            delivered_per_s: delivered as f64 / spent.seconds,
            messages_per_s: delivered as f64 / spent.seconds / receivers(traffic),
            refused: traffic.refused.clone(),
            drain_s: spent.drain_s,
            sent_us: Quantiles::of(&traffic.to_sent),
            deliver_us,
            lag_us,
            intervals: traffic.intervals.clone(),
            server,
            load_cpu_us_per_delivery,
            load_spin_cores: spent.spun_s / spent.seconds,
            load_costs_more: server_cpu_us.map(|server| load_cpu_us_per_delivery > server),
        };
        let verdict = match (is_clean, is_void) {
            (false, _) => Verdict::Wrong,
            (true, true) => Verdict::Void,
            (true, false) => Verdict::Good,
        };
        Self { load: Some(load), ..Self::new(options, verdict, traffic.findings) }
    }

    /// Of idle devices.
    pub(crate) fn of_idle(options: &Options, idle: Idle, findings: Findings) -> Self {
        let is_clean = findings.is_clean() && idle.answered == options.connections as u64;
        let verdict = if is_clean { Verdict::Good } else { Verdict::Wrong };
        Self { memory: Some(idle), ..Self::new(options, verdict, findings) }
    }

    fn new(options: &Options, verdict: Verdict, findings: Findings) -> Self {
        Self {
            scenario: options.scenario,
            verdict,
            format: options.protocol.name(),
            connections: options.connections,
            command: command(),
            machine: Machine::here(),
            findings,
            load: None,
            memory: None,
        }
    }

    /// Whether the figures count.
    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// For people.
    pub(crate) fn summary(&self) -> String {
        let mut text = String::new();
        // Writing into a string has no way to fail.
        let _ = self.write_summary(&mut text);
        text
    }

    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        let machine = &self.machine;
        writeln!(text, "{:?}: {} connections, {}", self.scenario, self.connections, self.format)?;
        writeln!(text, "on {}, {} cores, Linux {}", machine.cpu, machine.cores, machine.kernel)?;
        if let Some(load) = &self.load {
            load.write_summary(text)?;
        }
        if let Some(idle) = &self.memory {
            let each = &idle.per_connection;
            writeln!(
                text,
                "server, bytes a connection: {} private, {} PSS, {} RSS; kernel, both ends: {} TCP buffers, {} slab",
                each.private, each.pss, each.rss, each.kernel_tcp, each.kernel_slab
            )?;
            let (connect_s, answered, processes) = (idle.connect_s, idle.answered, idle.processes);
            writeln!(
                text,
                "connected in {connect_s:.2} s by {processes} processes, {answered} answered after the rest"
            )?;
        }
        match self.verdict {
            Verdict::Good => writeln!(text, "everything came once, in order, as it was sent"),
            Verdict::Void => writeln!(text, "VOID: the generator's lag is above a tenth of the latency (p99)"),
            Verdict::Wrong => writeln!(text, "WRONG: {:?}", self.findings),
        }
    }
}

impl Load {
    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
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

fn receivers(traffic: &Traffic) -> f64 {
    traffic.streams.first().map_or(1.0, |stream| stream.receivers as f64)
}

fn server_spent(spent: &Spent) -> Option<ServerSpent> {
    if spent.server.is_none() && spent.counters.is_none() {
        return None;
    }
    let delivered = spent.tally.delivered.max(1) as f64;
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
