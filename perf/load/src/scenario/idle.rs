//! Devices that are connected and do nothing: what each costs the server in memory.
//!
//! One device is there before the first look, so that what the server makes once is not counted. Server pings are
//! answered meanwhile; at the end every device asks for a `pong`, so that none counts that is not alive.
//!
//! Devices that this process may have no descriptors for are those of further processes ([`crate::family`]), which do the
//! same without looking at the memory.

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

use crate::check::Findings;
use crate::clock::{now_ns, seconds};
use crate::family::{Family, Parent};
use crate::network::{Handler, Network, connections_max};
use crate::options::Options;
use crate::protocol::Protocol;
use crate::report::{Idle, Report};
use crate::server::Memory;
use crate::watch::Watch;
use crate::wire::Packet;

/// Everybody has answered by then, or does not.
const ANSWER_S_MAX: f64 = 10.0;
/// Time for the server to finish what connecting began.
const SETTLE_S: f64 = 1.0;
/// How often another process is listened to.
const LISTEN_NS: u64 = 10_000_000;

/// What a further process found.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    answered: u64,
    disconnected: u64,
}

#[derive(Debug, Default)]
struct Devices {
    answered: u64,
    findings: Findings,
}

impl Handler for Devices {
    fn packet(&mut self, _connection: usize, _read_ns: u64, packet: &Packet<'_>, _out: &mut Vec<u8>) {
        self.answered += u64::from(*packet == Packet::Pong);
    }

    fn read_done(&mut self, _connection: usize, _out: &mut Vec<u8>) {}

    fn closed(&mut self, connection: usize, reason: &str) {
        self.findings.disconnected += 1;
        if self.findings.disconnected <= 5 {
            eprintln!("ringway-load: connection {connection} ended: {reason}");
        }
    }
}

/// Connects the devices, rests, and looks.
///
/// # Errors
/// See [`super::run`]; the server's process id is needed.
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let servers = &options.server_pids;
    ensure!(!servers.is_empty(), "idle_memory needs --server-pid, whose memory it reads");
    let people = super::people(options, options.connections)?;
    let (first, others) = people.split_at_checked(1).context("at least one device")?;
    let mut devices = Devices::default();
    let mut network = Network::new(options.targets()?)?;
    network.show_to(Watch::of(options)?);
    network.dial(first, &mut devices)?;
    rest(&mut network, &mut devices, SETTLE_S)?;
    let before = Memory::of_all(servers)?;
    let began = now_ns();
    let room = connections_max()?;
    let (here, elsewhere) = others.split_at(others.len().min(room.saturating_sub(1)));
    let mut family = Family::start(elsewhere, room, 1 + here.len())?;
    network.dial(here, &mut devices)?;
    while !family.are_connected()? {
        network.poll(now_ns() + LISTEN_NS, &mut devices)?;
    }
    let connect_s = (now_ns() - began) as f64 / 1e9;
    rest(&mut network, &mut devices, options.seconds)?;
    let after = Memory::of_all(servers)?;
    family.go()?;
    ask(&mut network, &mut devices, options.protocol, 1 + here.len())?;
    let parts = loop {
        if let Some(parts) = family.figures::<Part>()? {
            break parts;
        }
        network.poll(now_ns() + LISTEN_NS, &mut devices)?;
    };
    let mut findings = devices.findings;
    findings.disconnected += parts.iter().map(|part| part.disconnected).sum::<u64>();
    let idle = Idle {
        before,
        after,
        per_connection: after.growth(&before, others.len()),
        connect_s,
        answered: devices.answered + parts.iter().map(|part| part.answered).sum::<u64>(),
        processes: 1 + family.len(),
    };
    Ok(Report::of_idle(options, idle, findings))
}

/// The part of a further process.
///
/// # Errors
/// As [`run`], and when the process that started this one is gone.
pub(super) fn run_share(options: &Options, first: usize) -> anyhow::Result<()> {
    let parent = Parent::listen();
    let people = parent.people()?;
    let mut devices = Devices::default();
    let mut network = Network::new(options.targets()?)?;
    network.count_from(first);
    network.dial(&people, &mut devices)?;
    parent.say_connected()?;
    while !parent.says_go()? {
        network.poll(now_ns() + LISTEN_NS, &mut devices)?;
    }
    ask(&mut network, &mut devices, options.protocol, people.len())?;
    parent.tell(&Part { answered: devices.answered, disconnected: devices.findings.disconnected })
}

fn rest(network: &mut Network, devices: &mut Devices, rest_s: f64) -> anyhow::Result<()> {
    let until = now_ns() + seconds(rest_s);
    while now_ns() < until {
        network.poll(until, devices)?;
    }
    Ok(())
}

fn ask(network: &mut Network, devices: &mut Devices, protocol: &dyn Protocol, count: usize) -> anyhow::Result<()> {
    for connection in 0..count {
        if let Some(out) = network.out(connection) {
            protocol.append_ping(out);
        }
    }
    network.flush();
    let until = now_ns() + seconds(ANSWER_S_MAX);
    while devices.answered < network.ready() as u64 && now_ns() < until {
        network.poll(until.min(now_ns() + 10_000_000), devices)?;
    }
    Ok(())
}
