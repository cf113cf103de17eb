//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use ringway_engine::packet::Format;

use crate::connection::Target;
use crate::http::resolve;
use crate::protocol::{self, Protocol, Speech};
use crate::settings::{self, Day, Scale, Settings, Slow, Storm};
use crate::wire::body::{HEAD_BYTES, STREAMS_MAX};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// Durable messages between pairs: journalled, numbered, acknowledged by the receiver
    RelayDurable,
    /// Messages between pairs that are not stored; of Ringway, call signals
    RelayTransient,
    /// One sender and a room of members; of Ringway, a group whose members acknowledge
    RoomFan,
    /// The same with several messages in flight
    RoomBurst,
    /// Authenticated devices that do nothing: memory of the server for each
    IdleMemory,
    /// Devices that went away all come back with a gap, while others talk
    ResumeStorm,
    /// A room of which some members stop reading
    SlowReader,
    /// Messages to a device that is away: taken, archived, fetched
    OfflineDrain,
    /// A day: talk between two, groups, read marks, typing, devices that come and go
    Mixed,
    /// Pairs laid over the server's shards, within one and across two
    Scale,
}

impl Scenario {
    /// Whether pairs send.
    pub(crate) fn is_relay(self) -> bool {
        matches!(self, Self::RelayDurable | Self::RelayTransient)
    }

    /// Whether one sends to all.
    pub(crate) fn is_room(self) -> bool {
        matches!(self, Self::RoomFan | Self::RoomBurst | Self::SlowReader)
    }

    /// Whether messages are stored whatever is measured.
    pub(crate) fn is_stored(self) -> bool {
        matches!(self, Self::RelayDurable | Self::OfflineDrain | Self::ResumeStorm | Self::Mixed)
    }
}

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    /// Subprotocol ringway.v1.json
    Json,
    /// Subprotocol ringway.v1.protobuf
    Protobuf,
}

impl From<Wire> for Format {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Json => Self::Json,
            Wire::Protobuf => Self::Protobuf,
        }
    }
}

