//! The scenario files of `perf/scenarios`, carried in the program.

use anyhow::Context as _;
use serde::Deserialize;
use toml::{Table, Value};

use crate::options::Scenario;

/// Figures of a run; what is not said is somebody else's to say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Connections of the whole run.
    pub(crate) connections: Option<usize>,
    /// Messages a second.
    pub(crate) rate: Option<f64>,
    /// Instead: messages in flight a sender.
    pub(crate) inflight: Option<u64>,
    /// Seconds that are measured.
    pub(crate) seconds: Option<f64>,
    /// Seconds before those.
    pub(crate) warmup: Option<f64>,
    /// Bytes of a body.
    pub(crate) payload: Option<usize>,
    /// How long an acknowledgement may wait.
    pub(crate) ack_ms: Option<u64>,
    /// Of the server; for whoever starts it.
    pub(crate) shards: Option<usize>,
    /// Of `resume_storm`.
    pub(crate) storm: Option<Storm>,
    /// Of `slow_reader`.
    pub(crate) slow: Option<Slow>,
    /// Of `mixed`.
    pub(crate) day: Option<Day>,
    /// Of `scale`.
    pub(crate) scale: Option<Scale>,
}

/// What `slow_reader` takes besides.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slow {
    /// Share of the members who stop reading.
    pub(crate) share: f64,
}

/// What `resume_storm` takes besides.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Storm {
    /// Messages that each device misses.
    pub(crate) gap: u64,
    /// Connections that send them.
    pub(crate) senders: usize,
    /// Pairs that stay connected.
    pub(crate) side_pairs: usize,
    /// Reconnections a second; all at once without it.
    pub(crate) resumes_per_s: Option<f64>,
}

/// What `mixed` takes besides.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Day {
    /// With how many of the next ones each person talks.
    pub(crate) friends: usize,
    /// Groups.
    pub(crate) groups: usize,
    /// Members of the largest.
    pub(crate) group_max: usize,
    /// How fast the others are smaller: the n-th by n to this power.
    pub(crate) zipf: f64,
    /// Members of a group who write there.
    pub(crate) writers: usize,
    /// Share of the messages that go to groups.
    pub(crate) group_share: f64,
    /// Read marks a second, of everybody.
    pub(crate) reads_per_s: f64,
    /// Typing a second, of everybody.
    pub(crate) typing_per_s: f64,
    /// Devices that go away a second.
    pub(crate) reconnects_per_s: f64,
    /// How long they stay away.
    pub(crate) away_s: f64,
}

/// What `scale` takes besides.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scale {
    /// Share of the pairs with their ends on different shards.
    pub(crate) cross: f64,
    /// Whether messages are stored; else they are call signals.
    pub(crate) stored: bool,
    /// Whether connections and rate are those of each shard; else of all together.
    pub(crate) per_shard: bool,
}

impl Settings {
    /// These, where `said` says nothing. A rate and a number in flight exclude each other.
    pub(crate) fn under(self, said: &Self) -> Self {
        let paced = said.rate.is_some() || said.inflight.is_some();
        Self {
            connections: said.connections.or(self.connections),
            rate: if paced { said.rate } else { self.rate },
            inflight: if paced { said.inflight } else { self.inflight },
            seconds: said.seconds.or(self.seconds),
            warmup: said.warmup.or(self.warmup),
            payload: said.payload.or(self.payload),
            ack_ms: said.ack_ms.or(self.ack_ms),
            shards: said.shards.or(self.shards),
            ..self
        }
    }
}

fn text(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::RelayDurable => include_str!("../../scenarios/relay_durable.toml"),
        Scenario::RelayTransient => include_str!("../../scenarios/relay_transient.toml"),
        Scenario::RoomFan => include_str!("../../scenarios/room_fan.toml"),
        Scenario::RoomBurst => include_str!("../../scenarios/room_burst.toml"),
        Scenario::IdleMemory => include_str!("../../scenarios/idle_memory.toml"),
        Scenario::ResumeStorm => include_str!("../../scenarios/resume_storm.toml"),
        Scenario::SlowReader => include_str!("../../scenarios/slow_reader.toml"),
        Scenario::OfflineDrain => include_str!("../../scenarios/offline_drain.toml"),
        Scenario::Mixed => include_str!("../../scenarios/mixed.toml"),
        Scenario::Scale => include_str!("../../scenarios/scale.toml"),
    }
}

/// A scenario's figures, those of a variant first.
///
/// # Errors
/// There is no such variant.
pub(crate) fn of(scenario: Scenario, variant: Option<&str>) -> anyhow::Result<Settings> {
    let mut plain: Table = toml::from_str(text(scenario)).with_context(|| format!("the file of {scenario:?}"))?;
    plain.remove("what").context("a scenario's file says what it is")?;
    let variants = plain.remove("variant").and_then(|variants| variants.try_into::<Table>().ok()).unwrap_or_default();
    if let Some(name) = variant {
        let names = variants.keys().cloned().collect::<Vec<_>>().join(", ");
        let variant = variants.get(name).and_then(Value::as_table).cloned();
        overlay(&mut plain, variant.with_context(|| format!("--variant: there is {names}"))?);
    }
    Value::Table(plain).try_into().with_context(|| format!("the file of {scenario:?}"))
}

/// Puts a variant over the plain figures, table by table; a pace takes the place of the other one.
fn overlay(under: &mut Table, over: Table) {
    const PACES: [&str; 2] = ["rate", "inflight"];
    if PACES.iter().any(|pace| over.contains_key(*pace)) {
        PACES.iter().for_each(|pace| drop(under.remove(*pace)));
    }
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => overlay(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_file_can_be_read_and_names_no_unknown_key() {
        for scenario in Scenario::value_variants() {
            let plain = of(*scenario, None).unwrap();
            assert!(plain.connections.is_some(), "{scenario:?}");
            assert!(plain.rate.is_none() || plain.inflight.is_none(), "{scenario:?}");
            assert!(of(*scenario, Some("none")).is_err());
            let file: Table = toml::from_str(text(*scenario)).unwrap();
            for name in file.get("variant").and_then(Value::as_table).into_iter().flat_map(Table::keys) {
                of(*scenario, Some(name)).unwrap_or_else(|error| panic!("{scenario:?} {name}: {error:#}"));
            }
        }
    }

    #[test]
    fn what_is_said_comes_first_and_a_pace_excludes_the_other() {
        let variant = of(Scenario::RelayDurable, Some("w4")).unwrap();
        assert_eq!((variant.rate, variant.inflight, variant.connections), (None, Some(4), Some(100)));
        let said = Settings { rate: Some(7.0), ..Settings::default() };
        let settings = variant.under(&said);
        assert_eq!((settings.rate, settings.inflight), (Some(7.0), None));
    }
}
