//! Pairs laid over the server's shards: so many with both ends and the hub on one shard, so many across two.
//!
//! The kernel chooses the shard of a connection, so more connect than are needed, one after the other, and after each
//! the server's counters say which shard took it; nobody else may connect meanwhile. The hub of a conversation is on the
//! shard that the engine's hash says. Who finds no partner leaves. A server with one shard, or without `--admin`, gets
//! pairs as they come.

use std::collections::VecDeque;

use anyhow::Context as _;
use ringway_engine::ids::{ConversationId, Uid};

use crate::http::Http;
use crate::network::Network;
use crate::options::Options;
use crate::people::Person;
use crate::protocol::Letter;
use crate::report::{Report, Scale as Figures};
use crate::run::{Companion, Plan, drive};
use crate::server::{Counters, Threads};
use crate::traffic::Traffic;
use crate::watch::Watch;
use crate::wire::body::Bodies;

/// Connections beyond those needed, as a share of them: the kernel's choice is uneven, and not every two have their hub
/// where they are.
const SPARE_SHARE: f64 = 0.3;
/// What each shard has accepted.
const ACCEPTED: &str = "ringway_accepted_total";

/// Connects, pairs up, and runs the load.
///
/// # Errors
/// See [`super::run`].
pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let settings = options.scale.context("scale has figures of its own")?;
    let admin = options.admin.as_deref().map(Http::new).transpose()?;
    let shards = match &admin {
        Some(admin) => Counters::read(admin)?.by_shard(ACCEPTED).len().max(1),
        None => 1,
    };
    let mut options = options.clone();
    if settings.per_shard {
        options.connections *= shards;
        options.rate *= shards as f64;
    }
    let options = &options;
    let spare = if shards > 1 { (options.connections as f64 * SPARE_SHARE) as usize + shards } else { 0 };
    let people = super::people(options, options.connections + spare)?;
    let bodies = Bodies::new(super::run_number(), options.payload);
    let mut traffic = Traffic::new(options.protocol, bodies.clone(), people.len(), options.ack_ms > 0)?;
    let mut network = Network::new(options.targets()?)?;
    network.show_to(Watch::of(options)?);
    let places = match admin.as_ref().filter(|_| shards > 1) {
        Some(admin) => dial_each(&mut network, &mut traffic, &people, admin)?,
        None => {
            network.dial(&people, &mut traffic)?;
            vec![0; people.len()]
        }
    };
    let wanted = options.connections / 2;
    let cross = if shards > 1 { (wanted as f64 * settings.cross).round() as usize } else { 0 };
    let mut table = Table::new(shards, &places, &people, settings.stored);
    let mut pairs: Vec<(usize, usize)> = (0..cross).filter_map(|_| table.across()).collect();
    let crossing = pairs.len();
    pairs.extend((crossing..wanted).filter_map(|_| table.within()));
    table.rest().for_each(|connection| network.hang_up(connection));
    for (stream, (from, to)) in pairs.iter().enumerate() {
        let person = |at: &usize| people.get(*at).context("everybody is somebody");
        let (from_person, to_person, durable) = (person(from)?, person(to)?, settings.stored);
        let letter = Letter { bodies: &bodies, stream, from: from_person, to: to_person, group: None, durable };
        traffic.add(*from, options.protocol.route(&letter)?, [*to]);
    }
    let mut first = First { pid: options.server_pid, threads: None };
    let spent = drive(&mut network, &mut traffic, &Plan::of(options)?, &mut first)?;
    let last = options.server_pid.map(Threads::of).transpose()?;
    traffic.finish();
    let deliveries = spent.tally.deliveries();
    let figures = Figures {
        shards: admin.is_some().then_some(shards),
        stored: settings.stored,
        pairs: pairs.len(),
        crossing,
        wanted_share: settings.cross,
        mailbox_turns_per_delivery: spent
            .counters
            .as_ref()
            .map(|(before, after)| after.grown(before, "ringway_mailbox_turns_total") / deliveries),
        threads_cpu_us_per_delivery: first.threads.zip(last).map(|(before, after)| after.since(&before, deliveries)),
    };
    Ok(Report::of_load(options, &traffic, &spent).with(figures))
}

