//! What each part is told, made from the keys.

use std::net::SocketAddr;

use anyhow::Context as _;
use ringway_gateway::{GatewayConfig, LiveConfig};
use ringway_ring::proxy::TrustedPeers;
use ringway_service::machine::reachable;
use ringway_service::sections::to_usize;
use ringway_spool::SpoolConfig;

use crate::config::Config;

/// For the gateway, which listens at `ws`.
///
/// # Errors
/// A list of peers that the configuration's check would have refused.
pub(crate) fn gateway(config: &Config, ws: SocketAddr) -> anyhow::Result<GatewayConfig> {
    Ok(GatewayConfig {
        listen: ws,
        shards: config.gateway.shard_count(),
        pin: config.gateway.pin,
        node: u16::try_from(config.node.number).context("node.number")?,
        conformance_echo: config.gateway.conformance_echo,
        tls: config.tls.files(),
        proxy_protocol: config.gateway.proxy_protocol,
        live: live(config)?,
    })
}

/// What of it a reload changes.
///
/// # Errors
/// As [`gateway`].
pub(crate) fn live(config: &Config) -> anyhow::Result<LiveConfig> {
    let peers = config.gateway.trusted_peers.iter().map(String::as_str);
    Ok(LiveConfig {
        allowed_origins: config.gateway.allowed_origins.clone(),
        trusted_peers: TrustedPeers::parse(peers).context("gateway.trusted_peers")?,
        connections_max: to_usize(config.gateway.connections_max),
        connections_per_address_max: to_usize(config.gateway.connections_per_address_max),
        devices: config.devices.policy(),
    })
}

/// For the spool.
pub(crate) fn spool(config: &Config) -> SpoolConfig {
    SpoolConfig {
        on_unavailable: config.event_log.on_unavailable.0,
        bytes_max: config.spool.bytes_max,
        age_max_ms: config.spool.age_max_s.saturating_mul(1_000),
        ..SpoolConfig::new(&config.spool.folder)
    }
}

/// The node's name.
pub(crate) fn name(config: &Config) -> String {
    if config.node.name.is_empty() { format!("gateway-{}", config.node.number) } else { config.node.name.clone() }
}

/// What it says of its version.
pub(crate) fn version(config: &Config) -> String {
    if config.node.version.is_empty() { env!("CARGO_PKG_VERSION").to_owned() } else { config.node.version.clone() }
}

/// Where clients reach a gateway that listens at `ws`. A wildcard stays: whoever tells it knows the host asked for.
pub(crate) fn public_ws_url(config: &Config, ws: SocketAddr) -> String {
    let public = &config.clustered.public_ws_url;
    if public.is_empty() { ws_url(config, ws) } else { public.clone() }
}

/// Where this machine reaches it.
pub(crate) fn local_ws_url(config: &Config, ws: SocketAddr) -> String {
    ws_url(config, reachable(ws))
}

fn ws_url(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.tls.cert.is_some() { "wss" } else { "ws" };
    format!("{scheme}://{address}/v1/ws")
}

/// Where other processes reach the peer port, which is bound at `bound`.
pub(crate) fn peer_address(config: &Config, bound: SocketAddr) -> String {
    let advertised = &config.peer_port.advertise;
    if advertised.is_empty() { reachable(bound).to_string() } else { advertised.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_name_and_addresses_without_being_told() {
        let mut config = Config::default();
        let (ws, peer) = ("0.0.0.0:1".parse().unwrap(), "[::]:2".parse().unwrap());
        config.node.number = 7;
        assert_eq!((name(&config), version(&config)), ("gateway-7".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        assert_eq!(public_ws_url(&config, ws), "ws://0.0.0.0:1/v1/ws");
        assert_eq!(local_ws_url(&config, ws), "ws://127.0.0.1:1/v1/ws");
        assert_eq!(peer_address(&config, peer), "[::1]:2");
        config.node.name = "east-1".to_owned();
        config.clustered.public_ws_url = "wss://east-1.example/v1/ws".to_owned();
        config.peer_port.advertise = "east-1.internal:7500".to_owned();
        config.tls.cert = Some("c".into());
        assert_eq!(name(&config), "east-1");
        assert_eq!(public_ws_url(&config, ws), "wss://east-1.example/v1/ws");
        assert_eq!(local_ws_url(&config, ws), "wss://127.0.0.1:1/v1/ws");
        assert_eq!(peer_address(&config, peer), "east-1.internal:7500");
        assert_eq!(gateway(&config, ws).unwrap().node, 7);
    }

    #[test]
    fn the_spool_is_as_configured() {
        let mut config = Config::default();
        config.spool.age_max_s = 7;
        config.spool.bytes_max = 1 << 30;
        let spool = spool(&config);
        assert_eq!((spool.age_max_ms, spool.bytes_max), (7_000, 1 << 30));
        assert_eq!(spool.on_unavailable, ringway_spool::OnUnavailable::Spool);
    }
}
