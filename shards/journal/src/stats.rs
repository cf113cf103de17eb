//! What the journal has done, in counters that any thread may read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Buckets of [`JournalStats::commits_by_records`]: bucket `n` counts commits of `2^n ..` records, the
/// last one everything from there on.
pub const RECORD_BUCKETS: usize = 13;

/// Buckets of [`JournalStats::commits_by_us`]: bucket `n` counts commits that took up to `2^(n + 6)` microseconds, from
/// 64 µs to 8.4 s, and the last one all that took longer.
pub const TIME_BUCKETS: usize = 19;

/// A reading of the counters, each taken on its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Commits written and flushed since the start.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
    /// Time the last commit took, from the first byte copied to the flush done, in microseconds.
    pub commit_us_last: u64,
    /// The longest.
    pub commit_us_max: u64,
    /// All of them together; by `commits` it is the mean.
    pub commit_us_total: u64,
    /// Commits by how many records they carried; see [`RECORD_BUCKETS`].
    pub commits_by_records: [u64; RECORD_BUCKETS],
    /// Commits by how long they took; see [`TIME_BUCKETS`].
    pub commits_by_us: [u64; TIME_BUCKETS],
    /// Bytes that wait for their commit.
    pub queued_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// Bytes of segment files and the spare.
    pub disk_bytes: u64,
    /// The first ordinal that can be read.
    pub first: u64,
    /// The ordinal the next record gets.
    pub end: u64,
    /// Whether the last append that needed a new segment was refused for want of room.
    pub full: bool,
    /// Whether a write or flush failed: nothing is taken until the journal is opened anew.
    pub failed: bool,
}

/// The counters; the journal thread writes all but `queued_bytes`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    commit_us_last: AtomicU64,
    commit_us_max: AtomicU64,
    commit_us_total: AtomicU64,
    commits_by_records: [AtomicU64; RECORD_BUCKETS],
    commits_by_us: [AtomicU64; TIME_BUCKETS],
    pub(crate) queued_bytes: AtomicU64,
    pub(crate) segments: AtomicU64,
    pub(crate) disk_bytes: AtomicU64,
    pub(crate) first: AtomicU64,
    pub(crate) full: AtomicBool,
    pub(crate) failed: AtomicBool,
}

impl Counters {
    pub(crate) fn committed(&self, records: usize, bytes: usize, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.commits.fetch_add(1, Relaxed);
        self.records.fetch_add(records as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
        self.commit_us_last.store(took_us, Relaxed);
        self.commit_us_max.fetch_max(took_us, Relaxed);
        self.commit_us_total.fetch_add(took_us, Relaxed);
        let bucket = records.max(1).ilog2() as usize;
        if let Some(count) = self.commits_by_records.get(bucket).or(self.commits_by_records.last()) {
            count.fetch_add(1, Relaxed);
        }
        let octave = took_us.checked_next_power_of_two().map_or(u64::BITS, u64::ilog2);
        let bucket = octave.saturating_sub(6) as usize;
        if let Some(count) = self.commits_by_us.get(bucket).or(self.commits_by_us.last()) {
            count.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn read(&self, end: u64) -> JournalStats {
        JournalStats {
            commits: self.commits.load(Relaxed),
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            commit_us_last: self.commit_us_last.load(Relaxed),
            commit_us_max: self.commit_us_max.load(Relaxed),
            commit_us_total: self.commit_us_total.load(Relaxed),
            commits_by_records: std::array::from_fn(|bucket| {
                self.commits_by_records.get(bucket).map_or(0, |count| count.load(Relaxed))
            }),
            commits_by_us: std::array::from_fn(|bucket| {
                self.commits_by_us.get(bucket).map_or(0, |count| count.load(Relaxed))
            }),
            queued_bytes: self.queued_bytes.load(Relaxed),
            segments: self.segments.load(Relaxed),
            disk_bytes: self.disk_bytes.load(Relaxed),
            first: self.first.load(Relaxed),
            end,
            full: self.full.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }
}
