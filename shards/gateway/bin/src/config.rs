//! The configuration of the gateway process: its table of keys, and how they go together.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use ringway_parts::sections::{MySql, Otlp, Peers, Redis, RocketMq, Tokens};
use ringway_ring::proxy::TrustedPeers;
use ringway_service::config::{Setting, Value};
use ringway_service::sections::{Admin, Devices, Gateway, LARGEST, Log, Tls, check_ws_url, loopback};
use ringway_service::{keys, settings};
use ringway_spool::{OnUnavailable, limits};

/// Nodes of one deployment: node and shard share twelve bits of a message id.
const NODE_MAX: u64 = 63;
/// Bytes of a node's name.
const NODE_NAME_BYTES_MAX: usize = 32;
/// The least that a spool does with: two of its files.
const SPOOL_BYTES_MIN: u64 = 2 * limits::SEGMENT_BYTES;

settings! {
    Config of "ringway-gateway" by "ringway-gateway config", checked by check {
        /// Who this node is among the others.
        node { node: Identity = Identity::default(); }

        /// The WebSocket gateway.
        gateway {
            gateway: Gateway = Gateway::default();
            clustered: Clustered = Clustered::default();
        }

        /// How many devices of one user may be connected at once. One more than allowed ends the oldest session.
        devices { devices: Devices = Devices::default(); }

        /// TLS of the WebSocket listener.
        tls { tls: Tls = Tls::default(); }

        /// Links between nodes, and from the daemon and the API to nodes. They are authenticated and not encrypted: keep
        /// them on a network of their own.
        peers {
            peer_port: PeerPort = PeerPort::default();
            peers: Peers = Peers::default();
        }

        /// Access tokens.
        tokens { tokens: Tokens = Tokens::default(); }

        /// Redis: numbers, cursors and routes.
        redis { redis: Redis = Redis::default(); }

        /// MySQL or MariaDB: accounts, groups and the archive.
        mysql { mysql: MySql = MySql::default(); }

        /// RocketMQ: the event log.
        rocketmq { rocketmq: RocketMq = RocketMq::default(); }

        /// What happens while the event log is away.
        event_log { event_log: EventLog = EventLog::default(); }

        /// This node's own journal, to which messages go while the event log is away.
        spool { spool: Spool = Spool::default(); }

        /// OpenTelemetry: traces of a few messages, exported to a collector.
        otlp { otlp: Otlp = Otlp::default(); }

        /// The admin listener.
        admin { admin: Admin = Admin::on(7481); }

        /// Logs, on standard error.
        log { log: Log = Log::json(); }
    }
}

keys! {
    /// The section `node`.
    pub(crate) Identity {
        number: u64 = 0, "", Some((0, NODE_MAX)), restart,
            "Number of this node; no two nodes of one deployment share it. It is part of message ids.";
        name: String = String::new(), "", None, restart,
            "Its name, of a-z, 0-9 and \"-\", at most 32 characters; no two nodes share it. Empty: \"gateway-\" and the \
             number.";
        version: String = String::new(), "", None, restart,
            "What it says of its version, as clients may ask for. Empty: the program's own.";
    }
}

keys! {
    /// What only a node among others has in `gateway`.
    pub(crate) Clustered {
        public_ws_url: String = String::new(), "URL", None, restart,
            "The WebSocket address of this very node as told to clients, like \"wss://gw1.im.example/v1/ws\". Empty: \
             that of gateway.listen.";
        reorder_wait_ms: u64 = 200, "milliseconds", Some((1, LARGEST)), restart,
            "How long a batch from another node waits for those below it. Past it they are read from the shared state.";
    }
}

keys! {
    /// What a node that listens has in `peers`.
    pub(crate) PeerPort {
        listen: SocketAddr = loopback(7500), "address:port", None, restart,
            "Where other nodes, the daemon and the API connect. Port 0 takes a free one.";
        advertise: String = String::new(), "host:port", None, restart,
            "Where they reach it. Empty: peers.listen.";
    }
}

keys! {
    /// The section `event_log`.
    pub(crate) EventLog {
        on_unavailable: WhenAway = WhenAway(OnUnavailable::Spool), "", None, restart,
            "\"spool\": messages go to this node's own journal, as durable as its disk, and are acknowledged as ever. \
             \"refuse\": senders are told to come back later.";
    }
}

