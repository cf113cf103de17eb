//! The scenario files of `perf/scenarios`, carried in the program.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

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
}

impl Settings {
    /// These, where `said` says nothing. A rate and a number in flight exclude each other.
    pub(crate) fn under(&self, said: &Self) -> Self {
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
        }
    }
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(rename = "what")]
    _what: String,
    #[serde(default)]
    variant: BTreeMap<String, Settings>,
    #[serde(flatten)]
    plain: BTreeMap<String, toml::Value>,
}

/// A scenario's figures, those of a variant first.
///
/// # Errors
/// There is no such variant.
pub(crate) fn of(scenario: Scenario, variant: Option<&str>) -> anyhow::Result<Settings> {
    let text = match scenario {
        Scenario::RelayDurable => include_str!("../../scenarios/relay_durable.toml"),
        Scenario::RelayTransient => include_str!("../../scenarios/relay_transient.toml"),
        Scenario::RoomFan => include_str!("../../scenarios/room_fan.toml"),
        Scenario::RoomBurst => include_str!("../../scenarios/room_burst.toml"),
        Scenario::IdleMemory => include_str!("../../scenarios/idle_memory.toml"),
    };
    let file: File = toml::from_str(text).with_context(|| format!("the file of {scenario:?}"))?;
    let plain: Settings = toml::Value::Table(file.plain.into_iter().collect()).try_into()?;
    match variant {
        None => Ok(plain),
        Some(name) => {
            let names = file.variant.keys().cloned().collect::<Vec<_>>().join(", ");
            let variant = file.variant.get(name).with_context(|| format!("--variant: there is {names}"))?;
            Ok(plain.under(variant))
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
