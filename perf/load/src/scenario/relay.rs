//! Messages from senders to receivers: pairs, durable or transient, and one room.

use std::hash::{BuildHasher as _, Hasher as _};

use anyhow::Context as _;
use ringway_engine::ids::{ConversationId, Uid};
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::Target;

use crate::clock::seconds;
use crate::http::Http;
use crate::network::Network;
use crate::options::{Options, Scenario};
use crate::people::{self, Person};
use crate::report::Report;
use crate::run::{Pace, Plan, drive};
use crate::traffic::{Role, Stream, Traffic};
use crate::wire::body::Bodies;
use crate::wire::template::Template;

/// Connects everybody and runs the load.
///
/// # Errors
/// See [`super::run`].
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let api = Http::new(&options.api)?;
    let admin = options.admin.as_deref().map(Http::new).transpose()?;
    let people = people::prepare(&options.prefix, options.connections(), options.data.as_deref(), &api)?;
    let bodies = Bodies::new(run_number(), options.payload);
    let format = Format::from(options.format);
    let (streams, roles) = match options.scenario {
        Scenario::RoomFan => room(&api, &people, format, &bodies)?,
        scenario => pairs(&people, format, &bodies, scenario == Scenario::RelayDurable)?,
    };
    let ack_ms = options.ack_ms();
    let mut traffic = Traffic::new(format, bodies, streams, roles, ack_ms > 0)?;
    let mut network = Network::new(options.target()?)?;
    network.dial(&people, &mut traffic)?;
    let plan = Plan {
        pace: options.inflight.map_or(Pace::Open(options.rate), Pace::Closed),
        warmup_ns: seconds(options.warmup),
        measured_ns: seconds(options.seconds),
        ack_ns: ack_ms * 1_000_000,
        server_pid: options.server_pid,
        admin,
    };
    let spent = drive(&mut network, &mut traffic, &plan)?;
    Ok(Report::of_load(options, &traffic, &spent))
}

type Parties = (Vec<Stream>, Vec<Role>);

/// Person 2n sends to person 2n + 1.
fn pairs(people: &[Person], format: Format, bodies: &Bodies, durable: bool) -> anyhow::Result<Parties> {
    let (mut streams, mut roles) = (Vec::new(), Vec::new());
    let (pairs, _) = people.as_chunks::<2>();
    for (index, [sender, receiver]) in pairs.iter().enumerate() {
        let to = Target { user: receiver.uid.clone(), ..Target::default() };
        let (template, conv) = if durable {
            let conv = ConversationId::p2p(&Uid::parse(&sender.uid)?, &Uid::parse(&receiver.uid)?);
            (Template::message(format, bodies, index, to)?, conv.as_str().to_owned())
        } else {
            (Template::signal(format, bodies, index, to)?, String::new())
        };
        streams.push(Stream::new(index * 2, template, sender.uid.clone(), conv, 1));
        roles.extend([Role::Sender(index), Role::Receiver(index)]);
    }
    Ok((streams, roles))
}

/// The first person sends to a new group of all.
fn room(api: &Http, people: &[Person], format: Format, bodies: &Bodies) -> anyhow::Result<Parties> {
    let (group, conv) = people::make_group(api, people)?;
    let (sender, members) = people.split_first().context("a room needs a sender")?;
    let template = Template::message(format, bodies, 0, Target { group, ..Target::default() })?;
    let mut roles = vec![Role::Sender(0)];
    roles.resize(people.len(), Role::Receiver(0));
    Ok((vec![Stream::new(0, template, sender.uid.clone(), conv, members.len() as u64)], roles))
}

/// Tells this run's messages from those of any other.
fn run_number() -> u32 {
    std::hash::RandomState::new().build_hasher().finish() as u32
}
