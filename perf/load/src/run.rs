//! The run itself: the schedule, the measured window, the end.
//!
//! Open loop: message `i` is due at `start + i / rate`, whatever the server does; what is due goes out, late or
//! not, and counts from when it was due. Closed loop: each stream keeps a fixed number in flight, and a message
//! counts from when it was handed over; that measures capacity, not latency under a load.

use std::thread::JoinHandle;

use crate::clock::{now_ns, seconds};
use crate::http::Http;
use crate::intervals::Intervals;
use crate::network::Network;
use crate::options::Options;
use crate::server::{Counters, Cpu};
use crate::traffic::{ACK_PARTS, Tally, Traffic};

/// Messages handed over between two looks at the input.
const BURST_MAX: usize = 64;
/// Nothing must come for this long before a run begins.
const QUIET_S: f64 = 0.3;
/// A backlog that does not end by then is not waited for.
const QUIET_S_MAX: f64 = 30.0;
/// What is not there this long after the last send is lost.
const DRAIN_S_MAX: f64 = 15.0;
/// After everything came, something may come twice.
const LINGER_S: f64 = 0.2;

/// When to send.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Messages a second, all streams together, in turns.
    Open(f64),
    /// Messages in flight a stream.
    Closed(u64),
}

/// How to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// When to send.
    pub(crate) pace: Pace,
    /// Nanoseconds of load that are not measured.
    pub(crate) warmup_ns: u64,
    /// Nanoseconds that are.
    pub(crate) measured_ns: u64,
    /// Nanoseconds for which a connection gathers acknowledgements, 0 when it does not.
    pub(crate) ack_ns: u64,
    /// Whose processor time counts.
    pub(crate) server_pid: Option<u32>,
    /// Whose counters count.
    pub(crate) admin: Option<Http>,
}

impl Plan {
    /// As the options say.
    ///
    /// # Errors
    /// No such admin listener.
    pub(crate) fn of(options: &Options) -> anyhow::Result<Self> {
        Ok(Self {
            pace: options.inflight.map_or(Pace::Open(options.rate), Pace::Closed),
            warmup_ns: seconds(options.warmup),
            measured_ns: seconds(options.seconds),
            ack_ns: options.ack_ms * 1_000_000,
            server_pid: options.server_pid,
            admin: options.admin.as_deref().map(Http::new).transpose()?,
        })
    }
}

/// What goes on beside the schedule of sends.
pub(crate) trait Companion {
    /// Does what is due. Called in every turn of the run; answers until when it need not be called, in the run's
    /// nanoseconds, or nothing when there is no more to measure: then the measured window ends.
    ///
    /// # Errors
    /// The run cannot go on.
    fn turn(&mut self, network: &mut Network, traffic: &mut Traffic, now_ns: u64) -> anyhow::Result<Option<u64>>;
}

/// Nothing beside it.
impl Companion for () {
    fn turn(&mut self, _network: &mut Network, _traffic: &mut Traffic, _now_ns: u64) -> anyhow::Result<Option<u64>> {
        Ok(Some(u64::MAX))
    }
}

/// One edge of the measured window.
#[derive(Debug)]
struct Edge {
    at_ns: u64,
    tally: Tally,
    server: Option<Cpu>,
    own: Cpu,
    spun_ns: u64,
    // Read on a thread of its own: the answer must not delay a send.
    counters: Option<JoinHandle<anyhow::Result<Counters>>>,
}

/// What was spent in the measured window, and how far it went.
#[derive(Debug)]
pub(crate) struct Spent {
    /// Seconds between the edges.
    pub(crate) seconds: f64,
    /// Counted between them.
    pub(crate) tally: Tally,
    /// By the server's process.
    pub(crate) server: Option<Cpu>,
    /// By this one.
    pub(crate) own: Cpu,
    /// Seconds of that which went into waiting for the next message to be due.
    pub(crate) spun_s: f64,
    /// The server's counters at both edges.
    pub(crate) counters: Option<(Counters, Counters)>,
    /// Seconds from the last send until everything was there.
    pub(crate) drain_s: f64,
}

