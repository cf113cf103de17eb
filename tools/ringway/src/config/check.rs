//! What the values of single keys cannot say about themselves: what they mean, and how they go together.

use anyhow::{Context as _, bail};
use ringway_api::Network;
use ringway_ring::proxy::TrustedPeers;

use super::table::Config;

/// Checks a configuration as a whole.
///
/// # Errors
/// One line that names the key.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    if config.tls.cert.is_some() != config.tls.key.is_some() {
        bail!("tls.cert and tls.key belong together: one of them is empty");
    }
    let peers = &config.gateway.trusted_peers;
    TrustedPeers::parse(peers.iter().map(String::as_str)).context("gateway.trusted_peers")?;
    for peer in peers {
        peer.trim().parse::<Network>().context("gateway.trusted_peers")?;
    }
    if config.gateway.proxy_protocol && peers.is_empty() {
        bail!("gateway.proxy_protocol needs gateway.trusted_peers: nobody's header would be believed");
    }
    if config.journal.journal_bytes_max < 2 * config.journal.segment_bytes {
        bail!("journal.journal_bytes_max must hold two segments of journal.segment_bytes");
    }
    let url = &config.api.public_ws_url;
    if !url.is_empty() && !url.starts_with("ws://") && !url.starts_with("wss://") {
        bail!("api.public_ws_url must begin with ws:// or wss://, not {url:?}");
    }
    for (key, origins) in
        [("gateway.allowed_origins", &config.gateway.allowed_origins), ("api.cors_origins", &config.api.cors_origins)]
    {
        let any = key == "gateway.allowed_origins";
        if let Some(wrong) = origins.iter().find(|origin| !(is_origin(origin) || any && *origin == "*")) {
            bail!("{key} expects origins like https://chat.example, not {wrong:?}");
        }
    }
    if config.data.folder.as_os_str().is_empty() {
        bail!("data.folder is empty");
    }
    crate::log::filter(&config.log.level)?;
    Ok(())
}

/// Scheme and host without a path, as browsers write it.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_refused(change: impl FnOnce(&mut Config), expected: &str) {
        let mut config = Config::default();
        change(&mut config);
        let error = format!("{:#}", check(&config).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn the_defaults_hold() {
        check(&Config::default()).unwrap();
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        check_refused(|config| config.tls.cert = Some("a".into()), "belong together");
        check_refused(|config| config.gateway.trusted_peers = vec!["host".into()], "gateway.trusted_peers");
        check_refused(|config| config.gateway.proxy_protocol = true, "needs gateway.trusted_peers");
        check_refused(|config| config.journal.segment_bytes = 1 << 30 | 1 << 29 | 1 << 31, "two segments");
        check_refused(|config| config.api.public_ws_url = "http://x".into(), "api.public_ws_url");
        check_refused(|config| config.api.cors_origins = vec!["*".into()], "api.cors_origins");
        check_refused(|config| config.gateway.allowed_origins = vec!["https://a/b".into()], "gateway.allowed_origins");
        check_refused(|config| config.log.level = "info,=".into(), "log.level");
        check_refused(|config| config.log.level = "inof".into(), "neither a level nor");
    }
}