/// Connects one after the other; answers the shard of each.
///
/// # Errors
/// A connection fails, or somebody else connects meanwhile.
fn dial_each(
    network: &mut Network,
    traffic: &mut Traffic,
    people: &[Person],
    admin: &Http,
) -> anyhow::Result<Vec<usize>> {
    let mut before = Counters::read(admin)?.by_shard(ACCEPTED);
    let mut places = Vec::with_capacity(people.len());
    for person in people {
        network.dial(std::slice::from_ref(person), traffic)?;
        let after = Counters::read(admin)?.by_shard(ACCEPTED);
        let grown: Vec<usize> = (0..after.len()).filter(|shard| after.get(*shard) != before.get(*shard)).collect();
        let [shard] = grown.as_slice() else {
            anyhow::bail!("one connection came, and shards {grown:?} took some: somebody else connects too");
        };
        places.push(*shard);
        before = after;
    }
    Ok(places)
}

/// Who is on which shard and has no partner yet.
struct Table<'a> {
    shards: Vec<VecDeque<usize>>,
    people: &'a [Person],
    /// Whether the place of the hub matters.
    stored: bool,
}

impl<'a> Table<'a> {
    fn new(shards: usize, places: &[usize], people: &'a [Person], stored: bool) -> Self {
        let mut lists = vec![VecDeque::new(); shards];
        for (connection, shard) in places.iter().enumerate() {
            if let Some(list) = lists.get_mut(*shard) {
                list.push_back(connection);
            }
        }
        Self { shards: lists, people, stored }
    }

    /// Where the hub of two is.
    fn home(&self, one: usize, other: usize) -> Option<usize> {
        let uid = |at: usize| Uid::parse(&self.people.get(at)?.uid).ok();
        Some(ConversationId::p2p(&uid(one)?, &uid(other)?).home_shard(self.shards.len()))
    }

    /// The shards with the most who wait, most first.
    fn fullest(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.shards.len()).collect();
        order.sort_by_key(|shard| std::cmp::Reverse(self.shards.get(*shard).map_or(0, VecDeque::len)));
        order
    }

    /// Sender on one shard, receiver on another, the hub on one of the two.
    fn across(&mut self) -> Option<(usize, usize)> {
        let order = self.fullest();
        let [one, other, ..] = order.as_slice() else { return None };
        self.pair(*one, *other)
    }

    /// Both, and the hub, on one shard.
    fn within(&mut self) -> Option<(usize, usize)> {
        self.fullest().into_iter().find_map(|shard| self.pair(shard, shard))
    }

    fn pair(&mut self, one: usize, other: usize) -> Option<(usize, usize)> {
        // Whoever has no partner on a shard now may go with a later one, and stands behind.
        for _ in 0..self.shards.get(one)?.len() {
            let from = self.shards.get_mut(one)?.pop_front()?;
            let fits =
                |to: &usize| !self.stored || self.home(from, *to).is_some_and(|home| home == one || home == other);
            let found = self.shards.get(other)?.iter().position(fits);
            if let Some(to) = found.and_then(|at| self.shards.get_mut(other)?.remove(at)) {
                return Some((from, to));
            }
            self.shards.get_mut(one)?.push_back(from);
        }
        None
    }

    fn rest(self) -> impl Iterator<Item = usize> {
        self.shards.into_iter().flatten()
    }
}

/// Notes at the beginning of the measured window what the server's threads had spent.
struct First {
    pid: Option<u32>,
    threads: Option<Threads>,
}

impl Companion for First {
    fn turn(&mut self, _network: &mut Network, traffic: &mut Traffic, now_ns: u64) -> anyhow::Result<Option<u64>> {
        if self.threads.is_none() && now_ns >= traffic.window.0 {
            self.threads = self.pid.map(Threads::of).transpose()?;
        }
        Ok(Some(if self.threads.is_none() && self.pid.is_some() { traffic.window.0 } else { u64::MAX }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_lie_across_shards_or_within_one_with_their_hub() {
        let people = crate::people::strangers("load", 400);
        let places: Vec<usize> = (0..400).map(|at| at * at % 7 % 3).collect();
        let mut table = Table::new(3, &places, &people, true);
        for _ in 0..50 {
            let (from, to) = table.across().unwrap();
            let home = table.home(from, to).unwrap();
            assert!(places[from] != places[to] && (home == places[from] || home == places[to]));
            let (from, to) = table.within().unwrap();
            assert!(places[from] == places[to] && table.home(from, to) == Some(places[from]));
        }
        assert_eq!(table.rest().count(), 200);
    }
}
