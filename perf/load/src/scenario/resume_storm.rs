//! All devices go away, miss messages, and come back at once, while pairs that stayed go on talking.
//!
//! ```text
//! connect all ─► devices hang up ─► each is sent its gap ─► warm-up ─► storm (measured) ─► rest ─► finish
//! ```
//!
//! The measured window is the storm: from the first reconnection to the last message of the last gap, or as many
//! seconds as the options say. The pairs' open loop goes on through it, so their latencies are the others'.

use anyhow::Context as _;
use hdrhistogram::Histogram;

use super::late;
use crate::network::Network;
use crate::options::Options;
use crate::people::Person;
use crate::protocol::Letter;
use crate::report::{Quantiles, Report, Storm};
use crate::run::{Companion, Plan, drive, settle};
use crate::settings;
use crate::traffic::{Traffic, histogram};
use crate::watch::Watch;
use crate::wire::body::Bodies;

/// Reconnections begun between two looks at the schedule of the pairs: each takes the generator some 20 µs.
const BURST_MAX: usize = 4;

/// Who is where: pairs, then senders of gaps, then devices.
#[derive(Debug, Clone, Copy)]
struct Parties {
    side_pairs: usize,
    senders: usize,
    devices: usize,
}

impl Parties {
    fn all(self) -> usize {
        self.first_device() + self.devices
    }

    fn first_device(self) -> usize {
        self.side_pairs * 2 + self.senders
    }
}

/// Connects everybody, sends the devices away and lets them come back.
///
/// # Errors
/// See [`super::run`].
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let settings = options.storm.context("resume_storm has figures of its own")?;
    let parties = Parties {
        side_pairs: settings.side_pairs,
        senders: settings.senders.min(options.connections),
        devices: options.connections,
    };
    let people = super::people(options, parties.all())?;
    let bodies = Bodies::new(super::run_number(), options.payload);
    let mut traffic = Traffic::new(options.protocol, bodies.clone(), people.len(), options.ack_ms > 0)?;
    let gaps = streams(options, parties, &people, &bodies, &mut traffic)?;
    let mut network = Network::new(options.targets()?)?;
    network.show_to(Watch::of(options)?);
    network.dial(&people, &mut traffic)?;
    settle(&mut network, &mut traffic)?;
    for device in parties.first_device()..parties.all() {
        traffic.excuse(device);
        network.hang_up(device);
    }
    late::send_each(&mut network, &mut traffic, &gaps, settings.gap)?;
    let mut storm = Returns::new(settings, parties, &people)?;
    let spent = drive(&mut network, &mut traffic, &Plan::of(options)?, &mut storm)?;
    let resumed = storm.resumed;
    late::wait(&mut network, &mut traffic, |network, traffic| {
        Ok(storm.turn(network, traffic, crate::clock::now_ns())?.is_none())
    })?;
    traffic.finish();
    // Nobody is slow here: an end or a gap that has to be read anew is the server's fault.
    traffic.findings.disconnected += traffic.shed.ended;
    traffic.findings.resyncs += traffic.shed.resyncs;
    let cpu_s = spent.server.map(|cpu| cpu.total_s());
    let figures = Storm {
        devices: parties.devices,
        gap: settings.gap,
        resumed,
        took_s: spent.seconds,
        resumes_per_s: resumed as f64 / spent.seconds,
        resumes_per_core_s: cpu_s.map(|seconds| resumed as f64 / seconds),
        cpu_us_per_resume: cpu_s.map(|seconds| seconds * 1e6 / resumed.max(1) as f64),
        sign_in_us: Quantiles::of(&storm.sign_in),
        resume_us: Quantiles::of(&storm.resume),
    };
    Ok(Report::of_load(options, &traffic, &spent).with(figures))
}

