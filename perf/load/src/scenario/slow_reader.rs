//! A room of which some members stop reading: what the others notice of it, what it costs the server in memory, and
//! whether the slow ones get what they missed once they read again.
//!
//! ```text
//! everybody reads (the baseline) ─► the last members stop reading (measured) ─► they read again ─► finish
//! ```
//!
//! What the server does to the slow ones meanwhile, dropping what it has for them or ending their connections, is its
//! right. Who was dropped is told to read anew, who was cut off comes back and resumes; each has everything in the end.

use std::ops::Range;

use anyhow::Context as _;

use super::{late, relay};
use crate::clock::now_ns;
use crate::network::Network;
use crate::options::Options;
use crate::people::Person;
use crate::report::{Quantiles, Report, Slow};
use crate::run::{Plan, Spent, drive};
use crate::server::{Counters, Memory};
use crate::traffic::Traffic;
use crate::watch::Watch;
use crate::wire::body::Bodies;

/// Share of the measured seconds that the baseline takes.
const BASELINE_SHARE: f64 = 0.25;

/// Connects everybody and runs the room twice.
///
/// # Errors
/// See [`super::run`].
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let settings = options.slow.context("slow_reader has figures of its own")?;
    let mut people = super::people(options, options.connections)?;
    let members = people.len() - 1;
    let count = ((members as f64 * settings.share).ceil() as usize).clamp(1, members - 1);
    let slow = people.len() - count..people.len();
    people.iter_mut().skip(slow.start).for_each(|person| person.narrow = true);
    let bodies = Bodies::new(super::run_number(), options.payload);
    let mut traffic = Traffic::new(options.protocol, bodies.clone(), people.len(), options.ack_ms > 0)?;
    relay::room(options, &people, &bodies, &mut traffic)?;
    let mut network = Network::new(options.targets()?)?;
    network.show_to(Watch::of(options)?);
    network.dial(&people, &mut traffic)?;

    let plan = Plan::of(options)?;
    let short = Plan { measured_ns: (plan.measured_ns as f64 * BASELINE_SHARE) as u64, ..plan.clone() };
    traffic.is_baseline = true;
    let baseline = drive(&mut network, &mut traffic, &short, &mut ())?;
    let baseline_us = Quantiles::of(&traffic.to_delivery);
    traffic.forget_latencies();

    let memory = || options.server_pid.map(Memory::of).transpose();
    let counters = || plan.admin.as_ref().map(Counters::read).transpose();
    let (before, counted) = (memory()?, counters()?);
    for connection in slow.clone() {
        traffic.excuse(connection);
        network.set_reading(connection, false);
    }
    let spent = drive(&mut network, &mut traffic, &plan, &mut ())?;
    let (after, counts) = (memory()?, counters()?);
    let grown = |name| counts.as_ref().zip(counted.as_ref()).map(|(after, before)| after.grown(before, name));

    let mut figures = Slow {
        members,
        slow: count,
        baseline_us,
        baseline_cpu_us_per_delivery: cpu_us(&baseline),
        before,
        after,
        per_slow: before.zip(after).map(|(before, after)| after.growth(&before, count)),
        dropped_by_server: grown("ringway_resyncs_total"),
        closed_by_server: grown("ringway_slow_readers_total"),
        missed: 0,
        caught_up: 0,
        caught_up_s: 0.0,
        shed: traffic.shed,
    };
    if options.is_ringway {
        wake(&mut network, &mut traffic, &people, slow, &mut figures)?;
    } else {
        // It has no way to give anybody what was missed.
        slow.for_each(|connection| traffic.dismiss(connection));
    }
    figures.shed = traffic.shed;
    traffic.finish();
    Ok(Report::of_load(options, &traffic, &spent).with(figures))
}

/// The slow ones read again, come back where they were cut off, and get what they missed.
///
/// # Errors
/// As [`run`].
fn wake(
    network: &mut Network,
    traffic: &mut Traffic,
    people: &[Person],
    slow: Range<usize>,
    figures: &mut Slow,
) -> anyhow::Result<()> {
    let woke_ns = now_ns();
    for connection in slow.clone() {
        figures.missed += traffic.await_all(connection);
        network.set_reading(connection, true);
    }
    late::wait(network, traffic, |network, traffic| {
        let waiting: Vec<usize> = slow.clone().filter(|connection| !traffic.awaits_nothing(*connection)).collect();
        for connection in waiting.iter().copied() {
            if !network.is_closed(connection) {
                continue;
            }
            let person = people.get(connection).context("a member is somebody's")?;
            network.redial(connection, &traffic.resuming(connection, person))?;
        }
        figures.caught_up = figures.slow - waiting.len();
        Ok(waiting.is_empty())
    })?;
    figures.caught_up_s = (now_ns() - woke_ns) as f64 / 1e9;
    Ok(())
}

fn cpu_us(spent: &Spent) -> Option<f64> {
    spent.server.map(|cpu| cpu.total_s() * 1e6 / spent.tally.deliveries())
}
