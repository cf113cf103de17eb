//! No room: the byte bound, the queue's bound, and a disk that is really full.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{append, check, folder, open, record, small, uncached};
use ringway_journal::{AppendError, Journal, JournalConfig};
use rustix::fs::{FallocateFlags, fallocate};

/// Appends single records from `from` on until one is refused; the ordinal of the refused one.
async fn append_until_full(journal: &Journal, from: u64) -> u64 {
    for ordinal in from..from + 100_000 {
        match journal.append(vec![record(ordinal)]).await {
            Ok(appended) => assert_eq!(appended, ordinal),
            Err(AppendError::Full(_)) => return ordinal,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("never full");
}

/// Appends one record as soon as there is room.
async fn append_when_there_is_room(journal: &Journal, ordinal: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match journal.append(vec![record(ordinal)]).await {
            Ok(appended) => return assert_eq!(appended, ordinal),
            Err(AppendError::Full(why)) => assert!(Instant::now() < deadline, "still full: {why}"),
            Err(other) => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn the_byte_bound_refuses_until_something_is_released() {
    let folder = folder();
    let config = JournalConfig { journal_bytes_max: 4 * 64 * 1024, ..uncached(folder.path()) };
    let (journal, _) = open(config.clone());
    let mut end = append_until_full(&journal, 0).await;
    assert!(journal.stats().full && !journal.stats().failed);
    assert!(journal.stats().disk_bytes <= config.journal_bytes_max);
    check(&journal, 0, end).await;
    for _ in 0..3 {
        journal.release(end);
        append_when_there_is_room(&journal, end).await;
        assert!(!journal.stats().full);
        end = append_until_full(&journal, end + 1).await;
    }
    assert!(journal.stats().disk_bytes <= config.journal_bytes_max);
    journal.close().await;
    let (journal, recovery) = open(config);
    assert_eq!(recovery.end, end);
    check(&journal, recovery.first, end).await;
    journal.close().await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_what_was_taken_is_written() {
    let folder = folder();
    let (journal, _) = open(JournalConfig { queued_bytes_max: 8 * 1024, ..small(folder.path()) });
    let mut waiting = Vec::new();
    let refused = loop {
        let mut appended = Box::pin(journal.append(vec![Bytes::from(vec![3; 1000])]));
        match futures_util::poll!(&mut appended) {
            std::task::Poll::Ready(answer) => break answer,
            std::task::Poll::Pending => waiting.push(appended),
        }
    };
    assert!(matches!(refused, Err(AppendError::Full(_))), "{refused:?}");
    let taken = waiting.len() as u64;
    for (ordinal, appended) in waiting.into_iter().enumerate() {
        assert_eq!(appended.await, Ok(ordinal as u64));
    }
    assert_eq!(journal.end(), taken);
    assert_eq!(journal.append(vec![Bytes::from(vec![3; 20_000])]).await, Ok(taken), "one append alone always fits");
    journal.close().await;
}

/// Where a test that runs on a small file system of its own finds it.
const SMALL_DISK: &str = "RINGWAY_JOURNAL_TEST_DISK";

/// Runs one of the tests below in a mount namespace where `SMALL_DISK` is an empty tmpfs of 2 MiB. The
/// namespace and the mount end with the process.
fn run_on_a_small_disk(test: &str) {
    let mount_point = folder();
    let script = "mount -t tmpfs -o size=2m tmpfs \"$1\" && exec \"$2\" --exact \"$3\" --nocapture";
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "--", "sh", "-c", script, "sh"])
        .arg(mount_point.path())
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(SMALL_DISK, mount_point.path())
        .output()
        .unwrap_or_else(|error| panic!("this test needs unshare(1): {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "this test needs mount and user namespaces\n{out}\n{err}");
    assert!(out.contains("1 passed"), "{out}\n{err}");
}

fn small_disk() -> Option<PathBuf> {
    std::env::var_os(SMALL_DISK).map(PathBuf::from)
}

/// Takes all room that is left, then gives back `spare_bytes` of it.
fn fill_disk(disk: &Path, spare_bytes: u64) -> PathBuf {
    let path = disk.join("ballast");
    let mut ballast = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
    let piece = [1; 4096];
    let mut bytes = 0;
    while ballast.write_all(&piece).is_ok() {
        bytes += piece.len() as u64;
    }
    ballast.set_len(bytes.saturating_sub(spare_bytes)).unwrap();
    path
}

#[test]
fn a_full_disk_refuses_and_recovers_without_a_restart() {
    let Some(disk) = small_disk() else {
        return run_on_a_small_disk("a_full_disk_refuses_and_recovers_without_a_restart");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (journal, _) = open(uncached(disk.join("journal")));
        append(&journal, 0, 50, 5).await;
        let ballast = fill_disk(&disk, 0);
        let end = append_until_full(&journal, 50).await;
        assert!(journal.stats().full);
        check(&journal, 0, end).await;
        std::fs::remove_file(&ballast).unwrap();
        append_when_there_is_room(&journal, end).await;
        assert!(!journal.stats().full);
        append(&journal, end + 1, end + 100, 3).await;

        // Full once more; this time a release makes the room.
        fill_disk(&disk, 0);
        let end = append_until_full(&journal, end + 100).await;
        journal.release(end);
        append_when_there_is_room(&journal, end).await;
        journal.close().await;
        let (journal, recovery) = open(uncached(disk.join("journal")));
        assert_eq!((recovery.end, recovery.cut_bytes), (end + 1, 0));
        check(&journal, recovery.first, end + 1).await;
        journal.close().await;
    });
}

#[test]
fn a_write_without_room_is_refused_and_written_later() {
    let Some(disk) = small_disk() else {
        return run_on_a_small_disk("a_write_without_room_is_refused_and_written_later");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (journal, _) = open(uncached(disk.join("journal")));
        append(&journal, 0, 5, 1).await;
        // What a copy-on-write file system does: prewritten blocks need room again when they are written.
        let segment = common::segments(&disk.join("journal")).pop().unwrap();
        let file = OpenOptions::new().write(true).open(segment).unwrap();
        let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        fallocate(&file, punch, 6 * 4096, 64 * 1024 - 6 * 4096).unwrap();
        let ballast = fill_disk(&disk, 0);
        let refused = journal.append(vec![record(5)]).await;
        assert!(matches!(refused, Err(AppendError::Full(_))), "{refused:?}");
        std::fs::remove_file(ballast).unwrap();
        append_when_there_is_room(&journal, 5).await;
        check(&journal, 0, 6).await;
        journal.close().await;
    });
}

#[test]
fn a_first_start_on_a_full_disk_fails_and_leaves_nothing_behind() {
    let Some(disk) = small_disk() else {
        return run_on_a_small_disk("a_first_start_on_a_full_disk_fails_and_leaves_nothing_behind");
    };
    let ballast = fill_disk(&disk, 8 * 4096);
    let error = common::open_error(small(disk.join("journal")));
    assert!(error.to_string().contains("No space left"), "{error}");
    std::fs::remove_file(ballast).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (journal, _) = open(small(disk.join("journal")));
        append(&journal, 0, 5, 1).await;
        journal.close().await;
    });
}