/// Runs the load until everything was answered, and delivered to all who count. What never came is not looked for yet:
/// see [`Traffic::finish`].
///
/// # Errors
/// The kernel refuses, the server's counters cannot be read, or the companion fails.
pub(crate) fn drive(
    network: &mut Network,
    traffic: &mut Traffic,
    plan: &Plan,
    companion: &mut impl Companion,
) -> anyhow::Result<Spent> {
    settle(network, traffic)?;
    let start = now_ns();
    let (warm, end) = (start + plan.warmup_ns, start + plan.warmup_ns + plan.measured_ns);
    traffic.window = (warm, end);
    traffic.intervals = Intervals::of(traffic.window);
    let mut sender = Sender { pace: plan.pace, start, end, next: 0, waiting: Vec::new() };
    traffic.moved = (0..traffic.streams.len()).collect();
    let mut first = None;
    let ack_step = plan.ack_ns / ACK_PARTS as u64;
    let mut ack_at = start + ack_step;
    loop {
        let now = now_ns();
        if now >= warm && first.is_none() {
            first = Some(edge(plan, network, traffic, now)?);
        }
        if now >= end {
            break;
        }
        let Some(companion_due) = companion.turn(network, traffic, now)? else { break };
        let issued = sender.send_due(network, traffic, now);
        if plan.ack_ns > 0 && now >= ack_at {
            traffic.send_acks_of_part(network);
            ack_at = now + ack_step;
        }
        network.flush();
        note_lag(traffic, &issued, network.handed_over());
        sender.waiting = issued;
        let ack_due = if plan.ack_ns > 0 { ack_at } else { u64::MAX };
        let boundary = if first.is_none() { warm } else { end };
        network.poll(sender.due(traffic).min(ack_due).min(boundary).min(companion_due), traffic)?;
    }
    let first = match first {
        Some(first) => first,
        None => edge(plan, network, traffic, now_ns())?,
    };
    let last = edge(plan, network, traffic, now_ns())?;
    traffic.window.1 = last.at_ns;
    traffic.intervals.end_at(last.at_ns);
    let drain_s = drain(network, traffic, plan)?;
    spent(first, last, drain_s)
}

/// Messages of one submission are handed over one by one; the kernel does not say when, so it is taken to need as long for
/// each.
fn note_lag(traffic: &mut Traffic, issued: &[u64], (began, ended): (u64, u64)) {
    let each = (ended - began) / (issued.len() as u64).max(1);
    for (before, intended) in (0..).zip(issued) {
        traffic.note_lag(*intended, began + each * before);
    }
}

fn spent(first: Edge, last: Edge, drain_s: f64) -> anyhow::Result<Spent> {
    let join = |reader: JoinHandle<anyhow::Result<Counters>>| {
        reader.join().unwrap_or_else(|_| Err(anyhow::anyhow!("reading the counters panicked")))
    };
    let counters = match (first.counters, last.counters) {
        (Some(before), Some(after)) => Some((join(before)?, join(after)?)),
        _ => None,
    };
    let tally = Tally {
        sent: last.tally.sent - first.tally.sent,
        acknowledged: last.tally.acknowledged - first.tally.acknowledged,
        delivered: last.tally.delivered - first.tally.delivered,
        late: last.tally.late - first.tally.late,
        echoed: last.tally.echoed - first.tally.echoed,
        packets: last.tally.packets - first.tally.packets,
    };
    Ok(Spent {
        seconds: (last.at_ns - first.at_ns) as f64 / 1e9,
        tally,
        server: last.server.zip(first.server).map(|(last, first)| last.since(first)),
        own: last.own.since(first.own),
        spun_s: (last.spun_ns - first.spun_ns) as f64 / 1e9,
        counters,
        drain_s,
    })
}