/// Open-loop load for a running Ringway.
///
/// Latency counts from the time at which a message was to be sent. Exit code 3: the generator lagged and the
/// figures are void. Exit code 4: something was lost, doubled, out of order or not what was sent.
#[derive(Debug, Clone, Parser)]
#[command(name = "ringway-load", version)]
pub(crate) struct Arguments {
    /// What to measure
    scenario: Scenario,
    /// Whom it is measured on: Ringway, or a peer by what it speaks or by its name
    #[arg(long, value_enum, default_value_t = Speech::Ringway)]
    protocol: Speech,
    /// The gateway, or the peer; several, separated by commas, take connections in turn: of two, one takes the senders
    /// of the relay scenarios and the other their receivers
    #[arg(long, value_name = "WS_URL", value_delimiter = ',', default_value = "ws://127.0.0.1:7400/v1/ws")]
    url: Vec<String>,
    /// The HTTP API, for groups and, without --data, for users
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7480")]
    api: String,
    /// The admin listener, for the server's counters
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// Process id of the server, for its processor time and memory; of idle_memory, those of several, separated by commas
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// The server's data folder: users and tokens are made there; without it they register by HTTP
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The scenario's figures under this name in perf/scenarios, instead of the plain ones
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Messages a second, all senders together
    #[arg(long, value_name = "N", conflicts_with = "inflight")]
    rate: Option<f64>,
    /// Instead of a rate: each sender keeps this many messages in flight (relay_durable, relay_transient, room_burst)
    #[arg(long, value_name = "W")]
    inflight: Option<u64>,
    /// Pairs of the relay scenarios [default: half of --connections]
    #[arg(long, value_name = "N", conflicts_with = "connections")]
    pairs: Option<usize>,
    /// Connections: twice the pairs, the members of the room and their sender, or the idle devices
    /// [default: 100; idle_memory 1000]
    #[arg(long, value_name = "N")]
    connections: Option<usize>,
    /// Seconds that are measured; for idle_memory, seconds of rest before the memory is read [default: 10]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Seconds of load before those that are measured [default: 2]
    #[arg(long, value_name = "S")]
    warmup: Option<f64>,
    /// Devices that come back a second (resume_storm) [default: the scenario's, where it bounds them]
    #[arg(long, value_name = "N")]
    resume_rate: Option<f64>,
    /// Bytes of a message's body [default: 128]
    #[arg(long, value_name = "BYTES")]
    payload: Option<usize>,
    /// Receivers acknowledge at most this long after a delivery; 0: with each read [default: 0; rooms 50]
    #[arg(long, value_name = "MS")]
    ack_ms: Option<u64>,
    /// Wire format of all connections to Ringway
    #[arg(long, value_enum, default_value_t = Wire::Protobuf)]
    format: Wire,
    /// Users are named PREFIX-0, PREFIX-1, …
    #[arg(long, value_name = "PREFIX", default_value = "load")]
    prefix: String,
    /// Show the run while it goes on, on standard error, also when that is no terminal
    #[arg(long)]
    live: bool,
    /// Write histograms of each second there, in HdrHistogram's log format
    #[arg(long, value_name = "FILE")]
    intervals: Option<PathBuf>,
    /// This process has the connections from this number on: started by another
    #[arg(long, value_name = "FIRST", hide = true)]
    share: Option<usize>,
    /// Write the figures there instead of to standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What is to be run: the command line, and the scenario's file where that says nothing.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// What is measured.
    pub(crate) scenario: Scenario,
    /// Whether that is Ringway, which has accounts and groups of ours.
    pub(crate) is_ringway: bool,
    /// How it is spoken to.
    pub(crate) protocol: &'static dyn Protocol,
    /// Where it is; connections go there in turn.
    urls: Vec<String>,
    /// Its HTTP API.
    pub(crate) api: String,
    /// Its counters.
    pub(crate) admin: Option<String>,
    /// Its process.
    pub(crate) server_pid: Option<u32>,
    /// All its processes.
    pub(crate) server_pids: Vec<u32>,
    /// Its data folder.
    pub(crate) data: Option<PathBuf>,
    /// Messages a second.
    pub(crate) rate: f64,
    /// Instead: messages in flight a sender.
    pub(crate) inflight: Option<u64>,
    /// Connections of the whole run.
    pub(crate) connections: usize,
    /// Seconds that are measured.
    pub(crate) seconds: f64,
    /// Seconds before those.
    pub(crate) warmup: f64,
    /// Bytes of a body.
    pub(crate) payload: usize,
    /// How long an acknowledgement may wait.
    pub(crate) ack_ms: u64,
    /// What `resume_storm` takes besides.
    pub(crate) storm: Option<Storm>,
    /// What `slow_reader` takes besides.
    pub(crate) slow: Option<Slow>,
    /// What `mixed` takes besides.
    pub(crate) day: Option<Day>,
    /// What `scale` takes besides.
    pub(crate) scale: Option<Scale>,
    /// Begins the users' names.
    pub(crate) prefix: String,
    /// Show the run even where there is no terminal.
    pub(crate) live: bool,
    /// Where the histograms of each second go.
    pub(crate) intervals: Option<PathBuf>,
    /// The first connection of this process, which another has started.
    pub(crate) share: Option<usize>,
    /// Where the figures go.
    pub(crate) json: Option<PathBuf>,
}

