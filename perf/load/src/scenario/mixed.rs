//! What a day looks like: people with conversations between two, groups of a Zipf size, read marks, typing, and devices
//! that go away and come back.
//!
//! An open loop of messages; beside it reads, typing and reconnections at rates of their own. Who is away does not
//! write, and gets what was missed by resuming. Every delivery and every number is checked, for everybody.

use anyhow::Context as _;
use hdrhistogram::Histogram;

use super::dice::Dice;
use crate::clock::seconds;
use crate::http::Http;
use crate::network::Network;
use crate::options::Options;
use crate::people::{self, Group, Person};
use crate::protocol::Letter;
use crate::report::{Day as Figures, Quantiles, Report};
use crate::run::{Companion, Plan, drive};
use crate::settings::Day;
use crate::traffic::{Traffic, histogram};
use crate::watch::Watch;
use crate::wire::body::Bodies;

/// The same people, groups and order of writing in every run.
const SEED: u64 = 1;
/// Turns of writing until they repeat.
const TURNS: usize = 8_192;
/// Smallest group.
const GROUP_MIN: usize = 3;
/// Nobody goes away any more when so many seconds are left: everybody is back at the end.
const LAST_S: f64 = 1.0;
/// What is behind its time is made up at most so much at once.
const BURST_MAX: usize = 16;

/// Makes the groups, connects everybody and lets the day pass.
///
/// # Errors
/// See [`super::run`].
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let settings = options.day.context("mixed has figures of its own")?;
    let people = super::people(options, options.connections)?;
    let bodies = Bodies::new(super::run_number(), options.payload);
    let mut traffic = Traffic::new(options.protocol, bodies.clone(), people.len(), options.ack_ms > 0)?;
    let mut dice = Dice::new(SEED);
    let mut town = Town { options, people: &people, bodies: &bodies, traffic: &mut traffic };
    let couples = town.befriend(settings.friends)?;
    let sizes = group_sizes(settings, people.len());
    let groups = town.gather(&sizes, settings.writers, &mut dice)?;
    traffic.order = (0..TURNS)
        .filter_map(|_| {
            let streams = if dice.falls(settings.group_share) { &groups } else { &couples };
            dice.pick(streams).copied()
        })
        .collect();
    let mut network = Network::new(options.targets()?)?;
    network.show_to(Watch::of(options)?);
    network.dial(&people, &mut traffic)?;
    traffic.signed_in.clear();
    let mut passing = Passing::new(settings, &people, dice)?;
    let spent = drive(&mut network, &mut traffic, &Plan::of(options)?, &mut passing)?;
    traffic.finish();
    let figures = Figures {
        people: people.len(),
        couples: couples.len() / 2,
        groups: sizes.len(),
        largest_group: sizes.first().copied().unwrap_or(0),
        skipped: traffic.skipped,
        reads: traffic.marks.reads,
        receipts_seen: traffic.marks.receipts,
        typing: passing.typing,
        typing_seen: traffic.marks.typing,
        reconnects: passing.reconnects,
        late: traffic.tally.late,
        sign_in_us: Quantiles::of(&passing.sign_in),
    };
    Ok(Report::of_load(options, &traffic, &spent).with(figures))
}

/// The n-th group has the n-th share of the largest one's members, to the power of the exponent.
fn group_sizes(settings: Day, people: usize) -> Vec<usize> {
    let size = |rank: usize| (settings.group_max as f64 / (rank as f64).powf(settings.zipf)) as usize;
    (1..=settings.groups).map(|rank| size(rank).max(GROUP_MIN).min(people)).collect()
}

/// Makes the streams.
struct Town<'a> {
    options: &'a Options,
    people: &'a [Person],
    bodies: &'a Bodies,
    traffic: &'a mut Traffic,
}

impl Town<'_> {
    fn add(&mut self, from: usize, to: &[usize], group: Option<&Group>) -> anyhow::Result<usize> {
        let person = |at: usize| self.people.get(at).context("everybody is somebody");
        let (stream, bodies) = (self.traffic.streams.len(), self.bodies);
        let first = *to.first().context("somebody receives")?;
        let letter = Letter { bodies, stream, from: person(from)?, to: person(first)?, group, durable: true };
        let route = self.options.protocol.route(&letter)?;
        Ok(self.traffic.add(from, route, to.iter().copied()))
    }

    /// Everybody talks with the next ones, both ways.
    fn befriend(&mut self, friends: usize) -> anyhow::Result<Vec<usize>> {
        let count = self.people.len();
        // Round a table, whom one would meet twice is met once.
        let friends = friends.min((count - 1) / 2).max(1);
        let mut streams = Vec::new();
        for one in 0..count {
            for other in (1..=friends).map(|step| (one + step) % count) {
                if count > 2 || one < other {
                    streams.push(self.add(one, &[other], None)?);
                    streams.push(self.add(other, &[one], None)?);
                }
            }
        }
        Ok(streams)
    }

    /// Groups of some, the first of whom write.
    fn gather(&mut self, sizes: &[usize], writers: usize, dice: &mut Dice) -> anyhow::Result<Vec<usize>> {
        let api = Http::new(&self.options.api)?;
        let mut streams = Vec::new();
        for size in sizes {
            let members = dice.choose(*size, self.people.len());
            let persons: Vec<Person> = members.iter().filter_map(|at| self.people.get(*at).cloned()).collect();
            let group = people::make_group(&api, &persons)?;
            for writer in members.iter().take(writers) {
                let others: Vec<usize> = members.iter().copied().filter(|member| member != writer).collect();
                streams.push(self.add(*writer, &others, Some(&group))?);
            }
        }
        Ok(streams)
    }
}

