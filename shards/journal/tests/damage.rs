//! What a start does with files that are not as they were written.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use common::{append, check, copy_folder, folder, open, open_error, read_all, record, segments, small, uncached};
use proptest::prelude::*;
use ringway_journal::codec::{BLOCK_BYTES, COMMIT_HEADER_BYTES, SegmentHeader, VERSION, scan_segment};
use ringway_journal::{Journal, OpenError, ReadError};
use tempfile::TempDir;

const LAST_COMMIT_RECORDS: u64 = 30;

/// A closed journal whose last commit holds several blocks, with that commit's place.
struct Sample {
    folder: TempDir,
    end: u64,
    last_segment: PathBuf,
    last_commit: std::ops::Range<usize>,
    last_payload_end: usize,
}

fn sample(records: u64, batch: usize) -> Sample {
    let folder = folder();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let end = records + LAST_COMMIT_RECORDS;
    runtime.block_on(async {
        let (journal, _) = open(small(folder.path()));
        append(&journal, 0, records, batch).await;
        append(&journal, records, end, LAST_COMMIT_RECORDS as usize).await;
        journal.close().await;
    });
    let last_segment = segments(folder.path()).pop().unwrap();
    let bytes = std::fs::read(&last_segment).unwrap();
    let header = SegmentHeader::decode(&bytes).unwrap();
    let last = *scan_segment(&header, &bytes).unwrap().commits.last().unwrap();
    assert_eq!(last.first_ordinal, records);
    assert!(last.blocks > 2, "the last commit must be able to tear between blocks");
    let start = last.block as usize * BLOCK_BYTES;
    let payload: usize = (records..end).map(|ordinal| record(ordinal).len() + 4).sum();
    Sample {
        folder,
        end,
        last_segment,
        last_commit: start..start + last.blocks as usize * BLOCK_BYTES,
        last_payload_end: start + COMMIT_HEADER_BYTES + payload,
    }
}

impl Sample {
    fn copy(&self) -> (TempDir, PathBuf) {
        let copy = common::folder();
        copy_folder(self.folder.path(), copy.path());
        let last_segment = copy.path().join(self.last_segment.file_name().unwrap());
        (copy, last_segment)
    }
}

fn overwrite(file: &Path, at: usize, bytes: &[u8]) {
    OpenOptions::new().write(true).open(file).unwrap().write_all_at(bytes, at as u64).unwrap();
}

/// Opens, checks that exactly the last commit is gone, and that the journal goes on from there.
async fn check_only_the_last_commit_is_cut(folder: &Path, end: u64, what: &str) {
    let kept = end - LAST_COMMIT_RECORDS;
    let (journal, recovery) = Journal::open(uncached(folder)).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(recovery.end, kept, "{what}");
    check(&journal, 0, kept).await;
    append(&journal, kept, kept + 3, 1).await;
    journal.close().await;
    let (journal, recovery) = open(uncached(folder));
    assert_eq!((recovery.end, recovery.cut_bytes), (kept + 3, 0), "{what}: the cut is done once");
    check(&journal, 0, kept + 3).await;
    journal.close().await;
}

#[tokio::test]
async fn a_torn_last_commit_is_cut_and_nothing_else() {
    let sample = tokio::task::spawn_blocking(|| sample(150, 7)).await.unwrap();
    let commit = sample.last_commit.clone();
    for at in (commit.start..sample.last_payload_end).step_by(1237) {
        let (copy, file) = sample.copy();
        let was = std::fs::read(&file).unwrap()[at];
        overwrite(&file, at, &[!was]);
        check_only_the_last_commit_is_cut(copy.path(), sample.end, &format!("another byte at {at}")).await;
    }
    for block in commit.clone().step_by(BLOCK_BYTES) {
        let (copy, file) = sample.copy();
        overwrite(&file, block, &[0; BLOCK_BYTES]);
        check_only_the_last_commit_is_cut(copy.path(), sample.end, &format!("block at {block} missing")).await;
    }
    for length in (commit.start..sample.last_payload_end).step_by(1511) {
        let (copy, file) = sample.copy();
        OpenOptions::new().write(true).open(&file).unwrap().set_len(length as u64).unwrap();
        check_only_the_last_commit_is_cut(copy.path(), sample.end, &format!("truncated to {length}")).await;
    }
}

#[tokio::test]
async fn the_cut_tells_how_many_bytes_it_took() {
    let sample = tokio::task::spawn_blocking(|| sample(20, 7)).await.unwrap();
    let (copy, file) = sample.copy();
    overwrite(&file, sample.last_commit.start + 100, b"torn");
    let (journal, recovery) = open(small(copy.path()));
    assert_eq!(recovery.cut_bytes, sample.last_commit.len() as u64);
    journal.close().await;
}

