//! What a binary may set.

use crate::address::Network;
use crate::limits::REQUEST_TIMEOUT_MS;

/// Configuration of the API. [`ApiConfig::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The WebSocket address told to clients, `ws://host:port/v1/ws`. When its host is a wildcard
    /// (`0.0.0.0`, `[::]`), the host that the client asked for is put in its place.
    pub public_ws_url: String,
    /// Life of an access token in milliseconds.
    pub access_ttl_ms: u64,
    /// Life of a refresh token in milliseconds, from its last exchange on.
    pub refresh_ttl_ms: u64,
    /// Failed logins in one minute from one address, and into one account. Past it: 429.
    pub failed_logins_per_minute_max: u32,
    /// Registrations in one minute from one address. Past it: 429.
    pub registrations_per_minute_max: u32,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_peers: Vec<Network>,
    /// Origins besides the API's own that browsers may call from, as `https://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// Passwords hashed at the same time, each with 19 MiB; by default one a core.
    pub hashes_concurrent_max: usize,
    /// Requests that wait for a password hash. Past it: 503.
    pub hashes_waiting_max: usize,
    /// Time a client has to send a body, from its head on. Past it: 408.
    pub body_timeout_ms: u64,
    /// Time a request may take in all. Past it: 503.
    pub request_timeout_ms: u64,
}

impl ApiConfig {
    /// The defaults, for clients that reach the gateway at `public_ws_url`.
    #[must_use]
    pub fn new(public_ws_url: impl Into<String>) -> Self {
        Self {
            public_ws_url: public_ws_url.into(),
            access_ttl_ms: 3_600_000,
            refresh_ttl_ms: 30 * 24 * 3_600_000,
            failed_logins_per_minute_max: 10,
            registrations_per_minute_max: 100,
            trusted_peers: Vec::new(),
            allowed_origins: Vec::new(),
            hashes_concurrent_max: std::thread::available_parallelism().map_or(1, usize::from),
            hashes_waiting_max: 256,
            body_timeout_ms: 10_000,
            request_timeout_ms: REQUEST_TIMEOUT_MS,
        }
    }
}

/// Bounds of one listener.
#[derive(Debug, Clone)]
pub struct ServeLimits {
    /// Time for a whole request head, and so also the longest pause between two requests of a
    /// connection. Past it the connection is closed.
    pub head_timeout_ms: u64,
    /// A connection whose peer takes nothing of a response for this long is closed.
    pub write_timeout_ms: u64,
    /// Connections at once. Past it a new one gets a bare 503 and is closed.
    pub connections_max: usize,
    /// Connections at once from one address, trusted peers excepted. Past it as above.
    pub connections_per_address_max: usize,
    /// After the stop, time for what is in flight. Past it the rest is cut off.
    pub drain_ms: u64,
    /// Peers that carry the connections of many clients.
    pub trusted_peers: Vec<Network>,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            head_timeout_ms: 15_000,
            write_timeout_ms: 15_000,
            connections_max: 4_096,
            connections_per_address_max: 1_024,
            drain_ms: 5_000,
            trusted_peers: Vec::new(),
        }
    }
}
