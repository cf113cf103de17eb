//! What rounds brought: the JSON that scripts read.
//!
//! Times are microseconds, CPU is user and kernel time of the server, ratios are ours over theirs. What could not be
//! measured is absent, never zero.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ratio::{Ratio, Spread};
use crate::stall::{self, Stall};

/// Name of the subject that others are compared with.
pub(crate) const OURS: &str = "ringway";

/// The place of a measurement, as the generator reports it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// Processor.
    pub(crate) cpu: String,
    /// Processors of the machine.
    pub(crate) cores: usize,
    /// Bytes of memory.
    pub(crate) memory_bytes: u64,
    /// Kernel release; beside the machine in what is written.
    #[serde(skip_serializing, default)]
    pub(crate) kernel: String,
}

/// One measurement of one subject.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Round {
    /// Whose.
    pub(crate) subject: String,
    /// From 1.
    pub(crate) round: usize,
    /// `good`, `void` (the generator lagged) or `wrong` (something was lost, doubled, moved or changed).
    pub(crate) verdict: String,
    /// Server CPU for each delivered message.
    pub(crate) cpu_us_per_delivery: Option<f64>,
    /// Messages that arrived.
    pub(crate) deliveries: u64,
    /// Messages that did not.
    pub(crate) lost: u64,
    /// Of so many, in the whole run.
    pub(crate) due: u64,
    /// Where the server stood still.
    pub(crate) stalls: Vec<Stall>,
    /// Arrivals a second.
    pub(crate) deliveries_per_s: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p90_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
    pub(crate) max_us: Option<f64>,
    /// The generator's own lateness.
    pub(crate) lag_p99_us: Option<f64>,
    /// CPU of the generator for each delivered message.
    pub(crate) load_cpu_us_per_delivery: Option<f64>,
    /// Processors that the server kept busy.
    pub(crate) cores: Option<f64>,
    pub(crate) writes_per_delivery: Option<f64>,
    pub(crate) reads_per_delivery: Option<f64>,
    /// Records of one journal commit.
    pub(crate) records_per_commit: Option<f64>,
    pub(crate) messages_per_hub_batch: Option<f64>,
    /// User memory of an idle connection.
    pub(crate) bytes_per_connection: Option<f64>,
    /// Kernel memory of an idle connection, the client's end included.
    pub(crate) kernel_bytes_per_connection: Option<f64>,
    /// All that the generator reported.
    pub(crate) report: Value,
}

impl Round {
    /// From the generator's report.
    pub(crate) fn of(subject: &str, round: usize, report: Value) -> Self {
        let at = |pointer: &str| report.pointer(pointer).and_then(Value::as_f64);
        let count = |pointer: &str| report.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let kernel = at("/memory/per_connection/kernel_tcp").zip(at("/memory/per_connection/kernel_slab"));
        Self {
            subject: subject.to_owned(),
            round,
            verdict: report.get("verdict").and_then(Value::as_str).unwrap_or("wrong").to_owned(),
            cpu_us_per_delivery: at("/server/cpu_us_per_delivery"),
            deliveries: count("/delivered"),
            lost: count("/findings/lost"),
            due: count("/due"),
            stalls: stall::all(&report),
            deliveries_per_s: at("/delivered_per_s"),
            p50_us: at("/deliver_us/p50"),
            p90_us: at("/deliver_us/p90"),
            p99_us: at("/deliver_us/p99"),
            p999_us: at("/deliver_us/p999"),
            max_us: at("/deliver_us/max"),
            lag_p99_us: at("/lag_us/p99"),
            load_cpu_us_per_delivery: at("/load_cpu_us_per_delivery"),
            cores: at("/server/cores"),
            writes_per_delivery: at("/server/writes_per_delivery"),
            reads_per_delivery: at("/server/reads_per_delivery"),
            records_per_commit: at("/server/records_per_commit"),
            messages_per_hub_batch: at("/server/messages_per_hub_batch"),
            bytes_per_connection: at("/memory/per_connection/private"),
            kernel_bytes_per_connection: kernel.map(|(tcp, slab)| tcp + slab),
            report,
        }
    }