#[test]
fn damage_before_the_last_commit_stops_the_start_and_changes_nothing() {
    let sample = sample(400, 7);
    let files = segments(sample.folder.path());
    assert!(files.len() > 2);
    // The first commit of each segment; in the last one, a commit that is not the last.
    for file in &files {
        let (copy, _) = sample.copy();
        let file = copy.path().join(file.file_name().unwrap());
        overwrite(&file, BLOCK_BYTES + 60, b"damage");
        let before = std::fs::read(&file).unwrap();
        match open_error(small(copy.path())) {
            OpenError::Damaged { file: named, offset, .. } => {
                assert_eq!((named, offset), (file.clone(), BLOCK_BYTES as u64));
            }
            other => panic!("{other}"),
        }
        assert!(std::fs::read(&file).unwrap() == before, "nothing is changed");
    }
}

#[test]
fn a_missing_or_shortened_segment_in_the_middle_stops_the_start() {
    let sample = sample(400, 7);
    let files = segments(sample.folder.path());
    for (index, file) in files.iter().enumerate().take(files.len() - 1).skip(1) {
        let (copy, _) = sample.copy();
        let file = copy.path().join(file.file_name().unwrap());
        std::fs::remove_file(&file).unwrap();
        let error = open_error(small(copy.path()));
        assert!(matches!(error, OpenError::Damaged { .. }), "without segment {index}: {error}");
    }
    let (copy, _) = sample.copy();
    let file = copy.path().join(files[0].file_name().unwrap());
    OpenOptions::new().write(true).open(&file).unwrap().set_len(3 * BLOCK_BYTES as u64).unwrap();
    let error = open_error(small(copy.path()));
    assert!(matches!(error, OpenError::Damaged { .. }), "shortened: {error}");
}

#[test]
fn a_renamed_segment_stops_the_start() {
    let sample = sample(20, 7);
    for name in ["00000000000000000007.seg", "7.seg", "x.seg"] {
        let (copy, file) = sample.copy();
        std::fs::rename(file, copy.path().join(name)).unwrap();
        let error = open_error(small(copy.path()));
        assert!(matches!(error, OpenError::Damaged { .. }), "{name}: {error}");
    }
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let sample = sample(20, 7);
    let (copy, file) = sample.copy();
    overwrite(&file, 8, &(VERSION + 1).to_le_bytes());
    let error = open_error(small(copy.path()));
    assert!(matches!(error, OpenError::NewerVersion { found, known, .. } if found == VERSION + 1 && known == VERSION));
    assert!(error.to_string().contains("run the version that wrote it"), "{error}");
}

#[tokio::test]
async fn damage_that_happens_while_the_journal_is_open_is_reported_by_the_read() {
    let folder = folder();
    let (journal, _) = open(uncached(folder.path()));
    append(&journal, 0, 300, 7).await;
    let first = segments(folder.path()).remove(0);
    overwrite(&first, BLOCK_BYTES + 60, b"damage");
    assert!(matches!(journal.read(0, 1, 1).await, Err(ReadError::Damaged(_))));
    check(&journal, 7, 300).await;
    journal.close().await;
}

/// Two segments and a bit, small commits, so that a random bit has a fair chance to hit each part.
static FLIPPED: LazyLock<Sample> = LazyLock::new(|| sample(130, 3));

/// Opens a copy of the sample with `damage` done to it: an error, or all records, or all but the last
/// commit's. Whether it opened, and with everything.
fn check_damaged_copy(damage: impl FnOnce(&Path)) -> Option<bool> {
    let (copy, _) = FLIPPED.copy();
    damage(copy.path());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (journal, recovery) = match Journal::open(uncached(copy.path())) {
            Ok(opened) => opened,
            Err(OpenError::Damaged { .. } | OpenError::NewerVersion { .. }) => return None,
            Err(other) => panic!("{other}"),
        };
        let all = read_all(&journal, 0).await;
        journal.close().await;
        let whole = recovery.end == FLIPPED.end;
        assert!(whole || recovery.end == FLIPPED.end - LAST_COMMIT_RECORDS, "{recovery:?}");
        assert!(all.into_iter().eq((0..recovery.end).map(|ordinal| (ordinal, record(ordinal)))));
        Some(whole)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_never_yields_a_wrong_record(file in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), bit in 0..8) {
        let name = file.get(&segments(FLIPPED.folder.path())).file_name().unwrap().to_owned();
        let is_last = FLIPPED.last_segment.file_name() == Some(&*name);
        let mut bytes = std::fs::read(FLIPPED.folder.path().join(&name)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let opened = check_damaged_copy(|copy| std::fs::write(copy.join(&name), &bytes).unwrap());
        if is_last && (FLIPPED.last_commit.start..FLIPPED.last_payload_end).contains(&at) {
            prop_assert_eq!(opened, Some(false), "only the last commit is lost");
        } else {
            prop_assert_ne!(opened, Some(false), "the last commit is lost only by damage to itself");
        }
    }

    #[test]
    fn overwritten_stretches_never_yield_a_wrong_record(
        file in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 1..9000),
    ) {
        let name = file.get(&segments(FLIPPED.folder.path())).file_name().unwrap().to_owned();
        let length = std::fs::metadata(FLIPPED.folder.path().join(&name)).unwrap().len() as usize;
        let at = at.index(length);
        let with = &with[..with.len().min(length - at)];
        check_damaged_copy(|copy| overwrite(&copy.join(&name), at, with));
    }
}
