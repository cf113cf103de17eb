//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::{Parser, ValueEnum};
use ringway_engine::packet::Format;

use crate::connection::Target;
use crate::http::resolve;
use crate::wire::body::{HEAD_BYTES, STREAMS_MAX};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Scenario {
    /// Durable messages between pairs: journalled, numbered, acknowledged by the receiver
    RelayDurable,
    /// Call signals between pairs: not stored
    RelayTransient,
    /// One sender and a group of members who acknowledge
    RoomFan,
    /// Authenticated devices that do nothing: memory of the server for each
    IdleMemory,
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
pub(crate) struct Options {
    /// What to measure
    pub(crate) scenario: Scenario,
    /// The gateway
    #[arg(long, value_name = "WS_URL", default_value = "ws://127.0.0.1:7400/v1/ws")]
    pub(crate) url: String,
    /// The HTTP API, for groups and, without --data, for users
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:7480")]
    pub(crate) api: String,
    /// The admin listener, for the server's counters
    #[arg(long, value_name = "URL")]
    pub(crate) admin: Option<String>,
    /// Process id of the server, for its processor time and memory
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// The server's data folder: users and tokens are made there; without it they register by HTTP
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Messages a second, all senders together
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    pub(crate) rate: f64,
    /// Instead of a rate: each sender keeps this many messages in flight (relay_durable, relay_transient)
    #[arg(long, value_name = "W")]
    pub(crate) inflight: Option<u64>,
    /// Pairs of the relay scenarios [default: 50, or half of --connections]
    #[arg(long, value_name = "N", conflicts_with = "connections")]
    pub(crate) pairs: Option<usize>,
    /// Connections: twice the pairs, the members of the room and their sender, or the idle devices
    /// [default: 100; idle_memory 1000]
    #[arg(long, value_name = "N")]
    pub(crate) connections: Option<usize>,
    /// Seconds that are measured; for idle_memory, seconds of rest before the memory is read
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// Seconds of load before those that are measured
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    pub(crate) warmup: f64,
    /// Bytes of a message's body
    #[arg(long, value_name = "BYTES", default_value_t = 128)]
    pub(crate) payload: usize,
    /// Receivers acknowledge at most this long after a delivery; 0: with each read [default: 0; room_fan 50]
    #[arg(long, value_name = "MS")]
    pub(crate) ack_ms: Option<u64>,
    /// Wire format of all connections
    #[arg(long, value_enum, default_value_t = Wire::Protobuf)]
    pub(crate) format: Wire,
    /// Users are named PREFIX-0, PREFIX-1, …
    #[arg(long, value_name = "PREFIX", default_value = "load")]
    pub(crate) prefix: String,
    /// Write the figures there instead of to standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Options {
    /// Connections of the whole run.
    pub(crate) fn connections(&self) -> usize {
        let default = if self.scenario == Scenario::IdleMemory { 1_000 } else { 100 };
        self.pairs.map_or(self.connections.unwrap_or(default), |pairs| pairs * 2)
    }

    /// How long an acknowledgement may wait.
    pub(crate) fn ack_ms(&self) -> u64 {
        self.ack_ms.unwrap_or(if self.scenario == Scenario::RoomFan { 50 } else { 0 })
    }

    /// Where connections go.
    ///
    /// # Errors
    /// Not a `ws://` URL.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        let rest = self.url.strip_prefix("ws://").with_context(|| format!("{}: only ws:// is spoken", self.url))?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, "v1/ws"));
        let address = resolve(host)?;
        Ok(Target { host: host.to_owned(), path: format!("/{path}"), address, format: self.format.into() })
    }

    /// What clap cannot see.
    ///
    /// # Errors
    /// Says which option is wrong.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        ensure!(self.payload >= HEAD_BYTES, "--payload: a body takes {HEAD_BYTES} bytes to be checked and timed");
        ensure!(self.payload <= 32 * 1024, "--payload: at most 32 KiB");
        ensure!(self.rate > 0.0 && self.rate <= 10_000_000.0, "--rate: above 0, at most ten million");
        ensure!((0.1..=86_400.0).contains(&self.seconds), "--seconds: from 0.1 to a day");
        ensure!((0.0..=3_600.0).contains(&self.warmup), "--warmup: from 0 to an hour");
        ensure!(self.inflight.is_none_or(|inflight| (1..=1_024).contains(&inflight)), "--inflight: from 1 to 1024");
        let relay = matches!(self.scenario, Scenario::RelayDurable | Scenario::RelayTransient);
        ensure!(self.inflight.is_none() || relay, "--inflight is for the relay scenarios");
        ensure!(self.pairs.is_none() || relay, "--pairs is for the relay scenarios; give --connections");
        let (connections, least) = (self.connections(), if self.scenario == Scenario::IdleMemory { 1 } else { 2 });
        ensure!(connections >= least && connections / 2 <= STREAMS_MAX, "--connections: at least {least}");
        ensure!(!relay || connections.is_multiple_of(2), "--connections: pairs take an even number");
        Ok(())
    }
}
