//! The last records in memory, so that a reader who keeps up costs no disk read.
//!
//! Owned by the journal thread. Holds the buffers that were appended, not copies. Invariant: its commits
//! follow each other without a hole and the last one ends where the journal ends.

use std::collections::VecDeque;

use bytes::Bytes;

/// What one record costs beside its bytes.
const RECORD_OVERHEAD_BYTES: usize = 64;

struct CachedCommit {
    first_ordinal: u64,
    records: Vec<Bytes>,
    cost_bytes: usize,
}

/// Recent commits, oldest first; the oldest go when the bound is passed.
pub(crate) struct TailCache {
    commits: VecDeque<CachedCommit>,
    bytes: usize,
    bytes_max: usize,
}

impl TailCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { commits: VecDeque::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn push(&mut self, first_ordinal: u64, records: Vec<Bytes>) {
        let cost_bytes = records.iter().map(|record| record.len() + RECORD_OVERHEAD_BYTES).sum();
        self.bytes += cost_bytes;
        self.commits.push_back(CachedCommit { first_ordinal, records, cost_bytes });
        while self.bytes > self.bytes_max {
            if !self.drop_oldest() {
                return;
            }
        }
    }

    /// Lets go of commits that lie wholly below `ordinal`.
    pub(crate) fn release(&mut self, ordinal: u64) {
        while self.commits.get(1).is_some_and(|second| second.first_ordinal <= ordinal) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self.commits.pop_front();
        self.bytes -= oldest.as_ref().map_or(0, |commit| commit.cost_bytes);
        oldest.is_some()
    }

    /// The first ordinal it holds.
    pub(crate) fn first(&self) -> Option<u64> {
        self.commits.front().map(|commit| commit.first_ordinal)
    }

    /// Records from `from`, which it must hold, until `take` has enough.
    pub(crate) fn read(&self, from: u64, take: &mut Taken) {
        let start = self.commits.partition_point(|commit| commit.first_ordinal <= from).saturating_sub(1);
        for commit in self.commits.range(start..) {
            for (ordinal, record) in (commit.first_ordinal..).zip(&commit.records) {
                if ordinal >= from && !take.push(ordinal, || record.clone()) {
                    return;
                }
            }
        }
    }
}

/// Records gathered for one read, up to its bounds.
pub(crate) struct Taken {
    records: Vec<(u64, Bytes)>,
    records_max: usize,
    bytes_left: usize,
}

impl Taken {
    pub(crate) fn new(records_max: usize, bytes_max: usize) -> Self {
        Self { records: Vec::new(), records_max, bytes_left: bytes_max }
    }

    /// Takes a record; false once there is no room for more. The first one is always taken.
    pub(crate) fn push(&mut self, ordinal: u64, record: impl FnOnce() -> Bytes) -> bool {
        if self.is_full() {
            return false;
        }
        let record = record();
        if !self.records.is_empty() && record.len() > self.bytes_left {
            self.bytes_left = 0;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(record.len());
        self.records.push((ordinal, record));
        !self.is_full()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= self.records_max || (self.bytes_left == 0 && !self.records.is_empty())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes it still has room for.
    pub(crate) fn bytes_left(&self) -> usize {
        self.bytes_left
    }

    pub(crate) fn into_records(self) -> Vec<(u64, Bytes)> {
        self.records
    }
}