/// The pairs' streams, which alone take part in the schedule, and those of the gaps, whose numbers are answered.
fn streams(
    options: &Options,
    parties: Parties,
    people: &[Person],
    bodies: &Bodies,
    traffic: &mut Traffic,
) -> anyhow::Result<Vec<usize>> {
    let mut add = |from: usize, to: usize| -> anyhow::Result<usize> {
        let stream = traffic.streams.len();
        let (sender, receiver) = (people.get(from).context("a sender")?, people.get(to).context("a receiver")?);
        let letter = Letter { bodies, stream, from: sender, to: receiver, group: None, durable: true };
        Ok(traffic.add(from, options.protocol.route(&letter)?, [to]))
    };
    let side = (0..parties.side_pairs).map(|pair| add(pair * 2, pair * 2 + 1)).collect::<Result<Vec<_>, _>>()?;
    let gap = |device: usize| (parties.side_pairs * 2 + device % parties.senders, parties.first_device() + device);
    let gaps = (0..parties.devices).map(gap).map(|(from, to)| add(from, to)).collect::<Result<Vec<_>, _>>()?;
    traffic.order = side;
    Ok(gaps)
}

/// The devices on their way back.
struct Returns<'a> {
    people: &'a [Person],
    first: usize,
    resumes_per_s: Option<f64>,
    began_ns: Option<u64>,
    /// When each began to reconnect.
    dialled_ns: Vec<u64>,
    resumed: u64,
    sign_in: Histogram<u64>,
    resume: Histogram<u64>,
}

impl<'a> Returns<'a> {
    fn new(settings: settings::Storm, parties: Parties, people: &'a [Person]) -> anyhow::Result<Self> {
        Ok(Self {
            people,
            first: parties.first_device(),
            resumes_per_s: settings.resumes_per_s,
            began_ns: None,
            dialled_ns: Vec::with_capacity(parties.devices),
            resumed: 0,
            sign_in: histogram()?,
            resume: histogram()?,
        })
    }

    fn devices(&self) -> usize {
        self.people.len() - self.first
    }

    /// When the next one is due.
    fn due_ns(&self, began_ns: u64) -> u64 {
        if self.dialled_ns.len() == self.devices() {
            return u64::MAX;
        }
        self.resumes_per_s.map_or(began_ns, |rate| began_ns + (self.dialled_ns.len() as f64 * 1e9 / rate) as u64)
    }

    fn since(&self, connection: usize, at_ns: u64) -> u64 {
        let dialled_ns = connection.checked_sub(self.first).and_then(|device| self.dialled_ns.get(device));
        dialled_ns.map_or(0, |dialled_ns| at_ns.saturating_sub(*dialled_ns))
    }

    fn note(&mut self, traffic: &mut Traffic) {
        for (connection, at_ns) in std::mem::take(&mut traffic.signed_in) {
            self.sign_in.saturating_record(self.since(connection, at_ns));
        }
        for (connection, at_ns) in std::mem::take(&mut traffic.caught_up) {
            self.resume.saturating_record(self.since(connection, at_ns));
            self.resumed += 1;
        }
    }
}

impl Companion for Returns<'_> {
    fn turn(&mut self, network: &mut Network, traffic: &mut Traffic, now_ns: u64) -> anyhow::Result<Option<u64>> {
        if now_ns < traffic.window.0 {
            traffic.signed_in.clear();
            return Ok(Some(traffic.window.0));
        }
        let began_ns = *self.began_ns.get_or_insert(now_ns);
        self.note(traffic);
        if self.resumed == self.devices() as u64 {
            return Ok(None);
        }
        for _ in 0..BURST_MAX {
            if self.due_ns(began_ns) > now_ns {
                break;
            }
            let connection = self.first + self.dialled_ns.len();
            let person = self.people.get(connection).context("a device is somebody's")?;
            traffic.await_all(connection);
            network.redial(connection, &traffic.resuming(connection, person))?;
            self.dialled_ns.push(now_ns);
        }
        Ok(Some(self.due_ns(began_ns)))
    }
}