    /// Whether its figures count.
    pub(crate) fn is_good(&self) -> bool {
        self.verdict == "good"
    }

    /// What subjects are compared by: CPU a delivery, or memory where nothing is delivered.
    pub(crate) fn cost(&self) -> Option<f64> {
        self.cpu_us_per_delivery.or(self.bytes_per_connection)
    }
}

/// A run of one scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) scenario: String,
    pub(crate) variant: Option<String>,
    pub(crate) machine: Machine,
    pub(crate) kernel: String,
    pub(crate) commit: String,
    pub(crate) command: String,
    /// What each subject is, and what it has made durable when it acknowledges.
    pub(crate) subjects: BTreeMap<String, String>,
    /// Why some subjects have no figures.
    pub(crate) cannot: BTreeMap<String, String>,
    pub(crate) rounds: Vec<Round>,
    /// Ours over theirs: medians of the good rounds' cost.
    pub(crate) ratios: BTreeMap<String, f64>,
    /// The same, with what they lie between.
    pub(crate) confidence: BTreeMap<String, Ratio>,
}

impl Figures {
    /// With no rounds yet.
    pub(crate) fn empty(scenario: &str, variant: Option<&str>) -> Self {
        Self {
            scenario: scenario.to_owned(),
            variant: variant.map(str::to_owned),
            machine: Machine::default(),
            kernel: String::new(),
            commit: String::new(),
            command: format!("cargo xtask perf {}", std::env::args().skip(1).collect::<Vec<_>>().join(" ")),
            subjects: BTreeMap::new(),
            cannot: BTreeMap::new(),
            rounds: Vec::new(),
            ratios: BTreeMap::new(),
            confidence: BTreeMap::new(),
        }
    }

    /// The scenario, and the variant where there is one.
    pub(crate) fn title(&self) -> String {
        self.variant.as_ref().map_or_else(|| self.scenario.clone(), |variant| format!("{} {variant}", self.scenario))
    }

    /// Adds a round, and notes where it was got.
    ///
    /// # Errors
    /// Its report does not say where.
    pub(crate) fn add(&mut self, round: Round) -> Result<()> {
        let machine = round.report.get("machine").cloned().unwrap_or_default();
        self.machine = serde_json::from_value(machine).context("a report without its machine")?;
        self.kernel.clone_from(&self.machine.kernel);
        self.rounds.push(round);
        Ok(())
    }

    /// Names in the order of their first round.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for round in &self.rounds {
            if !names.contains(&round.subject.as_str()) {
                names.push(&round.subject);
            }
        }
        names
    }

    /// Least, median and most of a figure over the good rounds of a subject.
    pub(crate) fn spread(&self, subject: &str, of: impl Fn(&Round) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.values(subject, of))
    }

    /// A figure of the good rounds of a subject.
    pub(crate) fn values(&self, subject: &str, of: impl Fn(&Round) -> Option<f64>) -> Vec<f64> {
        self.rounds_of(subject).filter(|round| round.is_good()).filter_map(of).collect()
    }

    /// All rounds of a subject.
    pub(crate) fn rounds_of(&self, subject: &str) -> impl Iterator<Item = &Round> {
        self.rounds.iter().filter(move |round| round.subject == subject)
    }

    /// Cost of a subject over that of another.
    pub(crate) fn ratio(&self, subject: &str, other: &str) -> Option<Ratio> {
        Ratio::of(&self.values(other, Round::cost), &self.values(subject, Round::cost))
    }

    /// Whether what is compared is memory.
    pub(crate) fn is_memory(&self) -> bool {
        self.rounds.iter().all(|round| round.cpu_us_per_delivery.is_none())
    }

    /// Fills in the ratios.
    pub(crate) fn compare(&mut self) {
        let others = self.names().into_iter().filter(|name| *name != OURS);
        let ratio = |name: &str| Some((name.to_owned(), self.ratio(OURS, name)?));
        self.confidence = others.filter_map(ratio).collect();
        self.ratios = self.confidence.iter().map(|(name, ratio)| (name.clone(), ratio.ratio)).collect();
    }

    /// Figures are worth nothing when Ringway did something wrong, or no round of it counts.
    ///
    /// # Errors
    /// Says which round was what.
    pub(crate) fn verdict(&self) -> Result<()> {
        let ours = |round: &&Round| round.subject.starts_with(OURS);
        if let Some(wrong) = self.rounds.iter().filter(ours).find(|round| round.verdict == "wrong") {
            bail!("round {} of {} went wrong: {}", wrong.round, wrong.subject, finding(&wrong.report, &[]));
        }
        if !self.rounds.iter().filter(ours).any(Round::is_good) {
            bail!("no round counts: the generator lagged in all of them");
        }
        Ok(())
    }
}

