//! Messages from senders to receivers: pairs, durable or transient, and one room.

use std::hash::{BuildHasher as _, Hasher as _};

use anyhow::Context as _;

use crate::clock::seconds;
use crate::http::Http;
use crate::network::Network;
use crate::options::{Options, Scenario};
use crate::people::{self, Person};
use crate::protocol::{Letter, Protocol};
use crate::report::Report;
use crate::run::{Pace, Plan, drive};
use crate::traffic::{Role, Stream, Traffic};
use crate::watch::Watch;
use crate::wire::body::Bodies;

/// Connects everybody and runs the load.
///
/// # Errors
/// See [`super::run`].
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let admin = options.admin.as_deref().map(Http::new).transpose()?;
    let people = super::people(options)?;
    let bodies = Bodies::new(run_number(), options.payload);
    let (streams, roles) = if options.scenario.is_room() {
        room(options, &people, &bodies)?
    } else {
        pairs(options.protocol, &people, &bodies, options.scenario == Scenario::RelayDurable)?
    };
    let mut traffic = Traffic::new(options.protocol, bodies, streams, roles, options.ack_ms > 0)?;
    let mut network = Network::new(options.targets()?)?;
    network.show_to(Watch::of(options)?);
    network.dial(&people, &mut traffic)?;
    let plan = Plan {
        pace: options.inflight.map_or(Pace::Open(options.rate), Pace::Closed),
        warmup_ns: seconds(options.warmup),
        measured_ns: seconds(options.seconds),
        ack_ns: options.ack_ms * 1_000_000,
        server_pid: options.server_pid,
        admin,
    };
    let spent = drive(&mut network, &mut traffic, &plan)?;
    Ok(Report::of_load(options, &traffic, &spent))
}

type Parties = (Vec<Stream>, Vec<Role>);

/// Person 2n sends to person 2n + 1.
fn pairs(protocol: &dyn Protocol, people: &[Person], bodies: &Bodies, durable: bool) -> anyhow::Result<Parties> {
    let (mut streams, mut roles) = (Vec::new(), Vec::new());
    let (pairs, _) = people.as_chunks::<2>();
    for (stream, [from, to]) in pairs.iter().enumerate() {
        let route = protocol.route(&Letter { bodies, stream, from, to, group: None, durable })?;
        streams.push(Stream::new(stream * 2, route, 1));
        roles.extend([Role::Sender(stream), Role::Receiver(stream)]);
    }
    Ok((streams, roles))
}

/// The first person sends to all others: to a new group of Ringway's, or to a peer's channel.
fn room(options: &Options, people: &[Person], bodies: &Bodies) -> anyhow::Result<Parties> {
    let (from, members) = people.split_first().context("a room needs a sender")?;
    let to = members.first().context("a room needs a member")?;
    let group = if options.is_ringway { Some(people::make_group(&Http::new(&options.api)?, people)?) } else { None };
    let letter = Letter { bodies, stream: 0, from, to, group: group.as_ref(), durable: true };
    let route = options.protocol.route(&letter)?;
    let mut roles = vec![Role::Sender(0)];
    roles.resize(people.len(), Role::Receiver(0));
    Ok((vec![Stream::new(0, route, members.len() as u64)], roles))
}

/// Tells this run's messages from those of any other.
fn run_number() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}
