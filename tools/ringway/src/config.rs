//! The configuration of `ringway`: its table of keys, and how they go together.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use ringway_api::Network;
use ringway_journal::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
use ringway_ring::proxy::TrustedPeers;
use ringway_service::sections::{Api, Devices, Gateway, LARGEST, Log, Tls, check_ws_url, loopback};
use ringway_service::{keys, settings};

/// Nodes of one deployment: node and shard share twelve bits of a message id.
const NODE_MAX: u64 = 63;

settings! {
    Config of "Ringway" by "ringway config", checked by check {
        /// The WebSocket gateway.
        gateway {
            gateway: Gateway = Gateway::default();
            numbering: Numbering = Numbering::default();
        }

        /// How many devices of one user may be connected at once. One more than allowed ends the oldest session.
        devices { devices: Devices = Devices::default(); }

        /// TLS of the WebSocket listener. The HTTP API has none of its own: put it behind a balancer that has.
        tls { tls: Tls = Tls::default(); }

        /// The HTTP API and the admin listener.
        api {
            api: Api = Api::default();
            reached: Reached = Reached::default();
        }

        /// Where everything durable lies.
        data { data: Data = Data::default(); }

        /// The event log in the data folder.
        journal { journal: Journal = Journal::default(); }

        /// Logs, on standard error.
        log { log: Log = Log::default(); }
    }
}

keys! {
    /// What only a node that is a whole deployment has in `gateway`.
    pub(crate) Numbering {
        node: u64 = 0, "", Some((0, NODE_MAX)), restart,
            "Number of this node; no two nodes of one deployment share it. It is part of message ids.";
    }
}

keys! {
    /// What only a node that is a whole deployment has in `api`.
    pub(crate) Reached {
        admin_listen: std::net::SocketAddr = loopback(7481), "address:port", None, restart,
            "Where health, readiness, metrics and traces are served: keep it away from the public.";
        public_ws_url: String = String::new(), "URL", None, restart,
            "The WebSocket address told to clients, like \"wss://im.example/v1/ws\". Empty: that of gateway.listen.";
    }
}

keys! {
    /// The section `data`.
    pub(crate) Data {
        folder: PathBuf = PathBuf::from("ringway-data"), "path", None, restart,
            "The data folder, made when it is missing. It wants a local file system with O_DIRECT (ext4, xfs).";
    }
}

keys! {
    /// The section `journal`.
    pub(crate) Journal {
        segment_bytes: u64 = 32 * 1024 * 1024, "bytes", Some((SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)), restart,
            "Size of one file of the log.";
        journal_bytes_max: u64 = 4 * 1024 * 1024 * 1024, "bytes", Some((2 * SEGMENT_BYTES_MIN, LARGEST)), restart,
            "Bytes of all files together, at least two segments. Past it senders are told to come back later until \
             older files are archived.";
        tail_cache_bytes: u64 = 32 * 1024 * 1024, "bytes", Some((0, LARGEST)), restart,
            "Newest records kept in memory, so that archiving does not read the disk.";
    }
}

fn check(config: &Config) -> anyhow::Result<()> {
    config.tls.check()?;
    let peers = &config.gateway.trusted_peers;
    TrustedPeers::parse(peers.iter().map(String::as_str)).context("gateway.trusted_peers")?;
    for peer in peers {
        peer.trim().parse::<Network>().context("gateway.trusted_peers")?;
    }
    config.gateway.check()?;
    if config.journal.journal_bytes_max < 2 * config.journal.segment_bytes {
        bail!("journal.journal_bytes_max must hold two segments of journal.segment_bytes");
    }
    check_ws_url("api.public_ws_url", &config.reached.public_ws_url)?;
    config.api.check()?;
    if config.data.folder.as_os_str().is_empty() {
        bail!("data.folder is empty");
    }
    config.log.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_service::testing;

    #[test]
    fn every_key_is_explained_and_the_example_in_deploy_holds_the_defaults() {
        testing::check_table::<Config>(include_str!("../../../deploy/config/ringway.toml"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        fn check_refused(change: impl FnOnce(&mut Config), expected: &str) {
            testing::check_refused(change, expected);
        }
        check_refused(|config| config.tls.cert = Some("a".into()), "belong together");
        check_refused(|config| config.gateway.trusted_peers = vec!["host".into()], "gateway.trusted_peers");
        check_refused(|config| config.gateway.proxy_protocol = true, "needs gateway.trusted_peers");
        check_refused(|config| config.journal.segment_bytes = 1 << 30 | 1 << 29 | 1 << 31, "two segments");
        check_refused(|config| config.reached.public_ws_url = "http://x".into(), "api.public_ws_url");
        check_refused(|config| config.api.cors_origins = vec!["*".into()], "api.cors_origins");
        check_refused(|config| config.gateway.allowed_origins = vec!["https://a/b".into()], "gateway.allowed_origins");
        check_refused(|config| config.log.level = "info,=".into(), "log.level");
        check_refused(|config| config.log.level = "inof".into(), "neither a level nor");
    }
}