fn edge(plan: &Plan, network: &Network, traffic: &Traffic, at_ns: u64) -> anyhow::Result<Edge> {
    let counters = plan.admin.clone().map(|admin| std::thread::spawn(move || Counters::read(&admin)));
    let server = plan.server_pid.map(|pid| Cpu::of(&pid.to_string())).transpose()?;
    Ok(Edge { at_ns, tally: traffic.tally, server, own: Cpu::of("self")?, spun_ns: network.spun_ns(), counters })
}

/// Waits until the backlog of earlier runs has come.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn settle(network: &mut Network, traffic: &mut Traffic) -> anyhow::Result<()> {
    let limit = now_ns() + seconds(QUIET_S_MAX);
    let mut quiet_at = now_ns() + seconds(QUIET_S);
    let mut packets = traffic.tally.packets;
    while now_ns() < quiet_at.min(limit) {
        network.poll(quiet_at.min(limit), traffic)?;
        traffic.send_acks(network);
        network.flush();
        if traffic.tally.packets != packets {
            packets = traffic.tally.packets;
            quiet_at = now_ns() + seconds(QUIET_S);
        }
    }
    Ok(())
}

/// Waits for what is under way; answers how long that took, in seconds.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn drain(network: &mut Network, traffic: &mut Traffic, plan: &Plan) -> anyhow::Result<f64> {
    let from = now_ns();
    let limit = from + seconds(DRAIN_S_MAX);
    while !traffic.is_complete() && now_ns() < limit {
        network.poll((now_ns() + plan.ack_ns.max(1_000_000)).min(limit), traffic)?;
        traffic.send_acks(network);
    }
    let took = (now_ns() - from) as f64 / 1e9;
    traffic.send_last_acks(network);
    network.flush();
    let linger = now_ns() + seconds(LINGER_S);
    while now_ns() < linger {
        network.poll(linger, traffic)?;
        traffic.send_acks(network);
    }
    network.flush();
    network.show(traffic);
    Ok(took)
}

/// The schedule.
struct Sender {
    pace: Pace,
    start: u64,
    end: u64,
    /// Number of the next message of the open loop.
    next: u64,
    /// Room for the times of a burst.
    waiting: Vec<u64>,
}

impl Sender {
    /// When the next message is due. The closed loop is driven by what comes in, but for streams that rest.
    fn due(&self, traffic: &Traffic) -> u64 {
        match self.pace {
            Pace::Open(rate) => self.intended(rate),
            Pace::Closed(_) => traffic.resting.front().map_or(u64::MAX, |(until, _)| *until),
        }
    }

    fn intended(&self, rate: f64) -> u64 {
        self.start + (self.next as f64 * 1e9 / rate) as u64
    }

    /// Hands over what is due, up to a burst; answers the intended times.
    fn send_due(&mut self, network: &mut Network, traffic: &mut Traffic, now: u64) -> Vec<u64> {
        let mut issued = std::mem::take(&mut self.waiting);
        issued.clear();
        let mut moved = std::mem::take(&mut traffic.moved);
        match self.pace {
            Pace::Open(rate) => {
                while issued.len() < BURST_MAX && self.intended(rate) <= now && self.intended(rate) < self.end {
                    let intended = self.intended(rate);
                    traffic.send(network, traffic.turn(self.next), intended);
                    issued.push(intended);
                    self.next += 1;
                }
            }
            Pace::Closed(inflight) => {
                while let Some((_, stream)) = traffic.resting.pop_front_if(|(until, _)| *until <= now) {
                    moved.push(stream);
                }
                for stream in &moved {
                    let awake = traffic.streams.get(*stream).filter(|stream| stream.rests_until_ns <= now);
                    let room = awake.map_or(0, |stream| inflight.saturating_sub(stream.inflight()));
                    for _ in 0..room {
                        traffic.send(network, *stream, now);
                    }
                }
            }
        }
        // The list's room is used again.
        traffic.moved = moved;
        traffic.moved.clear();
        issued
    }
}
