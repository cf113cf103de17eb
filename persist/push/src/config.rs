//! Settings of reminders.

use crate::limits::{GROUP_WRITE_FANOUT_MAX, NUDGE_AFTER_MS, PUSH_AFTER_MS, PUSH_RETRY_MS, TICK_MS};

/// Settings of reminders.
#[derive(Debug, Clone)]
pub struct RemindersConfig {
    /// See [`NUDGE_AFTER_MS`].
    pub nudge_after_ms: u64,
    /// See [`PUSH_AFTER_MS`]; more than `nudge_after_ms`.
    pub push_after_ms: u64,
    /// See [`GROUP_WRITE_FANOUT_MAX`].
    pub group_write_fanout_max: u64,
    /// See [`TICK_MS`].
    pub tick_ms: u64,
    /// See [`PUSH_RETRY_MS`].
    pub push_retry_ms: u64,
}

impl Default for RemindersConfig {
    fn default() -> Self {
        Self {
            nudge_after_ms: NUDGE_AFTER_MS,
            push_after_ms: PUSH_AFTER_MS,
            group_write_fanout_max: GROUP_WRITE_FANOUT_MAX,
            tick_ms: TICK_MS,
            push_retry_ms: PUSH_RETRY_MS,
        }
    }
}
