//! What is wanted, beside what was seen: one table, a line a target.
//!
//! The first line of a scenario says under which variant it is measured when none is named, and the first line of a
//! variant which figure of it is shown first.

use crate::figures::{Figures, OURS, Round};
use crate::subject::ONE_SHARD;

/// A figure of ours.
#[derive(Debug, Clone, Copy)]
enum Figure {
    /// Its cost, over that of another subject.
    Over(&'static str),
    /// Its cost, over its own cost in another scenario and variant of the same run.
    OverOwn(&'static str, &'static str),
    /// By itself.
    Own(Own),
    /// Two of them, the first over the second.
    Quotient(&'static str, Own, Own),
}

/// A figure as the generator's report has it.
#[derive(Debug, Clone, Copy)]
struct Own {
    head: &'static str,
    pointer: &'static str,
    /// The report's unit in the head's.
    unit: f64,
}

/// What a figure is to be.
#[derive(Debug, Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};
use Figure::{Over, OverOwn, Quotient};

const PER_S: Figure = Figure::Own(Own { head: "deliveries/s", pointer: "/delivered_per_s", unit: 1.0 });
const P99: Own = Own { head: "p99 ms", pointer: "/deliver_us/p99", unit: 1e3 };
const IDLE: Figure = own("user B/connection", "/memory/per_connection/private");
const RESUMES: Figure = own("resumes/s a core", "/storm/resumes_per_core_s");
const DRAINED: Figure = own("messages/s a core", "/offline/drain/messages_per_core_s");
/// Of those who read, over what it was while everybody read.
const BESIDE_SLOW: Figure =
    Quotient("others' p99 over theirs before", P99, Own { head: "", pointer: "/slow/baseline_us/p99", unit: 1e3 });
const SLOW_MEMORY: Figure = own("user B/slow member", "/slow/per_slow/private");

const fn own(head: &'static str, pointer: &'static str) -> Figure {
    Figure::Own(Own { head, pointer, unit: 1.0 })
}

/// Scenario, variant, figure, bound. Cost is server CPU a delivery, or memory where nothing is delivered.
const WANTED: [(&str, &str, Figure, Bound); 25] = [
    ("relay_transient", "1000-pairs", Over("floor_uring"), AtMost(1.10)),
    ("relay_transient", "1000-pairs", Over("bun"), AtMost(1.0 / 1.15)),
    ("relay_transient", "1000-pairs", Over("nats"), AtMost(1.0 / 2.2)),
    ("relay_durable", "w1", PER_S, AtLeast(25_000.0)),
    ("relay_durable", "w4", PER_S, AtLeast(70_000.0)),
    ("relay_durable", "w16", PER_S, AtLeast(100_000.0)),
    ("relay_durable", "15000", Figure::Own(P99), AtMost(10.0)),
    ("relay_durable", "15000", OverOwn("relay_transient", "1000-pairs"), AtMost(2.0)),
    ("room_fan", "1000", Over("floor_uring"), AtMost(1.10)),
    ("room_fan", "10000", Over("floor_uring"), AtMost(1.10)),
    ("room_burst", "8", Over("bun"), AtMost(1.0)),
    ("room_burst", "64", Over("bun"), AtMost(1.0)),
    ("idle_memory", "15000", IDLE, AtMost(1_024.0)),
    ("idle_memory", "15000", Over("bun"), AtMost(1.0)),
    ("resume_storm", "5000", RESUMES, AtLeast(5_000.0)),
    // Those who stay.
    ("resume_storm", "5000", Figure::Own(P99), AtMost(50.0)),
    ("offline_drain", "51", DRAINED, AtLeast(50_000.0)),
    // `unaffected` and `bounded` in figures: noise of a p99, and what may wait for one reader.
    ("slow_reader", "1000", BESIDE_SLOW, AtMost(1.25)),
    ("slow_reader", "1000", SLOW_MEMORY, AtMost(1_048_576.0)),
    // An efficiency of 0.9: a delivery of two shards over one of a single shard.
    ("scale", "durable-0", Over(ONE_SHARD), AtMost(1.0 / 0.9)),
    ("scale", "durable-50", Over(ONE_SHARD), AtMost(1.0 / 0.9)),
    ("scale", "durable-100", Over(ONE_SHARD), AtMost(1.0 / 0.9)),
    ("scale", "transient-0", Over(ONE_SHARD), AtMost(1.0 / 0.9)),
    ("scale", "transient-50", Over(ONE_SHARD), AtMost(1.0 / 0.9)),
    ("scale", "transient-100", Over(ONE_SHARD), AtMost(1.0 / 0.9)),
];

/// A target, and whether it is met; `None`: this run cannot tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) wanted: String,
    pub(crate) seen: String,
    pub(crate) is_met: Option<bool>,
}

impl Target {
    /// For a table.
    pub(crate) fn word(&self) -> &'static str {
        self.is_met.map_or("not known", |is_met| if is_met { "met" } else { "NOT met" })
    }
}

/// Variants of a scenario that its targets are stated for, each once.
pub(crate) fn variants(scenario: &str) -> Vec<&'static str> {
    let mut variants = Vec::new();
    for (_, variant, ..) in WANTED.iter().filter(|(of, ..)| *of == scenario) {
        if !variants.contains(variant) {
            variants.push(*variant);
        }
    }
    variants
}

