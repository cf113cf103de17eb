//! What a journal is told at start, and its fixed bounds by name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::codec::{BLOCK_BYTES, COMMIT_HEADER_BYTES, RECORD_PREFIX_BYTES};

/// Smallest segment: below it the header block and padding cost more than the records.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// Largest segment: recovery reads one whole segment into memory.
pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The first segment of an empty folder is no larger than this, so that a first start does not wait for
/// the prewriting of a whole one. Later ones are prepared in the background.
pub(crate) const FIRST_SEGMENT_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Reads that wait for the journal thread; more callers wait to hand theirs in.
pub(crate) const READS_WAITING_MAX: usize = 64;
/// Bytes fetched by one read from disk: many small commits come in with one I/O.
pub(crate) const READ_SPAN_BYTES_MAX: usize = 1024 * 1024;
/// What a queued append costs beside its records (vector, reply, queue slot), so that a flood of tiny
/// appends is bounded too.
pub(crate) const APPEND_OVERHEAD_BYTES: usize = 256;
/// After a refused rotation, appends that need a new segment are refused unasked for this long; a release
/// ends it early. It keeps a full disk from being probed by every append.
pub(crate) const FULL_RETRY_MS: u64 = 250;
/// Time from the begin of a commit that several have appended to, to the begin of the next. A flush costs the
/// machine about 100 µs of CPU however little it writes; under load this keeps them from eating a core.
pub(crate) const COMMIT_INTERVAL: Duration = Duration::from_micros(1_500);
/// Memory registered with each of glommio's three rings. Three times this counts against
/// `RLIMIT_MEMLOCK`, which is 8 MiB on common set-ups; larger buffers come from the allocator.
pub(crate) const REGISTERED_BYTES: usize = 512 * 1024;
/// Entries of each of glommio's rings: one write, one flush, one read and a few opens are in flight.
pub(crate) const RING_ENTRIES: usize = 32;

/// Settings of a journal. `JournalConfig::new(folder)` gives the defaults.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// The folder that holds the segments and the lock file; made if it is missing.
    pub folder: PathBuf,
    /// Size of a new segment file in bytes, rounded down to whole blocks (default 32 MiB). A folder may
    /// hold segments of several sizes.
    pub segment_bytes: u64,
    /// Bytes of segment files, spare included (default 4 GiB). An append that needs a segment past it is
    /// refused with `Full` until older ones are released.
    pub journal_bytes_max: u64,
    /// Bytes of recent records kept in memory for reads (default 32 MiB); older reads go to the disk.
    pub tail_cache_bytes: usize,
    /// Bytes of appends that may wait for their commit (default 64 MiB); past it they are refused `Full`.
    pub queued_bytes_max: usize,
    /// Payload at which a commit takes no further append (default 1 MiB); always at least one.
    pub commit_bytes_max: usize,
}

impl JournalConfig {
    /// The defaults for a journal in `folder`.
    #[must_use]
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_path_buf(),
            segment_bytes: 32 * 1024 * 1024,
            journal_bytes_max: 4 * 1024 * 1024 * 1024,
            tail_cache_bytes: 32 * 1024 * 1024,
            queued_bytes_max: 64 * 1024 * 1024,
            commit_bytes_max: 1024 * 1024,
        }
    }

    /// The largest payload one append may bring: what fits an empty segment, at most 8 MiB. An append is
    /// one commit or part of one, never several, so that it is whole or absent after a crash.
    #[must_use]
    pub fn append_bytes_max(&self) -> usize {
        const APPEND_BYTES_MAX: u64 = 8 * 1024 * 1024;
        let room = self.segment_bytes.saturating_sub((BLOCK_BYTES + COMMIT_HEADER_BYTES) as u64);
        usize::try_from(room.min(APPEND_BYTES_MAX)).unwrap_or(0)
    }

    /// What one record adds to a payload.
    #[must_use]
    pub fn record_cost_bytes(record_bytes: usize) -> usize {
        record_bytes.saturating_add(RECORD_PREFIX_BYTES)
    }

    /// The config with sizes in whole blocks, or what is wrong with it.
    pub(crate) fn checked(mut self) -> Result<Self, String> {
        self.segment_bytes -= self.segment_bytes % BLOCK_BYTES as u64;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return Err(format!(
                "segment_bytes must lie between {SEGMENT_BYTES_MIN} and {SEGMENT_BYTES_MAX}, not {}",
                self.segment_bytes
            ));
        }
        if self.journal_bytes_max < 2 * self.segment_bytes {
            return Err(format!(
                "journal_bytes_max must hold two segments of {} bytes: one in use, one being released",
                self.segment_bytes
            ));
        }
        Ok(self)
    }
}
