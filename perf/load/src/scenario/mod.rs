//! What is measured: each scenario prepares its users and streams, runs, and gives a report.
//!
//! `relay` holds the two relay scenarios and the rooms, which differ in who sends what to whom alone; `idle` sends
//! nothing. How a server is spoken to is `protocol`'s.

mod idle;
mod relay;

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
fn people(options: &Options) -> anyhow::Result<Vec<Person>> {
    let (prefix, count) = (&options.prefix, options.connections);
    let mut people = if options.is_ringway {
        people::prepare(prefix, count, options.data.as_deref(), &Http::new(&options.api)?)?
    } else {
        people::strangers(prefix, count)
    };
    for (number, person) in people.iter_mut().enumerate() {
        (person.channel, person.sends) = match options.scenario {
            Scenario::RelayDurable | Scenario::RelayTransient => (format!("pair-{}", number / 2), number % 2 == 0),
            Scenario::RoomFan | Scenario::RoomBurst => (format!("room-{prefix}"), number == 0),
            Scenario::IdleMemory => (format!("pair-{number}"), false),
        };
    }
    if !options.is_ringway {
        options.protocol.enlist(&people, &options.api)?;
    }
    Ok(people)
}
