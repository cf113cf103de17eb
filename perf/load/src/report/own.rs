//! Figures that one scenario adds to those of all.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::Quantiles;
use crate::server::Memory;
use crate::traffic::Shed;

/// Under the name of its kind in the JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Own {
    /// Of `resume_storm`.
    Storm(Storm),
    /// Of `slow_reader`.
    Slow(Slow),
    /// Of `offline_drain`.
    Offline(Offline),
    /// Of `mixed`.
    Day(Day),
    /// Of `scale`.
    Scale(Scale),
}

impl Own {
    pub(super) fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        match self {
            Self::Storm(storm) => storm.write_summary(text),
            Self::Slow(slow) => slow.write_summary(text),
            Self::Offline(offline) => offline.write_summary(text),
            Self::Day(day) => day.write_summary(text),
            Self::Scale(scale) => scale.write_summary(text),
        }
    }
}

/// All devices coming back.
#[derive(Debug, Serialize)]
pub(crate) struct Storm {
    /// Devices that went away.
    pub(crate) devices: usize,
    /// Messages that each missed.
    pub(crate) gap: u64,
    /// Devices that were back, and had all they missed, within the measured window.
    pub(crate) resumed: u64,
    /// From the first reconnection to the last message of a gap.
    pub(crate) took_s: f64,
    /// Devices a second.
    pub(crate) resumes_per_s: f64,
    /// Devices a second of the server's processor time, what the others cost included.
    pub(crate) resumes_per_core_s: Option<f64>,
    /// Processor time of the server for one device.
    pub(crate) cpu_us_per_resume: Option<f64>,
    /// From the beginning of the reconnection until signed in.
    pub(crate) sign_in_us: Quantiles,
    /// From the beginning of the reconnection to the last message of the gap.
    pub(crate) resume_us: Quantiles,
}

impl From<Storm> for Own {
    fn from(storm: Storm) -> Self {
        Self::Storm(storm)
    }
}

impl Storm {
    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "storm: {} of {} devices resumed with {} messages each in {:.2} s: {:.0}/s, {} for a core-second",
            self.resumed,
            self.devices,
            self.gap,
            self.took_s,
            self.resumes_per_s,
            self.resumes_per_core_s.map_or("–".to_owned(), |rate| format!("{rate:.0}"))
        )?;
        for (name, us) in [("signed in", &self.sign_in_us), ("resumed", &self.resume_us)] {
            writeln!(text, "{name:>14} ms: p50 {:.3}  p99 {:.3}  max {:.3}", us.p50 / 1e3, us.p99 / 1e3, us.max / 1e3)?;
        }
        writeln!(text, "the latencies above are those of the pairs that stayed")
    }
}

/// Members who do not read.
#[derive(Debug, Serialize)]
pub(crate) struct Slow {
    /// Of the room, the slow ones among them.
    pub(crate) members: usize,
    /// Who stopped reading.
    pub(crate) slow: usize,
    /// From send to delivery while everybody read.
    pub(crate) baseline_us: Quantiles,
    /// Server's processor time a delivery, then.
    pub(crate) baseline_cpu_us_per_delivery: Option<f64>,
    /// Bytes of the server at the end of the baseline.
    pub(crate) before: Option<Memory>,
    /// Bytes at the end of the load.
    pub(crate) after: Option<Memory>,
    /// Growth for each who stopped reading.
    pub(crate) per_slow: Option<Memory>,
    /// Conversations of which the server dropped messages while they did not read, as it counts.
    pub(crate) dropped_by_server: Option<f64>,
    /// Connections that it ended because they did not read, as it counts.
    pub(crate) closed_by_server: Option<f64>,
    /// Messages that the slow ones had not got when they began to read again, all together.
    pub(crate) missed: u64,
    /// Slow ones who have everything in the end.
    pub(crate) caught_up: usize,
    /// How long that took them.
    pub(crate) caught_up_s: f64,
    /// What the slow ones saw of it.
    pub(crate) shed: Shed,
}

impl From<Slow> for Own {
    fn from(slow: Slow) -> Self {
        Self::Slow(slow)
    }
}

impl Slow {
    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "slow: {} of {} members did not read; before, others had p50 {:.3} and p99 {:.3} ms",
            self.slow,
            self.members,
            self.baseline_us.p50 / 1e3,
            self.baseline_us.p99 / 1e3
        )?;
        if let Some(each) = &self.per_slow {
            writeln!(text, "server, bytes a slow member: {} private, {} RSS", each.private, each.rss)?;
        }
        writeln!(
            text,
            "slow: {} messages missed; {} conversations to read anew, {} connections ended by the server; {} have all, \
             in {:.2} s",
            self.missed, self.shed.resyncs, self.shed.ended, self.caught_up, self.caught_up_s
        )
    }
}

