//! Messages to a device that is away: how fast they are taken, how fast what was taken gets into the archive, and how
//! fast the device has them once it signs in.
//!
//! ```text
//! connect all ─► the device hangs up ─► senders at full speed (measured) ─► the log empties (drain) ─► it signs in
//! ```
//!
//! A closed loop keeps the sending at what the server takes, which stands before its archive: by the end of the sending
//! the archive lags. The drain is from there until the log holds nothing that is not archived, with nothing else to do:
//! messages over time and over the server's processor time are what queue, persist and archive carry by themselves.
//! A server without such a lag in its counters has none of these figures: what it acknowledged is stored.

use anyhow::{Context as _, ensure};

use super::late;
use crate::clock::{now_ns, seconds};
use crate::http::Http;
use crate::network::Network;
use crate::options::Options;
use crate::protocol::Letter;
use crate::report::{Drain, Offline, Report};
use crate::run::{Plan, drive, settle};
use crate::server::{Counters, Cpu};
use crate::traffic::Traffic;
use crate::watch::Watch;
use crate::wire::body::Bodies;

/// Records in the log that are not archived.
const LAG: &str = "ringway_persist_log_lag_records";
/// Between two looks at it.
const LOOK_NS: u64 = 20_000_000;
/// An archive that does not move for so long has stopped.
const STUCK_S_MAX: f64 = 15.0;

/// Connects everybody and sends to whom is away.
///
/// # Errors
/// See [`super::run`].
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let people = super::people(options, options.connections)?;
    let away = people.len() - 1;
    let device = people.get(away).context("a device that is away")?;
    let bodies = Bodies::new(super::run_number(), options.payload);
    let mut traffic = Traffic::new(options.protocol, bodies.clone(), people.len(), options.ack_ms > 0)?;
    for (stream, from) in people.iter().take(away).enumerate() {
        let letter = Letter { bodies: &bodies, stream, from, to: device, group: None, durable: true };
        traffic.add(stream, options.protocol.route(&letter)?, [away]);
    }
    let mut network = Network::new(options.targets()?)?;
    network.show_to(Watch::of(options)?);
    network.dial(&people, &mut traffic)?;
    settle(&mut network, &mut traffic)?;
    traffic.excuse(away);
    network.hang_up(away);

    let plan = Plan::of(options)?;
    let cpu = || options.server_pid.map(|pid| Cpu::of(&pid.to_string())).transpose();
    let (began_ns, before) = (now_ns(), cpu()?);
    let spent = drive(&mut network, &mut traffic, &plan, &mut ())?;
    let drain = match &plan.admin {
        Some(admin) => drain(&mut network, &mut traffic, admin, options.server_pid)?,
        None => None,
    };
    let (stored_s, stored) = ((now_ns() - began_ns) as f64 / 1e9, cpu()?);

    let (asked_ns, missed) = (now_ns(), traffic.await_all(away));
    network.redial(away, &traffic.resuming(away, device))?;
    late::wait(&mut network, &mut traffic, |_, traffic| Ok(traffic.awaits_nothing(away)))?;
    let got_ns = traffic.caught_up.last().map_or(now_ns(), |(_, at_ns)| *at_ns);
    let got = cpu()?;
    traffic.finish();
    traffic.findings.disconnected += traffic.shed.ended;

    let each = |after: Option<Cpu>, before: Option<Cpu>, count: u64| {
        after.zip(before).map(|(after, before)| after.since(before).total_s() * 1e6 / count.max(1) as f64)
    };
    let got_s = got_ns.saturating_sub(asked_ns) as f64 / 1e9;
    let figures = Offline {
        messages: missed,
        taken_per_s: spent.tally.acknowledged as f64 / spent.seconds,
        archived_while_sending: spent
            .counters
            .as_ref()
            .map(|(before, after)| after.grown(before, "ringway_persist_archived_messages_total")),
        stored_s,
        cpu_us_per_message: each(stored, before, missed),
        drain,
        sign_in_s: got_s,
        sign_in_messages_per_s: missed as f64 / got_s,
        sign_in_cpu_us_per_message: each(got, stored, missed),
    };
    Ok(Report::of_load(options, &traffic, &spent).with(figures))
}

/// Looks on while the log empties; nothing where the server does not tell.
///
/// # Errors
/// The counters cannot be read, or the archive has stopped.
fn drain(
    network: &mut Network,
    traffic: &mut Traffic,
    admin: &Http,
    server_pid: Option<u32>,
) -> anyhow::Result<Option<Drain>> {
    let cpu = || server_pid.map(|pid| Cpu::of(&pid.to_string())).transpose();
    let (began_ns, before) = (now_ns(), cpu()?);
    let Some(behind) = Counters::read(admin)?.value(LAG) else { return Ok(None) };
    let (mut left, mut moved_ns) = (behind, now_ns());
    while left > 0.0 {
        ensure!(now_ns() - moved_ns < seconds(STUCK_S_MAX), "the archive stands still {left} records behind");
        // Heartbeats are answered meanwhile.
        let until_ns = now_ns() + LOOK_NS;
        while now_ns() < until_ns {
            network.poll(until_ns, traffic)?;
        }
        let now = Counters::read(admin)?.value(LAG).unwrap_or(0.0);
        if now < left {
            moved_ns = now_ns();
        }
        left = now;
    }
    let took_s = (now_ns() - began_ns) as f64 / 1e9;
    let cpu_s = cpu()?.zip(before).map(|(after, before)| after.since(before).total_s());
    Ok(Some(Drain {
        messages: behind,
        took_s,
        messages_per_s: behind / took_s,
        messages_per_core_s: cpu_s.filter(|seconds| *seconds > 0.0).map(|seconds| behind / seconds),
    }))
}
