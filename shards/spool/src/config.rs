//! Settings of the spool.

use std::path::{Path, PathBuf};

use ringway_journal::JournalConfig;

use crate::limits::{
    FORWARD_TIMEOUT_MS, PROBE_MS, SEGMENT_BYTES, SPOOL_AFTER_MS, SPOOL_AGE_MAX_MS, SPOOL_BYTES_MAX, TAIL_CACHE_BYTES,
};

/// What happens to an append that the remote log does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnUnavailable {
    /// It goes to the journal.
    #[default]
    Spool,
    /// It is refused. What an earlier run has left in the journal is forwarded all the same, and until it is,
    /// appends are refused.
    Refuse,
}

/// Settings of a spool. [`SpoolConfig::new`] gives the defaults.
#[derive(Debug, Clone)]
pub struct SpoolConfig {
    /// The journal's folder; made if it is missing, and used by one process at a time.
    pub folder: PathBuf,
    /// See [`OnUnavailable`].
    pub on_unavailable: OnUnavailable,
    /// See [`SPOOL_AFTER_MS`].
    pub spool_after_ms: u64,
    /// See [`SPOOL_BYTES_MAX`]; at least two segments.
    pub bytes_max: u64,
    /// See [`SPOOL_AGE_MAX_MS`].
    pub age_max_ms: u64,
    /// See [`PROBE_MS`].
    pub probe_ms: u64,
    /// See [`FORWARD_TIMEOUT_MS`].
    pub forward_timeout_ms: u64,
    /// See [`SEGMENT_BYTES`].
    pub segment_bytes: u64,
}

impl SpoolConfig {
    /// The defaults for a spool in `folder`.
    #[must_use]
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_path_buf(),
            on_unavailable: OnUnavailable::Spool,
            spool_after_ms: SPOOL_AFTER_MS,
            bytes_max: SPOOL_BYTES_MAX,
            age_max_ms: SPOOL_AGE_MAX_MS,
            probe_ms: PROBE_MS,
            forward_timeout_ms: FORWARD_TIMEOUT_MS,
            segment_bytes: SEGMENT_BYTES,
        }
    }

    pub(crate) fn journal(&self) -> JournalConfig {
        JournalConfig {
            segment_bytes: self.segment_bytes,
            journal_bytes_max: self.bytes_max,
            tail_cache_bytes: TAIL_CACHE_BYTES,
            ..JournalConfig::new(&self.folder)
        }
    }
}