impl Arguments {
    /// Fills in what was not said, and checks what clap cannot see.
    ///
    /// # Errors
    /// Says which option is wrong.
    pub(crate) fn settle(self) -> anyhow::Result<Options> {
        let relay = self.scenario.is_relay();
        ensure!(self.inflight.is_none() || self.scenario != Scenario::RoomFan, "--inflight: that is room_burst");
        ensure!(self.rate.is_none() || self.scenario != Scenario::RoomBurst, "--rate: that is room_fan");
        ensure!(self.pairs.is_none() || relay, "--pairs is for the relay scenarios; give --connections");
        let said = Settings {
            connections: self.pairs.map(|pairs| pairs * 2).or(self.connections),
            rate: self.rate,
            inflight: self.inflight,
            seconds: self.seconds,
            warmup: self.warmup,
            payload: self.payload,
            ack_ms: self.ack_ms,
            ..Settings::default()
        };
        let settings = settings::of(self.scenario, self.variant.as_deref())?.under(&said);
        let storm =
            settings.storm.map(|storm| Storm { resumes_per_s: self.resume_rate.or(storm.resumes_per_s), ..storm });
        ensure!(self.resume_rate.is_none() || storm.is_some(), "--resume-rate is for resume_storm");
        let options = Options {
            scenario: self.scenario,
            is_ringway: self.protocol == Speech::Ringway,
            protocol: protocol::of(self.protocol, self.format.into(), self.scenario),
            urls: self.url,
            api: self.api,
            admin: self.admin,
            server_pid: self.server_pid.first().copied(),
            server_pids: self.server_pid,
            data: self.data,
            rate: settings.rate.unwrap_or(1_000.0),
            inflight: settings.inflight,
            connections: settings.connections.unwrap_or(100),
            seconds: settings.seconds.unwrap_or(10.0),
            warmup: settings.warmup.unwrap_or(2.0),
            payload: settings.payload.unwrap_or(128),
            ack_ms: settings.ack_ms.unwrap_or(0),
            storm,
            slow: settings.slow,
            day: settings.day,
            scale: settings.scale,
            prefix: self.prefix,
            live: self.live,
            intervals: self.intervals,
            share: self.share,
            json: self.json,
        };
        options.check()?;
        Ok(options)
    }
}

impl Options {
    /// Where connections go.
    ///
    /// # Errors
    /// Not a `ws://` URL.
    pub(crate) fn targets(&self) -> anyhow::Result<Vec<Target>> {
        self.urls.iter().map(|url| self.target(url)).collect()
    }

    fn target(&self, url: &str) -> anyhow::Result<Target> {
        let rest = url.strip_prefix("ws://").with_context(|| format!("{url}: only ws:// is spoken"))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = resolve(host)?;
        Ok(Target { host: host.to_owned(), path: path.to_owned(), address, protocol: self.protocol })
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.payload >= HEAD_BYTES, "--payload: a body takes {HEAD_BYTES} bytes to be checked and timed");
        ensure!(self.payload <= 32 * 1024, "--payload: at most 32 KiB");
        ensure!(self.rate > 0.0 && self.rate <= 10_000_000.0, "--rate: above 0, at most ten million");
        ensure!((0.1..=86_400.0).contains(&self.seconds), "--seconds: from 0.1 to a day");
        ensure!((0.0..=3_600.0).contains(&self.warmup), "--warmup: from 0 to an hour");
        ensure!(self.inflight.is_none_or(|inflight| (1..=1_024).contains(&inflight)), "--inflight: from 1 to 1024");
        ensure!(
            self.storm.and_then(|storm| storm.resumes_per_s).is_none_or(|rate| rate > 0.0),
            "--resume-rate: above 0"
        );
        ensure!(self.slow.is_none_or(|slow| slow.share > 0.0 && slow.share < 1.0), "a share of members: from 0 to 1");
        let least = match self.scenario {
            Scenario::IdleMemory | Scenario::ResumeStorm => 1,
            // A sender, one who reads and one who does not.
            Scenario::SlowReader => 3,
            _ => 2,
        };
        let (connections, relay) = (self.connections, self.scenario.is_relay());
        let alone = self.scenario != Scenario::IdleMemory;
        ensure!(!alone || self.server_pids.len() < 2, "--server-pid: several are for idle_memory");
        ensure!(connections >= least && connections / 2 <= STREAMS_MAX, "--connections: at least {least}");
        ensure!(!relay || connections.is_multiple_of(2), "--connections: pairs take an even number");
        Ok(())
    }
}
