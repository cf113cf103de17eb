//! What is measured: each scenario prepares its users and streams, runs, and gives a report.
//!
//! `relay` holds the two relay scenarios and the room, which differ in who sends what to whom alone; `idle` sends
//! nothing.

mod idle;
mod relay;

use crate::options::{Options, Scenario};
use crate::report::Report;

/// Runs the scenario that was asked for.
///
/// # Errors
/// Users cannot be had, connections fail, or the server cannot be looked at.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    match options.scenario {
        Scenario::RelayDurable | Scenario::RelayTransient | Scenario::RoomFan => relay::run(options),
        Scenario::IdleMemory => idle::run(options),
    }
}
