//! What is measured: each scenario prepares its users and streams, runs, and gives a report.
//!
//! `relay` holds the two relay scenarios and the rooms, which differ in who sends what to whom alone; `idle` sends
//! nothing; each other file is the scenario of its name. `late` is what they share about those who come late. How a server is spoken to is `protocol`'s.

mod dice;
mod idle;
mod late;
mod mixed;
mod offline_drain;
mod relay;
mod resume_storm;
mod scale;
mod slow_reader;

use std::hash::{BuildHasher as _, Hasher as _};

use anyhow::bail;

use crate::http::Http;
use crate::options::{Options, Scenario};
use crate::people::{self, Person};
use crate::report::Report;

/// Runs the scenario that was asked for.
///
/// # Errors
/// Users cannot be had, connections fail, or the server cannot be looked at.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    match options.scenario {
        Scenario::IdleMemory => idle::run(options),
        Scenario::ResumeStorm => resume_storm::run(options),
        Scenario::SlowReader => slow_reader::run(options),
        Scenario::OfflineDrain => offline_drain::run(options),
        Scenario::Mixed => mixed::run(options),
        Scenario::Scale => scale::run(options),
        _ => relay::run(options),
    }
}

/// The part of a process that was started for a share of the connections, of which the first has this number.
///
/// # Errors
/// As [`run`]; no other scenario is shared.
pub(crate) fn run_share(options: &Options, first: usize) -> anyhow::Result<()> {
    match options.scenario {
        Scenario::IdleMemory => idle::run_share(options, first),
        other => bail!("{other:?} is not shared between processes"),
    }
}

/// Everybody who connects, and where: sender and receiver of a pair in turns, or a sender and the others of a room.
fn people(options: &Options, count: usize) -> anyhow::Result<Vec<Person>> {
    let prefix = &options.prefix;
    let mut people = if options.is_ringway {
        people::prepare(prefix, count, options.data.as_deref(), &Http::new(&options.api)?)?
    } else {
        people::strangers(prefix, count)
    };
    for (number, person) in people.iter_mut().enumerate() {
        (person.channel, person.sends) = match options.scenario {
            Scenario::RelayDurable | Scenario::RelayTransient | Scenario::ResumeStorm => {
                (format!("pair-{}", number / 2), number % 2 == 0)
            }
            Scenario::RoomFan | Scenario::RoomBurst | Scenario::SlowReader => (format!("room-{prefix}"), number == 0),
            Scenario::IdleMemory | Scenario::Mixed | Scenario::Scale => (format!("pair-{number}"), false),
            Scenario::OfflineDrain => (format!("pair-{number}"), number + 1 < count),
        };
    }
    if !options.is_ringway {
        options.protocol.enlist(&people, &options.api)?;
    }
    Ok(people)
}

/// Tells this run's messages from those of any other.
fn run_number() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}