keys! {
    /// The section `spool`.
    pub(crate) Spool {
        folder: PathBuf = PathBuf::from("ringway-spool"), "path", None, restart,
            "Its folder, made when it is missing, one for each node. It wants a local file system with O_DIRECT (ext4, \
             xfs).";
        bytes_max: u64 = limits::SPOOL_BYTES_MAX, "bytes", Some((SPOOL_BYTES_MIN, LARGEST)), restart,
            "Bytes of its files. Past it senders are told to come back later.";
        age_max_s: u64 = limits::SPOOL_AGE_MAX_MS / 1_000, "seconds", Some((1, LARGEST / 1_000)), restart,
            "Age of the oldest message in it. Past it senders are told to come back later.";
    }
}

/// What happens to an append while the event log is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WhenAway(pub(crate) OnUnavailable);

impl Setting for WhenAway {
    fn from_toml(value: &Value) -> Result<Self, String> {
        value.as_str().ok_or_else(|| format!("expects a text, not {value}")).and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "spool" => Ok(Self(OnUnavailable::Spool)),
            "refuse" => Ok(Self(OnUnavailable::Refuse)),
            _ => Err(format!("expects \"spool\" or \"refuse\", not {text:?}")),
        }
    }

    fn to_toml(&self) -> Value {
        let text = match self.0 {
            OnUnavailable::Spool => "spool",
            OnUnavailable::Refuse => "refuse",
        };
        Value::String(text.to_owned())
    }
}

fn check(config: &Config) -> anyhow::Result<()> {
    let name = &config.node.name;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    ensure!(name.len() <= NODE_NAME_BYTES_MAX && name.bytes().all(fits), "node.name {name:?} is no name of a node");
    let peers = config.gateway.trusted_peers.iter().map(String::as_str);
    TrustedPeers::parse(peers).context("gateway.trusted_peers")?;
    config.gateway.check()?;
    check_ws_url("gateway.public_ws_url", &config.clustered.public_ws_url)?;
    config.tls.check()?;
    let advertised = &config.peer_port.advertise;
    ensure!(advertised.is_empty() || advertised.contains(':'), "peers.advertise expects host:port, not {advertised:?}");
    config.redis.check()?;
    config.mysql.check()?;
    config.rocketmq.check()?;
    ensure!(!config.spool.folder.as_os_str().is_empty(), "spool.folder is empty");
    config.otlp.check()?;
    config.log.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_service::testing;

    #[test]
    fn every_key_is_explained_and_the_example_in_deploy_holds_the_defaults() {
        testing::check_table::<Config>(include_str!("../../../../deploy/config/gateway.toml"));
    }

    #[test]
    fn the_files_of_the_deployments_are_configurations() {
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy");
        for file in ["compose/ringway/gateway.toml", "k8s/config/gateway.toml"] {
            testing::check_file::<Config>(&format!("{deploy}/{file}"));
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        fn check_refused(change: impl FnOnce(&mut Config), expected: &str) {
            testing::check_refused(change, expected);
        }
        check_refused(|config| config.node.name = "Gateway 1".into(), "node.name");
        check_refused(|config| config.gateway.trusted_peers = vec!["host".into()], "gateway.trusted_peers");
        check_refused(|config| config.gateway.proxy_protocol = true, "needs gateway.trusted_peers");
        check_refused(|config| config.clustered.public_ws_url = "http://x".into(), "gateway.public_ws_url");
        check_refused(|config| config.tls.cert = Some("a".into()), "belong together");
        check_refused(|config| config.peer_port.advertise = "host".into(), "peers.advertise");
        check_refused(|config| config.redis.url = "x".into(), "redis.url");
        check_refused(|config| config.mysql.url = "x".into(), "mysql.url");
        check_refused(|config| config.rocketmq.name_servers.clear(), "rocketmq.name_servers");
        check_refused(|config| config.spool.folder = PathBuf::new(), "spool.folder");
        check_refused(|config| config.otlp.endpoint = "x".into(), "otlp.endpoint");
        check_refused(|config| config.log.level = "inof".into(), "log.level");
    }

    #[test]
    fn what_happens_while_the_log_is_away_survives_text_and_toml() {
        for text in ["spool", "refuse"] {
            let when = WhenAway::from_text(text).unwrap();
            assert_eq!(WhenAway::from_toml(&when.to_toml()).unwrap(), when);
        }
        assert!(WhenAway::from_text("drop").unwrap_err().contains("\"spool\" or \"refuse\""));
    }
}
