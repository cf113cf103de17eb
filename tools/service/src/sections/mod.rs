//! Tables of keys that several processes share. A process puts them into its own configuration, beside tables
//! of its own.

mod admin;
mod api;
mod devices;
mod gateway;
mod log;
mod tls;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;

pub use admin::Admin;
pub use api::Api;
pub use devices::Devices;
pub use gateway::Gateway;
pub use log::Log;
pub use tls::Tls;

/// The largest number a TOML file can hold.
pub const LARGEST: u64 = i64::MAX as u64;

/// A port on loopback, the default of every listener.
#[must_use]
pub const fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// A bound as the parts count it.
#[must_use]
pub fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A bound as the API's limiters count it.
#[must_use]
pub fn to_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// A secret in a file; white space at its end is no part of it.
///
/// # Errors
/// Names the key and the file.
pub fn secret(key: &str, file: Option<&PathBuf>) -> anyhow::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("{key}: cannot read {}", file.display()))?;
    Ok(Some(text.trim_end().to_owned()))
}

/// Refuses what is no origin: scheme and host without a path, as browsers write it. `any` allows "*" too.
///
/// # Errors
/// Names the key and the text.
pub fn check_origins(key: &str, origins: &[String], any: bool) -> anyhow::Result<()> {
    let is_origin = |text: &str| {
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', ' ']))
    };
    match origins.iter().find(|origin| !(is_origin(origin) || any && *origin == "*")) {
        Some(wrong) => anyhow::bail!("{key} expects origins like https://chat.example, not {wrong:?}"),
        None => Ok(()),
    }
}

/// Refuses an address for clients that is no WebSocket URL; the empty one stands for none.
///
/// # Errors
/// Names the key and the text.
pub fn check_ws_url(key: &str, url: &str) -> anyhow::Result<()> {
    if !url.is_empty() && !url.starts_with("ws://") && !url.starts_with("wss://") {
        anyhow::bail!("{key} must begin with ws:// or wss://, not {url:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_and_urls_are_checked_by_name_of_their_key() {
        check_origins("api.cors_origins", &["https://a".to_owned()], false).unwrap();
        check_origins("gateway.allowed_origins", &["*".to_owned()], true).unwrap();
        for wrong in ["*", "https://a/b", "a", "https://"] {
            let error = check_origins("api.cors_origins", &[wrong.to_owned()], false).unwrap_err().to_string();
            assert!(error.contains("api.cors_origins") && error.contains(wrong), "{error}");
        }
        check_ws_url("api.public_ws_url", "").unwrap();
        check_ws_url("api.public_ws_url", "wss://x").unwrap();
        assert!(check_ws_url("api.public_ws_url", "http://x").unwrap_err().to_string().contains("api.public_ws_url"));
    }
}
