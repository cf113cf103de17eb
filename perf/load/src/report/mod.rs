//! The figures of a run: JSON for scripts, a summary for people, and the verdict.
//!
//! `load` holds those of every scenario that sends, `own` those that one scenario adds.

mod load;
mod own;

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::check::Findings;
use crate::machine::{Machine, command};
use crate::options::{Options, Scenario};
use crate::report::load::Load;
pub(crate) use crate::report::own::{Day, Drain, Offline, Own, Scale, Slow, Storm};
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
    /// Of a histogram of nanoseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
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
    #[serde(flatten)]
    own: Option<Own>,
}

impl Report {
    /// Of a scenario that sent.
    pub(crate) fn of_load(options: &Options, traffic: &Traffic, spent: &Spent) -> Self {
        let load = Load::of(options, traffic, spent);
        let is_void = options.inflight.is_none() && load.lag_us.p99 > load.deliver_us.p99 * LAG_SHARE_MAX;
        let is_clean = traffic.findings.is_clean() && traffic.tally.delivered + traffic.tally.late > 0;
        let verdict = match (is_clean, is_void) {
            (false, _) => Verdict::Wrong,
            (true, true) => Verdict::Void,
            (true, false) => Verdict::Good,
        };
        Self { load: Some(load), ..Self::new(options, verdict, traffic.findings) }
    }

    /// With the figures that the scenario adds.
    pub(crate) fn with(self, own: impl Into<Own>) -> Self {
        Self { own: Some(own.into()), ..self }
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
            own: None,
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
        if let Some(own) = &self.own {
            own.write_summary(text)?;
        }
        match self.verdict {
            Verdict::Good => writeln!(text, "everything came once, in order, as it was sent"),
            Verdict::Void => writeln!(text, "VOID: the generator's lag is above a tenth of the latency (p99)"),
            Verdict::Wrong => writeln!(text, "WRONG: {:?}", self.findings),
        }
    }
}