/// Something that happens so often a second, from the first look on.
#[derive(Debug)]
struct Beat {
    per_s: f64,
    began_ns: Option<u64>,
    count: u64,
}

impl Beat {
    fn new(per_s: f64) -> Self {
        Self { per_s, began_ns: None, count: 0 }
    }

    fn due_ns(&self) -> u64 {
        let after_ns = self.count as f64 * 1e9 / self.per_s;
        self.began_ns.map_or(0, |began_ns| began_ns.saturating_add(after_ns as u64))
    }

    /// Whether it is time; then it is counted.
    fn beats(&mut self, now_ns: u64) -> bool {
        self.began_ns.get_or_insert(now_ns);
        let beats = self.per_s > 0.0 && self.due_ns() <= now_ns;
        self.count += u64::from(beats);
        beats
    }
}

/// What people do besides writing.
struct Passing<'a> {
    people: &'a [Person],
    dice: Dice,
    away_ns: u64,
    reading: Beat,
    writing: Beat,
    leaving: Beat,
    /// Who is away, and when they come back.
    away: Vec<(usize, u64)>,
    /// Who is signing in, since when.
    returning: Vec<(usize, u64)>,
    typing: u64,
    reconnects: u64,
    sign_in: Histogram<u64>,
}

impl<'a> Passing<'a> {
    fn new(settings: Day, people: &'a [Person], dice: Dice) -> anyhow::Result<Self> {
        Ok(Self {
            people,
            dice,
            away_ns: seconds(settings.away_s),
            reading: Beat::new(settings.reads_per_s),
            writing: Beat::new(settings.typing_per_s),
            leaving: Beat::new(settings.reconnects_per_s),
            away: Vec::new(),
            returning: Vec::new(),
            typing: 0,
            reconnects: 0,
            sign_in: histogram()?,
        })
    }

    fn leave(&mut self, network: &mut Network, traffic: &mut Traffic, now_ns: u64) {
        let connection = self.dice.below(self.people.len());
        let is_elsewhere = |(other, _): &(usize, u64)| *other == connection;
        // Whoever waits for an answer would have to ask again.
        if traffic.is_idle(connection)
            && !self.away.iter().any(is_elsewhere)
            && !self.returning.iter().any(is_elsewhere)
        {
            network.hang_up(connection);
            traffic.leave(connection);
            self.away.push((connection, now_ns + self.away_ns));
            self.reconnects += 1;
        }
    }

    fn come_back(&mut self, network: &mut Network, traffic: &Traffic, now_ns: u64) -> anyhow::Result<()> {
        while let Some(at) = self.away.iter().position(|(_, back_ns)| *back_ns <= now_ns) {
            let (connection, _) = self.away.swap_remove(at);
            let person = self.people.get(connection).context("everybody is somebody")?;
            network.redial(connection, &traffic.resuming(connection, person))?;
            self.returning.push((connection, now_ns));
        }
        Ok(())
    }

    fn note_returned(&mut self, traffic: &mut Traffic) {
        for (connection, at_ns) in std::mem::take(&mut traffic.signed_in) {
            if let Some(at) = self.returning.iter().position(|(other, _)| *other == connection) {
                let (_, dialled_ns) = self.returning.swap_remove(at);
                self.sign_in.saturating_record(at_ns.saturating_sub(dialled_ns));
            }
        }
    }
}

impl Companion for Passing<'_> {
    fn turn(&mut self, network: &mut Network, traffic: &mut Traffic, now_ns: u64) -> anyhow::Result<Option<u64>> {
        self.note_returned(traffic);
        self.come_back(network, traffic, now_ns)?;
        for _ in 0..BURST_MAX {
            let reads = self.reading.beats(now_ns);
            if reads {
                let (connection, place) = (self.dice.below(self.people.len()), self.dice.below(usize::MAX));
                traffic.mark_read(network, connection, place);
            }
            let types = self.writing.beats(now_ns);
            if types {
                let stream = self.dice.below(traffic.streams.len());
                self.typing += u64::from(traffic.type_in(network, stream));
            }
            let leaves = self.leaving.beats(now_ns);
            if leaves && now_ns + self.away_ns + seconds(LAST_S) < traffic.window.1 {
                self.leave(network, traffic, now_ns);
            }
            if !reads && !types && !leaves {
                break;
            }
        }
        let back_ns = self.away.iter().map(|(_, back_ns)| *back_ns).min().unwrap_or(u64::MAX);
        let beats = [&self.reading, &self.writing, &self.leaving].into_iter().filter(|beat| beat.per_s > 0.0);
        Ok(Some(beats.map(Beat::due_ns).min().unwrap_or(u64::MAX).min(back_ns)))
    }
}
