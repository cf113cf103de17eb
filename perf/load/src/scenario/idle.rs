//! Devices that are connected and do nothing: what each costs the server in memory.
//!
//! One device is there before the first look, so that what the server makes once is not counted. Server pings are
//! answered meanwhile; at the end every device asks for a `pong`, so that none counts that is not alive.

use anyhow::Context as _;

use crate::check::Findings;
use crate::clock::{now_ns, seconds};
use crate::network::{Handler, Network};
use crate::options::Options;
use crate::protocol::Protocol;
use crate::report::{Idle, Report};
use crate::server::Memory;
use crate::wire::Packet;

/// Everybody has answered by then, or does not.
const ANSWER_S_MAX: f64 = 10.0;
/// Time for the server to finish what connecting began.
const SETTLE_S: f64 = 1.0;

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
    let pid = options.server_pid.context("idle_memory needs --server-pid, whose memory it reads")?;
    let people = super::people(options)?;
    let (first, others) = people.split_at_checked(1).context("at least one device")?;
    let mut devices = Devices::default();
    let mut network = Network::new(options.targets()?)?;
    network.dial(first, &mut devices)?;
    rest(&mut network, &mut devices, SETTLE_S)?;
    let before = Memory::of(pid)?;
    let began = now_ns();
    network.dial(others, &mut devices)?;
    let connect_s = (now_ns() - began) as f64 / 1e9;
    rest(&mut network, &mut devices, options.seconds)?;
    let after = Memory::of(pid)?;
    ask(&mut network, &mut devices, options.protocol, people.len())?;
    let idle = Idle {
        before,
        after,
        per_connection: after.growth(&before, others.len()),
        connect_s,
        answered: devices.answered,
    };
    Ok(Report::of_idle(options, idle, devices.findings))
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