/// Messages to a device that is away.
#[derive(Debug, Serialize)]
pub(crate) struct Offline {
    /// Messages that were taken for it.
    pub(crate) messages: u64,
    /// Acknowledged a second, while the senders sent.
    pub(crate) taken_per_s: f64,
    /// Messages archived in the same time.
    pub(crate) archived_while_sending: Option<f64>,
    /// From the first send until everything was archived, where the server tells, else acknowledged.
    pub(crate) stored_s: f64,
    /// Processor time of the server for a message, in that time: taken and archived.
    pub(crate) cpu_us_per_message: Option<f64>,
    /// The archive catching up after the last send.
    pub(crate) drain: Option<Drain>,
    /// From the device's reconnection to its last message.
    pub(crate) sign_in_s: f64,
    /// Messages a second that it got then.
    pub(crate) sign_in_messages_per_s: f64,
    /// Processor time of the server for each of them.
    pub(crate) sign_in_cpu_us_per_message: Option<f64>,
}

/// The archive catching up, with nothing else to do.
#[derive(Debug, Serialize)]
pub(crate) struct Drain {
    /// Messages that were not archived when it began.
    pub(crate) messages: f64,
    /// Until all were.
    pub(crate) took_s: f64,
    /// Messages a second.
    pub(crate) messages_per_s: f64,
    /// Messages a second of the server's processor time.
    pub(crate) messages_per_core_s: Option<f64>,
}

impl From<Offline> for Own {
    fn from(offline: Offline) -> Self {
        Self::Offline(offline)
    }
}

impl Offline {
    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        let show = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.2}"));
        writeln!(
            text,
            "away: {} messages taken at {:.0}/s and stored within {:.2} s, {} µs CPU each; {} of them archived while \
             sending",
            self.messages,
            self.taken_per_s,
            self.stored_s,
            show(self.cpu_us_per_message),
            self.archived_while_sending.map_or("–".to_owned(), |count| format!("{count:.0}"))
        )?;
        if let Some(drain) = &self.drain {
            writeln!(
                text,
                "drain: {:.0} messages in {:.2} s: {:.0}/s, {} for a core-second",
                drain.messages,
                drain.took_s,
                drain.messages_per_s,
                drain.messages_per_core_s.map_or("–".to_owned(), |rate| format!("{rate:.0}"))
            )?;
        }
        writeln!(
            text,
            "sign-in: all of them in {:.2} s: {:.0}/s, {} µs CPU each",
            self.sign_in_s,
            self.sign_in_messages_per_s,
            show(self.sign_in_cpu_us_per_message)
        )
    }
}

/// A day of people.
#[derive(Debug, Serialize)]
pub(crate) struct Day {
    /// Devices, one each.
    pub(crate) people: usize,
    /// Conversations between two.
    pub(crate) couples: usize,
    /// Groups.
    pub(crate) groups: usize,
    /// Members of the largest.
    pub(crate) largest_group: usize,
    /// Messages that were not sent, as their sender was away.
    pub(crate) skipped: u64,
    /// Read marks.
    pub(crate) reads: u64,
    /// Receipts that came, of reading and of delivery.
    pub(crate) receipts_seen: u64,
    /// Typing that was told.
    pub(crate) typing: u64,
    /// Typing that others saw.
    pub(crate) typing_seen: u64,
    /// Devices that went away and came back.
    pub(crate) reconnects: u64,
    /// Deliveries of messages that were sent while their receiver was away.
    pub(crate) late: u64,
    /// From reconnecting to signed in.
    pub(crate) sign_in_us: Quantiles,
}

impl From<Day> for Own {
    fn from(day: Day) -> Self {
        Self::Day(day)
    }
}

impl Day {
    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "day: {} people, {} couples, {} groups of up to {}; {} read marks and {} receipts, typing told {} times and \
             seen {}",
            self.people,
            self.couples,
            self.groups,
            self.largest_group,
            self.reads,
            self.receipts_seen,
            self.typing,
            self.typing_seen
        )?;
        writeln!(
            text,
            "day: {} reconnections, signed in within p50 {:.3} and p99 {:.3} ms, {} deliveries late, {} sends skipped",
            self.reconnects,
            self.sign_in_us.p50 / 1e3,
            self.sign_in_us.p99 / 1e3,
            self.late,
            self.skipped
        )
    }
}

/// Pairs over shards.
#[derive(Debug, Serialize)]
pub(crate) struct Scale {
    /// Shards of the server; absent where it did not tell.
    pub(crate) shards: Option<usize>,
    /// Whether messages were stored.
    pub(crate) stored: bool,
    /// Pairs that were found.
    pub(crate) pairs: usize,
    /// Those of them with their ends on different shards.
    pub(crate) crossing: usize,
    /// The share of those that was asked for; a server with one shard has none.
    pub(crate) wanted_share: f64,
    /// Turns of mailboxes between threads.
    pub(crate) mailbox_turns_per_delivery: Option<f64>,
    /// Processor time of the server by the names of its threads, until the last delivery.
    pub(crate) threads_cpu_us_per_delivery: Option<BTreeMap<String, f64>>,
}

impl From<Scale> for Own {
    fn from(scale: Scale) -> Self {
        Self::Scale(scale)
    }
}

impl Scale {
    fn write_summary(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "scale: {} shards, {} of {} pairs across two",
            self.shards.map_or("unknown".to_owned(), |shards| shards.to_string()),
            self.crossing,
            self.pairs
        )?;
        for (thread, us) in self.threads_cpu_us_per_delivery.iter().flatten() {
            writeln!(text, "{thread:>16}: {us:.2} µs CPU a delivery")?;
        }
        Ok(())
    }
}
