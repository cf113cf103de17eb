//! Short set-up for the journal's tests: a folder on a real disk, small segments, numbered records.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};

use bytes::Bytes;
use ringway_journal::{Journal, JournalConfig, OpenError, Recovery};
use tempfile::TempDir;

/// A new folder beside the build's output, which lies on a disk.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Segments of 64 KiB, so that a test crosses many borders.
pub(crate) fn small(folder: impl AsRef<Path>) -> JournalConfig {
    JournalConfig { segment_bytes: 64 * 1024, ..JournalConfig::new(folder) }
}

/// Like `small`, but every read goes to the disk.
pub(crate) fn uncached(folder: impl AsRef<Path>) -> JournalConfig {
    JournalConfig { tail_cache_bytes: 0, ..small(folder) }
}

pub(crate) fn open(config: JournalConfig) -> (Journal, Recovery) {
    Journal::open(config).unwrap()
}

pub(crate) fn open_error(config: JournalConfig) -> OpenError {
    Journal::open(config).map(|(_, recovery)| recovery).unwrap_err()
}

/// A record that tells its ordinal, of a length that varies.
pub(crate) fn record(ordinal: u64) -> Bytes {
    let length = 8 + (ordinal * 97 % 900) as usize;
    let mut bytes = ordinal.to_le_bytes().to_vec();
    bytes.resize(length, ordinal as u8);
    bytes.into()
}

/// Appends the records `from..to` in calls of `batch`.
pub(crate) async fn append(journal: &Journal, from: u64, to: u64, batch: usize) {
    let mut at = from;
    while at < to {
        let next = to.min(at + batch as u64);
        assert_eq!(journal.append((at..next).map(record).collect()).await, Ok(at));
        at = next;
    }
}

/// Reads everything from `from` on.
pub(crate) async fn read_all(journal: &Journal, from: u64) -> Vec<(u64, Bytes)> {
    let mut all: Vec<(u64, Bytes)> = Vec::new();
    loop {
        let at = all.last().map_or(from, |(ordinal, _)| ordinal + 1);
        let some = journal.read(at, 100, 20_000).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// Checks that the journal holds the records `from..to` and nothing else.
pub(crate) async fn check(journal: &Journal, from: u64, to: u64) {
    let expected: Vec<_> = (from..to).map(|ordinal| (ordinal, record(ordinal))).collect();
    assert_eq!(read_all(journal, from).await, expected);
    assert_eq!(journal.end(), to);
}

/// The segment files in order.
pub(crate) fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|is| is == "seg")).collect();
    files.sort();
    files
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
