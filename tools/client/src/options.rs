//! How a client is set up.

use std::fmt;
use std::sync::Arc;

use ringway_engine::ids::DeviceId;
use ringway_engine::limits::COMMANDS_INFLIGHT_MAX;
use ringway_engine::packet::Format;
use tokio_tungstenite::Connector;
use url::Url;

use crate::acks::AckMode;
use crate::backoff::Bounds;
use crate::error::OptionsError;
use crate::store::{MemoryStore, MessageStore};
use crate::token::TokenSource;

/// How a client is set up. Start from [`Options::new`] and change fields.
pub struct Options {
    /// Gateways, `ws://…/v1/ws` or `wss://…/v1/ws`: tried in turn.
    pub urls: Vec<String>,
    /// Access tokens.
    pub token: Arc<dyn TokenSource>,
    /// This device, `[A-Za-z0-9_.-]{1,64}`. The server keeps a cursor for each, and lets one session of
    /// a device live: use another name for every copy of the program that runs at once.
    pub device: String,
    /// `ios`, `android`, `web`, `desktop`, …
    pub platform: String,
    /// Wire format.
    pub format: Format,
    /// Where messages and points are kept. With an empty one the server goes on at its stored cursor.
    pub store: Box<dyn MessageStore>,
    /// Sends in flight, at most 1,024.
    pub inflight_max: usize,
    /// Sends in flight to one target. 1, the default, keeps their order whatever happens; with more, a
    /// send that the server refuses for a while (`busy`) is overtaken by those right behind it.
    pub inflight_per_target_max: usize,
    /// Bounds of the waits between connections and between repeats of a send.
    pub backoff: Bounds,
    /// When shown messages are acknowledged.
    pub acks: AckMode,
    /// Overrides the heartbeat that the server asks for, in milliseconds.
    pub heartbeat_ms: Option<u64>,
    /// TLS of one's own, for a private certificate authority. `None`: the public roots.
    pub connector: Option<Connector>,
}

impl Options {
    /// The defaults: JSON, platform `desktop`, messages in memory, acknowledgements gathered for 50 ms, in
    /// groups for a second and a part of another quarter.
    #[must_use]
    pub fn new(url: impl Into<String>, device: impl Into<String>, token: impl TokenSource) -> Self {
        Self {
            urls: vec![url.into()],
            token: Arc::new(token),
            device: device.into(),
            platform: "desktop".to_owned(),
            format: Format::Json,
            store: Box::new(MemoryStore::default()),
            inflight_max: 256,
            inflight_per_target_max: 1,
            backoff: Bounds::default(),
            acks: AckMode::default(),
            heartbeat_ms: None,
            connector: None,
        }
    }

    pub(crate) fn check(&self) -> Result<(), OptionsError> {
        if self.urls.is_empty() {
            return Err(OptionsError::Url(String::new()));
        }
        for url in &self.urls {
            if !Url::parse(url).is_ok_and(|parsed| matches!(parsed.scheme(), "ws" | "wss")) {
                return Err(OptionsError::Url(url.clone()));
            }
        }
        DeviceId::parse(&self.device).map_err(OptionsError::Device)?;
        Ok(())
    }

    pub(crate) fn inflight(&self) -> usize {
        self.inflight_max.clamp(1, COMMANDS_INFLIGHT_MAX)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the token nor the store's content belongs into a log.
        f.debug_struct("Options").field("urls", &self.urls).field("device", &self.device).finish_non_exhaustive()
    }
}