/// What the generator found, without what it did not, and what is told elsewhere.
pub(crate) fn finding(report: &Value, elsewhere: &[&str]) -> String {
    let found = report.get("findings").and_then(Value::as_object);
    let found = found.into_iter().flatten().filter(|(_, count)| count.as_u64() != Some(0));
    let found = found.filter(|(what, _)| !elsewhere.contains(&what.as_str()));
    found.map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
}

/// A run of `relay_transient` by hand: subjects and their reports.
#[cfg(test)]
pub(crate) fn sample(rounds: &[(&str, Value)]) -> Figures {
    let round = |(at, (subject, report)): (usize, &(&str, Value))| Round::of(subject, at, report.clone());
    Figures { rounds: rounds.iter().enumerate().map(round).collect(), ..Figures::empty("relay_transient", None) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn figures(rounds: &[(&'static str, &str, f64)]) -> Figures {
        let report = |(subject, verdict, cpu): &(&'static str, &str, f64)| {
            let report = json!({
                "verdict": verdict, "delivered": 9, "findings": {"lost": 1, "doubled": 0},
                "server": {"cpu_us_per_delivery": cpu}, "deliver_us": {"p50": 1.5, "p99": 2.5},
            });
            (*subject, report)
        };
        sample(&rounds.iter().map(report).collect::<Vec<_>>())
    }

    #[test]
    fn a_ratio_is_ours_over_theirs_of_the_medians_of_rounds_that_count() {
        let mut figures = figures(&[
            ("ringway", "good", 12.0),
            ("bun", "good", 20.0),
            ("ringway", "void", 100.0),
            ("ringway", "good", 10.0),
            ("ringway", "good", 50.0),
            ("nats", "wrong", 1.0),
        ]);
        figures.compare();
        assert_eq!(figures.ratios, BTreeMap::from([("bun".to_owned(), 0.6)]));
        assert_eq!(figures.names(), ["ringway", "bun", "nats"]);
        assert!(figures.verdict().is_ok());
    }

    #[test]
    fn a_round_of_ours_that_lost_something_is_an_error_that_names_it() {
        let error = figures(&[("ringway", "wrong", 1.0)]).verdict().unwrap_err().to_string();
        assert!(error.ends_with("went wrong: lost 1"), "{error}");
        assert!(figures(&[("ringway", "void", 1.0)]).verdict().is_err());
    }

    #[test]
    fn where_a_round_was_got_stands_once() {
        let mut figures = figures(&[]);
        let machine = json!({"cpu": "x", "cores": 2, "cores_usable": 1, "memory_bytes": 9, "kernel": "6.1"});
        figures.add(Round::of("ringway", 1, json!({"machine": machine}))).unwrap();
        let written = serde_json::to_value(&figures).unwrap();
        assert_eq!(written["machine"], json!({"cpu": "x", "cores": 2, "memory_bytes": 9}));
        assert_eq!(written["kernel"], "6.1");
        assert!(figures.add(Round::of("ringway", 2, json!({}))).is_err());
    }

    #[test]
    fn what_is_not_reported_is_absent() {
        let round = &figures(&[("ringway", "good", 1.0)]).rounds[0];
        assert_eq!((round.p50_us, round.max_us, round.bytes_per_connection), (Some(1.5), None, None));
    }
}
