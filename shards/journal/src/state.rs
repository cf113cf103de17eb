//! What the tasks of the journal thread share: the segments with their index, the cache, the spare.
//!
//! Lives on the journal thread alone (`Rc`, `RefCell`); no borrow is held across an await. The writer
//! appends segments and commits, the keeper takes released segments from the front, the reader only looks.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use glommio::io::DmaFile;
use tokio::sync::Notify;

use crate::cache::TailCache;
use crate::codec::{BLOCK_BYTES, PlacedCommit};
use crate::config::{JournalConfig, READ_SPAN_BYTES_MAX};
use crate::folder::Demand;
use crate::stats::Counters;

/// What the journal thread and the handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: JournalConfig,
    pub(crate) counters: Counters,
    /// Records below it may go; only rises.
    pub(crate) released: AtomicU64,
    /// Wakes the keeper: something was released, the spare was used, or one is wanted.
    pub(crate) keeper_wake: Notify,
    /// Why the journal takes nothing more.
    pub(crate) failure: OnceLock<String>,
    /// The writer pauses after a commit.
    pub(crate) pausing: AtomicBool,
    /// Wakes who waits for the writer to have nothing to do.
    pub(crate) idle: Notify,
}

impl Shared {
    pub(crate) fn new(config: JournalConfig) -> Self {
        Self {
            config,
            counters: Counters::default(),
            released: AtomicU64::new(0),
            keeper_wake: Notify::new(),
            failure: OnceLock::new(),
            pausing: AtomicBool::new(false),
            idle: Notify::new(),
        }
    }

    /// Whether an append would be written at once.
    pub(crate) fn is_idle(&self) -> bool {
        self.counters.queued_bytes.load(SeqCst) == 0 && !self.pausing.load(SeqCst)
    }

    /// The writer pauses no more.
    pub(crate) fn end_pause(&self) {
        self.pausing.store(false, SeqCst);
        self.tell_idle();
    }

    /// Wakes who waits, if there is nothing to wait for. To be called after each change that `is_idle` waits for. Those are
    /// sequentially consistent: of two at once, on two threads, one sees the other. The lock in `Notify` orders them for
    /// who is about to wait.
    pub(crate) fn tell_idle(&self) {
        if self.is_idle() {
            self.idle.notify_waiters();
        }
    }
}

/// A segment file in use.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) salt: u64,
    pub(crate) first_ordinal: u64,
    pub(crate) first_commit: u64,
    /// Blocks of the file.
    pub(crate) file_blocks: u32,
    /// The block the next commit goes to.
    pub(crate) end_block: u32,
    pub(crate) commits: Vec<PlacedCommit>,
    pub(crate) file: Rc<DmaFile>,
}

impl Segment {
    pub(crate) fn room_bytes(&self) -> usize {
        self.file_blocks.saturating_sub(self.end_block) as usize * BLOCK_BYTES
    }

    pub(crate) fn file_bytes(&self) -> u64 {
        u64::from(self.file_blocks) * BLOCK_BYTES as u64
    }
}

/// The file that will be the next segment.
///
/// ```text
/// Absent ──keeper makes or recycles one──► Ready ──writer takes it──► Taken ──has its name──► Absent
///                                            ▲                          │
///                                            └──────────no room─────────┘
/// ```
///
/// While it is `Taken` its name is in use: the keeper neither makes nor recycles one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spare {
    Absent,
    Ready { zeroed: bool },
    Taken,
}

/// The commits of one segment that one read fetches together.
pub(crate) struct Span {
    pub(crate) file: Rc<DmaFile>,
    pub(crate) path: PathBuf,
    pub(crate) salt: u64,
    /// Number of the first of them.
    pub(crate) first_commit: u64,
    pub(crate) commits: Vec<PlacedCommit>,
}

pub(crate) struct State {
    /// Never empty; the last one is written to.
    pub(crate) segments: VecDeque<Segment>,
    pub(crate) next_commit: u64,
    pub(crate) next_ordinal: u64,
    pub(crate) cache: TailCache,
    pub(crate) spare: Spare,
    /// Why the keeper could not provide a spare, until the writer has taken note.
    pub(crate) refusal: Option<String>,
}

impl State {
    pub(crate) fn first_ordinal(&self) -> u64 {
        self.segments.front().map_or(self.next_ordinal, |segment| segment.first_ordinal)
    }

    /// Whether the oldest segment lies wholly below `released`; the last segment never does.
    pub(crate) fn front_is_released(&self, released: u64) -> bool {
        self.segments.get(1).is_some_and(|second| second.first_ordinal <= released)
    }

    /// Whether the next segment, of `segment_bytes`, will be written to soon: a quarter of one is left, or less.
    pub(crate) fn needs_spare_soon(&self, segment_bytes: u64) -> bool {
        let room_bytes = self.segments.back().map_or(0, Segment::room_bytes) as u64;
        room_bytes <= segment_bytes / 4
    }

    /// The commits to fetch for a read from `ordinal` on that wants about `bytes_wanted`.
    pub(crate) fn locate(&self, ordinal: u64, bytes_wanted: usize) -> Option<Span> {
        let after = self.segments.partition_point(|segment| segment.first_ordinal <= ordinal);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let start = segment.commits.partition_point(|commit| commit.first_ordinal <= ordinal).checked_sub(1)?;
        let bytes_max = bytes_wanted.min(READ_SPAN_BYTES_MAX);
        let mut covered = 0;
        let commits = segment.commits.get(start..)?.iter().copied().take_while(|commit| {
            let goes_on = covered == 0 || covered + commit.blocks as usize * BLOCK_BYTES <= bytes_max;
            covered += commit.blocks as usize * BLOCK_BYTES;
            goes_on
        });
        Some(Span {
            file: Rc::clone(&segment.file),
            path: segment.path.clone(),
            salt: segment.salt,
            first_commit: segment.first_commit + start as u64,
            commits: commits.collect(),
        })
    }
}

/// The state and what goes with it on the journal thread.
pub(crate) struct Core {
    pub(crate) shared: Arc<Shared>,
    pub(crate) state: RefCell<State>,
    /// Wakes the writer: there is a spare, or a refusal.
    pub(crate) spare_changed: Notify,
    /// Tells the keeper, and a prewrite under way, to hurry or to end.
    pub(crate) demand: Arc<Demand>,
}

impl Core {
    /// The first ordinal a read may ask for.
    pub(crate) fn first_readable(&self) -> u64 {
        self.state.borrow().first_ordinal().max(self.shared.released.load(Relaxed))
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        let state = self.state.borrow();
        let spare = if state.spare == Spare::Absent { 0 } else { self.shared.config.segment_bytes };
        state.segments.iter().map(Segment::file_bytes).sum::<u64>() + spare
    }

    /// Brings the counters that describe the folder up to date.
    pub(crate) fn count_files(&self) {
        let counters = &self.shared.counters;
        counters.segments.store(self.state.borrow().segments.len() as u64, Relaxed);
        counters.disk_bytes.store(self.disk_bytes(), Relaxed);
        counters.first.store(self.first_readable(), Relaxed);
    }
}
