//! The table of keys: type, default, unit, bounds, whether it reloads, and what it is. Struct, file,
//! environment names, printed documentation and reload all come from it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ringway_engine::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, DEVICES_PER_USER_MAX, SHARDS_MAX};
use ringway_journal::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};

use super::key::settings;
use super::value::LogFormat;

/// Nodes of one deployment: node and shard share twelve bits of a message id.
const NODE_MAX: u64 = 63;
/// The largest number a TOML file can hold.
const LARGEST: u64 = i64::MAX as u64;
/// What the API's limiters count in.
const COUNT_MAX: u64 = u32::MAX as u64;
/// A hundred years: life times stay far from where additions would wrap.
const SECONDS_MAX: u64 = 100 * 365 * 86_400;

const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

settings! {
    /// The WebSocket gateway.
    gateway: Gateway {
        listen: SocketAddr = loopback(7400), "address:port", None, restart,
            "Where clients connect. Port 0 takes a free one.";
        shards: u64 = 0, "threads", Some((0, SHARDS_MAX as u64)), restart,
            "Shards, one thread each. 0 takes one for each core the process may use.";
        pin: bool = true, "", None, restart,
            "Bind each shard's thread to a core of its own. Switch it off when other busy programs share the cores.";
        node: u64 = 0, "", Some((0, NODE_MAX)), restart,
            "Number of this node; no two nodes of one deployment share it. It is part of message ids.";
        conformance_echo: Option<SocketAddr> = None, "address:port", None, restart,
            "One more listener that echoes whole WebSocket messages, for protocol test suites. Empty: none.";
        proxy_protocol: bool = false, "", None, restart,
            "Connections from trusted peers begin with a PROXY protocol version 2 header.";
        allowed_origins: Vec<String> = Vec::new(), "", None, reload,
            "Origins of web pages that may connect besides those of the gateway's own host, like \
             `https://chat.example`; \"*\" allows any.";
        trusted_peers: Vec<String> = Vec::new(), "addresses or networks", None, reload,
            "Balancers whose PROXY header and X-Forwarded-For are believed, like \"10.0.0.0/8\". The HTTP API takes \
             a change at its next start.";
        connections_max: u64 = CONNECTIONS_MAX as u64, "connections", Some((1, LARGEST)), reload,
            "Connections of this node. Past it: HTTP 503.";
        connections_per_address_max: u64 = CONNECTIONS_PER_ADDRESS_MAX as u64, "connections", Some((1, LARGEST)), reload,
            "Connections from one address, counted by each shard, trusted peers excepted. Past it: HTTP 429.";
    }

    /// How many devices of one user may be connected at once. One more than allowed ends the oldest session.
    devices: Devices {
        sessions_max: u64 = DEVICES_PER_USER_MAX as u64, "sessions", Some((1, LARGEST)), reload,
            "Of all platforms together.";
        mobile_max: u64 = 0, "sessions", Some((0, LARGEST)), reload,
            "Of ios, android, mobile, harmony. 0: no limit of their own.";
        desktop_max: u64 = 0, "sessions", Some((0, LARGEST)), reload,
            "Of windows, macos, linux, desktop. 0: no limit of their own.";
        web_max: u64 = 0, "sessions", Some((0, LARGEST)), reload,
            "Of web. 0: no limit of their own.";
    }

    /// TLS of the WebSocket listener. The HTTP API has none of its own: put it behind a balancer that has.
    tls: Tls {
        cert: Option<PathBuf> = None, "path", None, restart,
            "Certificate chain in PEM, the server's own first. Empty: no TLS. The file is read anew on SIGHUP.";
        key: Option<PathBuf> = None, "path", None, restart,
            "Private key of the certificate in PEM. The file is read anew on SIGHUP.";
    }

    /// The HTTP API and the admin listener.
    api: Api {
        listen: SocketAddr = loopback(7480), "address:port", None, restart,
            "Where the HTTP API and the chat page are served. Port 0 takes a free one.";
        admin_listen: SocketAddr = loopback(7481), "address:port", None, restart,
            "Where health, readiness, metrics and traces are served: keep it away from the public.";
        access_token_ttl_s: u64 = 3_600, "seconds", Some((1, SECONDS_MAX)), restart,
            "Life of an access token.";
        refresh_token_ttl_s: u64 = 30 * 86_400, "seconds", Some((1, SECONDS_MAX)), restart,
            "Life of a refresh token, from its last use on.";
        registrations_per_minute_max: u64 = 100, "a minute", Some((1, COUNT_MAX)), restart,
            "Registrations from one address. Past it: HTTP 429.";
        failed_logins_per_minute_max: u64 = 10, "a minute", Some((1, COUNT_MAX)), restart,
            "Failed logins from one address, and into one account. Past it: HTTP 429.";
        cors_origins: Vec<String> = Vec::new(), "", None, restart,
            "Origins of web pages that may call the API besides its own, like `https://chat.example`.";
        public_ws_url: String = String::new(), "URL", None, restart,
            "The WebSocket address told to clients, like \"wss://im.example/v1/ws\". Empty: that of gateway.listen.";
    }

    /// Where everything durable lies.
    data: Data {
        folder: PathBuf = PathBuf::from("ringway-data"), "path", None, restart,
            "The data folder, made when it is missing. It wants a local file system with O_DIRECT (ext4, xfs).";
    }

    /// The event log in the data folder.
    journal: Journal {
        segment_bytes: u64 = 32 * 1024 * 1024, "bytes", Some((SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)), restart,
            "Size of one file of the log.";
        journal_bytes_max: u64 = 4 * 1024 * 1024 * 1024, "bytes", Some((2 * SEGMENT_BYTES_MIN, LARGEST)), restart,
            "Bytes of all files together, at least two segments. Past it senders are told to come back later until \
             older files are archived.";
        tail_cache_bytes: u64 = 32 * 1024 * 1024, "bytes", Some((0, LARGEST)), restart,
            "Newest records kept in memory, so that archiving does not read the disk.";
    }

    /// Logs, on standard error.
    log: Log {
        level: String = "info".to_owned(), "", None, reload,
            "error, warn, info, debug or trace; single parts may differ, like \"info,ringway_gateway=debug\".";
        format: LogFormat = LogFormat::Text, "", None, restart,
            "\"text\" (coloured on a terminal) or \"json\" (one object a line).";
    }
}