/// The targets of a run; `runs` are others of the same hour. Of two commits there are none.
pub(crate) fn of(figures: &Figures, runs: &[Figures]) -> Vec<Target> {
    if !figures.names().contains(&OURS) {
        return Vec::new();
    }
    let variant = figures.variant.as_deref().unwrap_or_default();
    let wanted = WANTED.iter().filter(|(scenario, of, ..)| *scenario == figures.scenario && *of == variant);
    wanted.map(|(_, _, seen, bound)| target(figures, runs, seen, *bound)).collect()
}

fn target(figures: &Figures, runs: &[Figures], wanted: &Figure, bound: Bound) -> Target {
    let (head, seen) = match wanted {
        Over(subject) => (format!("of {subject}"), figures.ratios.get(*subject).copied()),
        OverOwn(scenario, variant) => {
            let is_base = |run: &&Figures| run.scenario == *scenario && run.variant.as_deref() == Some(*variant);
            let cost = |run: &Figures| run.spread(OURS, Round::cost).map(|spread| spread.median);
            let base = runs.iter().find(is_base).and_then(cost);
            (format!("of {scenario} {variant}"), cost(figures).zip(base).map(|(cost, base)| cost / base))
        }
        Figure::Own(own) => (own.head.to_owned(), own.median(figures, OURS)),
        Quotient(head, above, below) => {
            let both = above.median(figures, OURS).zip(below.median(figures, OURS));
            ((*head).to_owned(), both.map(|(above, below)| above / below))
        }
    };
    let (word, limit) = match bound {
        AtMost(most) => ("at most", most),
        AtLeast(least) => ("at least", least),
    };
    let is_met = seen.map(|seen| if matches!(bound, AtMost(_)) { seen <= limit } else { seen >= limit });
    Target { wanted: format!("{word} {} {head}", figure(Some(limit))), seen: figure(seen), is_met }
}

impl Own {
    fn of(self, round: &Round) -> Option<f64> {
        Some(round.report.pointer(self.pointer)?.as_f64()? / self.unit)
    }

    fn median(self, figures: &Figures, subject: &str) -> Option<f64> {
        figures.spread(subject, |round| self.of(round)).map(|spread| spread.median)
    }
}

/// The figure of a variant that is shown first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct First(Option<Own>);

impl First {
    /// That of its first target, or its cost.
    pub(crate) fn of(scenario: &str, variant: Option<&str>) -> Self {
        let variant = variant.unwrap_or_default();
        let first = WANTED.iter().find(|(of, name, ..)| *of == scenario && *name == variant);
        Self(first.and_then(|(_, _, figure, _)| if let Figure::Own(own) = figure { Some(*own) } else { None }))
    }

    /// What it is called.
    pub(crate) fn head(self, figures: &Figures) -> &'static str {
        let cost = if figures.is_memory() { "user B/connection" } else { "CPU µs/delivery" };
        self.0.map_or(cost, |own| own.head)
    }

    /// What it is in a round.
    pub(crate) fn in_round(self, round: &Round) -> Option<f64> {
        self.0.map_or_else(|| round.cost(), |own| own.of(round))
    }
}

/// A figure with as many digits as mean something.
pub(crate) fn figure(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::figures::sample;
    use crate::scenarios::Scenario;

    #[test]
    fn every_target_of_a_scenario_that_there_is_names_a_variant_of_it() {
        for scenario in Scenario::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).unwrap() {
            for variant in variants(&scenario.name) {
                assert!(scenario.has(variant), "{} {variant}", scenario.name);
            }
        }
    }

    fn run(scenario: &str, variant: &str, cpu: f64) -> Figures {
        let report = json!({"verdict": "good", "server": {"cpu_us_per_delivery": cpu}, "delivered_per_s": 30_000.0,
            "deliver_us": {"p99": 12_000.0}});
        let figures = sample(&[("ringway", report.clone()), ("floor_uring", report)]);
        let mut figures = Figures { scenario: scenario.into(), variant: Some(variant.into()), ..figures };
        figures.compare();
        figures
    }

    fn check(figures: &Figures, runs: &[Figures], expected: &[(&str, &str, &str)]) {
        let targets = of(figures, runs);
        let seen: Vec<(&str, &str, &str)> =
            targets.iter().map(|target| (target.wanted.as_str(), target.seen.as_str(), target.word())).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_target_is_met_missed_or_not_known() {
        check(&run("relay_durable", "w1", 9.0), &[], &[("at least 25000 deliveries/s", "30000", "met")]);
        let over = ("at most 2.00 of relay_transient 1000-pairs", "1.50", "met");
        let late = ("at most 10.0 p99 ms", "12.0", "NOT met");
        check(&run("relay_durable", "15000", 9.0), &[run("relay_transient", "1000-pairs", 6.0)], &[late, over]);
        check(&run("relay_durable", "15000", 9.0), &[], &[late, (over.0, "–", "not known")]);
        let targets = of(&run("relay_transient", "1000-pairs", 9.0), &[]);
        assert_eq!(targets.iter().map(Target::word).collect::<Vec<_>>(), ["met", "not known", "not known"]);
        assert_eq!(First::of("relay_durable", Some("w1")).head(&run("relay_durable", "w1", 1.0)), "deliveries/s");
        assert_eq!(First::of("room_fan", Some("1000")).head(&run("room_fan", "1000", 1.0)), "CPU µs/delivery");
    }
}
