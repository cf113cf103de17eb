//! Where RocketMQ is, how to sign in, and how much may be under way.

use std::fmt;
use std::path::PathBuf;

use crate::error::RocketError;
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, FRAME_BYTES, QUEUE_WAITING_BYTES_MAX, RECORD_BYTES_MAX, SEND_TIMEOUT_MS,
};

/// The topic of durable events.
pub const EVENT_TOPIC: &str = "im_event";
/// The topic of friend, group and membership changes. Nothing is published there: they go by the directory's outbox.
pub const SIGNAL_TOPIC: &str = "im_signal";
/// The topic of connects and disconnects. Nothing is published there: routes tell who is where.
pub const STATUS_TOPIC: &str = "im_status";

/// A key pair of the broker's access control.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who signs.
    pub access_key: String,
    /// What is signed with; never shown.
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// TLS towards all name servers and brokers. They are verified by the address that is dialled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the authorities to trust; none: those of the system.
    pub authorities: Option<PathBuf>,
    /// PEM files of a client certificate with its chain, and of its key, if the servers ask for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Settings of the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RocketConfig {
    /// Name servers, `host:port` each: asked in turn.
    pub name_servers: Vec<String>,
    /// The topic (default `im_event`).
    pub topic: String,
    /// How many queues the topic has over all brokers (default 8). A key's queue depends on the count, so a topic
    /// that has another one is refused.
    pub queues: usize,
    /// Group that appends are made under (default `im_gateway`); brokers show it and may grant rights to it.
    pub producer_group: String,
    /// Group whose consumed offsets brokers show (default `im_persist`).
    pub consumer_group: String,
    /// Signs every request; none: the brokers ask for no signature.
    pub credentials: Option<Credentials>,
    /// TLS; none: plain TCP.
    pub tls: Option<TlsFiles>,
    /// How long a batch may take before it counts as failed (default 3,000 ms).
    pub send_timeout_ms: u64,
    /// Records of one batch (default 1,024).
    pub batch_records_max: usize,
    /// Bytes of one batch (default 1 MiB); a larger record goes alone.
    pub batch_bytes_max: usize,
    /// Bytes of one record (default: just below 4 MiB, a broker's own default).
    pub record_bytes_max: usize,
    /// Bytes that may wait for one queue (default 8 MiB).
    pub queue_waiting_bytes_max: usize,
}

impl RocketConfig {
    /// Defaults for these name servers.
    #[must_use]
    pub fn new(name_servers: Vec<String>) -> Self {
        Self {
            name_servers,
            topic: EVENT_TOPIC.to_owned(),
            queues: 8,
            producer_group: "im_gateway".to_owned(),
            consumer_group: "im_persist".to_owned(),
            credentials: None,
            tls: None,
            send_timeout_ms: SEND_TIMEOUT_MS,
            batch_records_max: BATCH_RECORDS_MAX,
            batch_bytes_max: BATCH_BYTES_MAX,
            record_bytes_max: RECORD_BYTES_MAX,
            queue_waiting_bytes_max: QUEUE_WAITING_BYTES_MAX,
        }
    }

    pub(crate) fn check(&self) -> Result<(), RocketError> {
        let refused = |why: &str| Err(RocketError::Config(why.to_owned()));
        if self.name_servers.is_empty() || self.name_servers.iter().any(|address| !address.contains(':')) {
            return refused("name servers are a list of host:port");
        }
        if self.topic.is_empty() || self.producer_group.is_empty() || self.consumer_group.is_empty() {
            return refused("the topic and both groups need a name");
        }
        if self.queues == 0 || self.send_timeout_ms == 0 || self.batch_records_max == 0 || self.batch_bytes_max == 0 {
            return refused("queues, send time-out and batch bounds are above 0");
        }
        if self.queue_waiting_bytes_max < self.record_bytes_max.saturating_add(FRAME_BYTES) {
            return refused("the largest record does not fit into what may wait for a queue");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_pass_and_nonsense_is_refused() {
        let good = RocketConfig::new(vec!["127.0.0.1:9876".to_owned()]);
        good.check().unwrap();
        let mut bad = good.clone();
        bad.name_servers = vec!["localhost".to_owned()];
        bad.check().unwrap_err();
        let mut bad = good.clone();
        bad.queues = 0;
        bad.check().unwrap_err();
        let mut bad = good;
        bad.queue_waiting_bytes_max = 1_000;
        bad.check().unwrap_err();
    }

    #[test]
    fn a_secret_is_not_shown() {
        let credentials = Credentials { access_key: "reader".to_owned(), secret_key: "hidden".to_owned() };
        assert!(!format!("{credentials:?}").contains("hidden"));
    }
}
