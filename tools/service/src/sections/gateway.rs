//! The WebSocket gateway, wherever it runs.

use std::net::SocketAddr;

use anyhow::bail;
use ringway_engine::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX, SHARDS_MAX};

use super::{LARGEST, check_origins, loopback, to_usize};

crate::keys! {
    /// The section `gateway`.
    pub Gateway {
        listen: SocketAddr = loopback(7400), "address:port", None, restart,
            "Where clients connect. Port 0 takes a free one.";
        shards: u64 = 0, "threads", Some((0, SHARDS_MAX as u64)), restart,
            "Shards, one thread each. 0 takes one for each core the process may use.";
        pin: bool = true, "", None, restart,
            "Bind each shard's thread to a core of its own. Switch it off when other busy programs share the cores.";
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
}

impl Gateway {
    /// Checks what does not depend on how addresses are read.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.proxy_protocol && self.trusted_peers.is_empty() {
            bail!("gateway.proxy_protocol needs gateway.trusted_peers: nobody's header would be believed");
        }
        check_origins("gateway.allowed_origins", &self.allowed_origins, true)
    }

    /// The number of shards: as configured, else one for each core the process may use.
    #[must_use]
    pub fn shard_count(&self) -> usize {
        match to_usize(self.shards) {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(SHARDS_MAX),
            shards => shards,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_as_many_as_usable_cores_unless_told() {
        assert!((1..=SHARDS_MAX).contains(&Gateway::default().shard_count()));
        assert_eq!(Gateway { shards: 3, ..Gateway::default() }.shard_count(), 3);
    }

    #[test]
    fn a_proxy_header_needs_somebody_who_may_send_it() {
        Gateway::default().check().unwrap();
        let gateway = Gateway { proxy_protocol: true, ..Gateway::default() };
        assert!(gateway.check().unwrap_err().to_string().contains("needs gateway.trusted_peers"));
    }
}
