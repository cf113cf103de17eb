//! Messages from senders to receivers: pairs, durable or transient, and one room.

use anyhow::Context as _;

use crate::http::Http;
use crate::network::Network;
use crate::options::{Options, Scenario};
use crate::people::{self, Person};
use crate::protocol::Letter;
use crate::report::Report;
use crate::run::{Plan, drive};
use crate::traffic::Traffic;
use crate::watch::Watch;
use crate::wire::body::Bodies;

/// Connects everybody and runs the load.
///
/// # Errors
/// See [`super::run`].
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let people = super::people(options, options.connections)?;
    let bodies = Bodies::new(super::run_number(), options.payload);
    let mut traffic = Traffic::new(options.protocol, bodies.clone(), people.len(), options.ack_ms > 0)?;
    if options.scenario.is_room() {
        room(options, &people, &bodies, &mut traffic)?;
    } else {
        pairs(options, &people, &bodies, &mut traffic)?;
    }
    let mut network = Network::new(options.targets()?)?;
    network.show_to(Watch::of(options)?);
    network.dial(&people, &mut traffic)?;
    let spent = drive(&mut network, &mut traffic, &Plan::of(options)?, &mut ())?;
    traffic.finish();
    Ok(Report::of_load(options, &traffic, &spent))
}

/// Person 2n sends to person 2n + 1.
fn pairs(options: &Options, people: &[Person], bodies: &Bodies, traffic: &mut Traffic) -> anyhow::Result<()> {
    let durable = options.scenario == Scenario::RelayDurable;
    let (pairs, _) = people.as_chunks::<2>();
    for (stream, [from, to]) in pairs.iter().enumerate() {
        let route = options.protocol.route(&Letter { bodies, stream, from, to, group: None, durable })?;
        traffic.add(stream * 2, route, [stream * 2 + 1]);
    }
    Ok(())
}

/// The first person sends to all others: to a new group of Ringway's, or to a peer's channel.
///
/// # Errors
/// The group cannot be made.
pub(super) fn room(options: &Options, people: &[Person], bodies: &Bodies, traffic: &mut Traffic) -> anyhow::Result<()> {
    let (from, members) = people.split_first().context("a room needs a sender")?;
    let to = members.first().context("a room needs a member")?;
    let group = if options.is_ringway { Some(people::make_group(&Http::new(&options.api)?, people)?) } else { None };
    let letter = Letter { bodies, stream: 0, from, to, group: group.as_ref(), durable: true };
    traffic.add(0, options.protocol.route(&letter)?, 1..people.len());
    Ok(())
}
