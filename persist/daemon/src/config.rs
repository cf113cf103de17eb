//! Settings of the daemon.

use crate::limits::{LEASE_MS, POISON_TRIES_MAX, TURN_MS};

/// Settings of the daemon.
#[derive(Debug, Clone)]
pub struct DaemonConfig {
    /// Records of one transaction (default 16,384).
    pub batch_records: usize,
    /// Bytes of records of one transaction (default 16 MiB).
    pub batch_bytes: usize,
    /// How long a transaction waits for more records (default 500 ms): messages of a conversation lie side by
    /// side, so the more of them come at once, the fewer pages are written, and a trickle does not cost a
    /// flush each. Readers see messages before they are archived, so nobody waits for it.
    pub gather_ms: u64,
    /// Cursors are written and idle memory let go this often (default 1,000 ms).
    pub upkeep_ms: u64,
    /// See [`POISON_TRIES_MAX`].
    pub poison_tries: u32,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            batch_records: 16_384,
            batch_bytes: 16 * 1024 * 1024,
            gather_ms: 500,
            upkeep_ms: 1_000,
            poison_tries: POISON_TRIES_MAX,
        }
    }
}

/// Settings of [`crate::Workers`].
#[derive(Debug, Clone)]
pub struct WorkersConfig {
    /// Those of each consumer.
    pub daemon: DaemonConfig,
    /// See [`TURN_MS`].
    pub turn_ms: u64,
    /// See [`LEASE_MS`]; at least four turns.
    pub lease_ms: u64,
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self { daemon: DaemonConfig::default(), turn_ms: TURN_MS, lease_ms: LEASE_MS }
    }
}
