//! What each part is told, made from the configuration.

use std::net::SocketAddr;

use anyhow::Context as _;
use ringway_api::{ApiConfig, Network, ServeLimits};
use ringway_gateway::{GatewayConfig, LiveConfig};
use ringway_journal::JournalConfig;
use ringway_ring::proxy::TrustedPeers;
use ringway_service::machine::reachable;
use ringway_service::sections::{to_u32, to_usize};

use crate::address_file::Addresses;
use crate::config::Config;

/// For the journal.
pub(super) fn journal(config: &Config) -> JournalConfig {
    JournalConfig {
        segment_bytes: config.journal.segment_bytes,
        journal_bytes_max: config.journal.journal_bytes_max,
        tail_cache_bytes: to_usize(config.journal.tail_cache_bytes),
        ..JournalConfig::new(config.data.folder.join("journal"))
    }
}

/// For the gateway.
///
/// # Errors
/// A list of peers that the configuration's check would have refused.
pub(super) fn gateway(config: &Config) -> anyhow::Result<GatewayConfig> {
    Ok(GatewayConfig {
        listen: config.gateway.listen,
        shards: config.gateway.shard_count(),
        pin: config.gateway.pin,
        node: u16::try_from(config.numbering.node).context("gateway.node")?,
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
pub(super) fn live(config: &Config) -> anyhow::Result<LiveConfig> {
    let peers = config.gateway.trusted_peers.iter().map(String::as_str);
    Ok(LiveConfig {
        allowed_origins: config.gateway.allowed_origins.clone(),
        trusted_peers: TrustedPeers::parse(peers).context("gateway.trusted_peers")?,
        connections_max: to_usize(config.gateway.connections_max),
        connections_per_address_max: to_usize(config.gateway.connections_per_address_max),
        devices: config.devices.policy(),
    })
}

/// For the API; `ws` is where the gateway listens.
///
/// # Errors
/// As [`gateway`].
pub(super) fn api(config: &Config, ws: SocketAddr) -> anyhow::Result<ApiConfig> {
    let api = &config.api;
    let public = &config.reached.public_ws_url;
    let url = if public.is_empty() { ws_url(config, ws) } else { public.clone() };
    Ok(ApiConfig {
        access_ttl_ms: api.access_token_ttl_s * 1_000,
        refresh_ttl_ms: api.refresh_token_ttl_s * 1_000,
        failed_logins_per_minute_max: to_u32(api.failed_logins_per_minute_max),
        registrations_per_minute_max: to_u32(api.registrations_per_minute_max),
        trusted_peers: networks(config)?,
        allowed_origins: api.cors_origins.clone(),
        ..ApiConfig::new(url)
    })
}

/// Bounds of the API's listeners.
///
/// # Errors
/// As [`gateway`].
pub(super) fn serve_limits(config: &Config) -> anyhow::Result<ServeLimits> {
    Ok(ServeLimits { trusted_peers: networks(config)?, ..ServeLimits::default() })
}

/// What scripts and tools are told of where the parts listen.
pub(super) fn addresses(
    config: &Config,
    ws: SocketAddr,
    api: SocketAddr,
    admin: SocketAddr,
    echo: Option<SocketAddr>,
) -> Addresses {
    Addresses {
        ws: ws_url(config, reachable(ws)),
        api: format!("http://{}", reachable(api)),
        admin: format!("http://{}", reachable(admin)),
        page: format!("http://{}/", reachable(api)),
        conformance_echo: echo.map(|echo| format!("ws://{}", reachable(echo))),
    }
}

fn ws_url(config: &Config, address: SocketAddr) -> String {
    let scheme = if config.tls.cert.is_some() { "wss" } else { "ws" };
    format!("{scheme}://{address}/v1/ws")
}

fn networks(config: &Config) -> anyhow::Result<Vec<Network>> {
    let parse = |peer: &String| peer.trim().parse::<Network>().context("gateway.trusted_peers");
    config.gateway.trusted_peers.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_that_can_be_reached_from_here() {
        let mut config = Config::default();
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (ws, api, admin) = (parse("0.0.0.0:1"), parse("[::]:2"), parse("10.0.0.1:3"));
        let addresses_ = addresses(&config, ws, api, admin, Some(parse("127.0.0.1:4")));
        assert_eq!(addresses_.ws, "ws://127.0.0.1:1/v1/ws");
        assert_eq!((addresses_.api.as_str(), addresses_.page.as_str()), ("http://[::1]:2", "http://[::1]:2/"));
        assert_eq!(addresses_.admin, "http://10.0.0.1:3");
        assert_eq!(addresses_.conformance_echo.as_deref(), Some("ws://127.0.0.1:4"));
        config.tls.cert = Some("c".into());
        assert_eq!(addresses(&config, ws, api, admin, None).ws, "wss://127.0.0.1:1/v1/ws");
        assert_eq!(
            super::api(&config, ws).unwrap().public_ws_url,
            "wss://0.0.0.0:1/v1/ws",
            "the API fills in the host"
        );
    }
}
