//! What a gateway is told at start, and what of it may change while it runs.

use std::net::SocketAddr;
use std::path::PathBuf;

use ringway_engine::devices::DevicePolicy;
use ringway_engine::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};
use ringway_ring::proxy::TrustedPeers;

/// Settings of one gateway node.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where clients connect; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Number of shards, one pinned thread each.
    pub shards: usize,
    /// Pin shard n to the n-th core the process may use.
    pub pin: bool,
    /// Number of this node among all, below 64: part of message ids.
    pub node: u16,
    /// One more listener that echoes whole messages through the same socket and framing code.
    pub conformance_echo: Option<SocketAddr>,
    /// TLS certificate chain and key (PEM), when the gateway itself ends TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether connections from trusted peers begin with a PROXY protocol v2 header.
    pub proxy_protocol: bool,
    /// What a reload may change.
    pub live: LiveConfig,
}

/// Settings that a reload changes without a restart.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// `Origin` values taken from browsers besides those of the gateway's own host.
    pub allowed_origins: Vec<String>,
    /// Peers whose PROXY header and `X-Forwarded-For` are believed.
    pub trusted_peers: TrustedPeers,
    /// Connections of this node.
    pub connections_max: usize,
    /// Connections from one address.
    pub connections_per_address_max: usize,
    /// Sessions a user may hold.
    pub devices: DevicePolicy,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            trusted_peers: TrustedPeers::default(),
            connections_max: CONNECTIONS_MAX,
            connections_per_address_max: CONNECTIONS_PER_ADDRESS_MAX,
            devices: DevicePolicy::default(),
        }
    }
}
