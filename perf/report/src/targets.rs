//! What is wanted: the targets, beside what was seen.

use crate::figures::{Figures, OURS, Round};

/// A target, and whether it is met; `None`: this run cannot tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) wanted: String,
    pub(crate) seen: String,
    pub(crate) is_met: Option<bool>,
}

/// Ratios of server CPU a delivery, ours over theirs, at most: scenario, subject, ratio.
const RATIOS: [(&str, &str, f64); 6] = [
    ("relay_transient", "floor_uring", 1.10),
    ("relay_transient", "bun", 1.0 / 1.15),
    ("relay_transient", "nats", 1.0 / 2.2),
    ("room_fan", "floor_uring", 1.10),
    ("room_burst", "bun", 1.0),
    ("idle_memory", "bun", 1.0),
];
/// Messages a second of one core, at least: variant of `relay_durable`, messages.
const DURABLE_PER_S: [(&str, f64); 3] = [("w1", 25_000.0), ("w4", 70_000.0), ("w16", 100_000.0)];
/// Median tail of `relay_durable` at a rate.
const DURABLE_P99_US: f64 = 10_000.0;
/// User memory of an idle device.
const IDLE_BYTES: f64 = 1_024.0;

/// The targets of a run's scenario; of two commits there are none.
pub(crate) fn of(figures: &Figures) -> Vec<Target> {
    let mut targets = Vec::new();
    if !figures.names().contains(&OURS) {
        return targets;
    }
    for (scenario, subject, most) in RATIOS {
        if scenario == figures.scenario {
            let seen = figures.ratios.get(subject).copied();
            targets.push(Target {
                wanted: format!("at most {most:.2} of {subject}"),
                seen: seen.map_or_else(|| "not measured".to_owned(), |ratio| format!("{ratio:.2}")),
                is_met: seen.map(|ratio| ratio <= most),
            });
        }
    }
    let median = |of: fn(&Round) -> Option<f64>| figures.spread(OURS, of).map(|spread| spread.median);
    if figures.scenario == "relay_durable" {
        let variant = figures.variant.as_deref().unwrap_or("plain");
        match DURABLE_PER_S.iter().find(|(name, _)| *name == variant) {
            Some((_, least)) => targets.push(Target {
                wanted: format!("at least {least:.0} messages a second"),
                seen: figure(median(|round| round.deliveries_per_s)),
                is_met: median(|round| round.deliveries_per_s).map(|seen| seen >= *least),
            }),
            None => targets.push(Target {
                wanted: "p99 of at most 10 ms".to_owned(),
                seen: figure(median(|round| round.p99_us).map(|us| us / 1e3)) + " ms",
                is_met: median(|round| round.p99_us).map(|us| us <= DURABLE_P99_US),
            }),
        }
    }
    if figures.scenario == "idle_memory" {
        targets.push(Target {
            wanted: "at most 1 KiB of user memory a device".to_owned(),
            seen: figure(median(|round| round.bytes_per_connection)) + " B",
            is_met: median(|round| round.bytes_per_connection).map(|bytes| bytes <= IDLE_BYTES),
        });
    }
    targets
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
