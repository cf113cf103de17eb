//! The HTTP API, wherever it runs.

use std::net::SocketAddr;

use super::{check_origins, loopback};

/// What the API's limiters count in.
const COUNT_MAX: u64 = u32::MAX as u64;
/// A hundred years: life times stay far from where additions would wrap.
const SECONDS_MAX: u64 = 100 * 365 * 86_400;

crate::keys! {
    /// The section `api`.
    pub Api {
        listen: SocketAddr = loopback(7480), "address:port", None, restart,
            "Where the HTTP API and the chat page are served. Port 0 takes a free one.";
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
    }
}

impl Api {
    /// Checks the lists.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> anyhow::Result<()> {
        check_origins("api.cors_origins", &self.cors_origins, false)
    }
}
