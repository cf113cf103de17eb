//! Append, read, release, close and open anew, on real files.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{append, check, folder, open, open_error, record, segments, small, uncached};
use ringway_journal::{AppendError, Closed, Journal, JournalConfig, OpenError, ReadError};

#[tokio::test]
async fn records_are_read_back_over_segment_borders() {
    let folder = folder();
    let (journal, recovery) = open(uncached(folder.path()));
    assert_eq!((recovery.first, recovery.end, recovery.cut_bytes), (0, 0, 0));
    append(&journal, 0, 500, 7).await;
    assert!(segments(folder.path()).len() > 3, "the test must cross borders");
    check(&journal, 0, 500).await;
    check(&journal, 123, 500).await;
    journal.close().await;
}

#[tokio::test]
async fn the_cache_gives_what_the_disk_gives() {
    let folder = folder();
    let (journal, _) = open(JournalConfig { tail_cache_bytes: 30_000, ..small(folder.path()) });
    append(&journal, 0, 300, 11).await;
    check(&journal, 0, 300).await;
    for from in 0..300 {
        let read = journal.read(from, 5, usize::MAX).await.unwrap();
        let expected: Vec<_> = (from..300.min(from + 5)).map(|ordinal| (ordinal, record(ordinal))).collect();
        assert!(!read.is_empty() && expected.starts_with(&read), "from {from}");
    }
    journal.close().await;
}

#[tokio::test]
async fn a_reopened_journal_goes_on_with_its_ordinals() {
    let folder = folder();
    let mut end = 0;
    for round in 0..5 {
        let (journal, recovery) = open(small(folder.path()));
        assert_eq!((recovery.first, recovery.end, recovery.cut_bytes), (0, end, 0), "round {round}");
        append(&journal, end, end + 90, 13).await;
        end += 90;
        journal.close().await;
    }
    let (journal, _) = open(small(folder.path()));
    check(&journal, 0, end).await;
    journal.close().await;
}

#[tokio::test]
async fn a_journal_whose_handles_are_dropped_still_writes_what_was_appended() {
    let folder = folder();
    let (journal, _) = open(small(folder.path()));
    append(&journal, 0, 1, 1).await;
    let mut dropped = Box::pin(journal.append(vec![record(1)]));
    let poll = futures_util::poll!(&mut dropped);
    assert!(poll.is_pending());
    drop(dropped);
    drop(journal);
    // The thread ends on its own; until then the folder is locked.
    let deadline = Instant::now() + Duration::from_secs(10);
    let (journal, recovery) = loop {
        match Journal::open(small(folder.path())) {
            Err(OpenError::Locked(_)) if Instant::now() < deadline => std::thread::yield_now(),
            opened => break opened.unwrap(),
        }
    };
    assert_eq!(recovery.end, 2);
    check(&journal, 0, 2).await;
    journal.close().await;
}

#[tokio::test]
async fn a_journal_is_idle_once_it_has_written_and_paused() {
    let folder = folder();
    let (journal, _) = open(small(folder.path()));
    journal.idle().await;
    for (end, callers, pause) in [(1, 1, Duration::ZERO), (2, 2, Duration::from_micros(1_500))] {
        let began = Instant::now();
        let append = journal.append_for(vec![record(end)], callers);
        let idle = async {
            journal.idle().await;
            assert!(journal.end() == end && began.elapsed() >= pause);
        };
        // The append is polled first.
        let (appended, ()) = futures_util::future::join(append, idle).await;
        assert_eq!(appended, Ok(end - 1));
    }
    journal.close().await;
    journal.idle().await;
}

#[tokio::test]
async fn a_read_keeps_to_its_bounds_but_gives_at_least_one_record() {
    let folder = folder();
    for config in [small(folder.path().join("cached")), uncached(folder.path().join("uncached"))] {
        let (journal, _) = open(config);
        journal.append(vec![Bytes::from(vec![1; 1000]); 10]).await.unwrap();
        for (records_max, bytes_max, expected) in
            [(3, usize::MAX, 3), (10, 2500, 2), (10, 3000, 3), (10, 1, 1), (10, 0, 1), (0, 100, 0)]
        {
            let read = journal.read(0, records_max, bytes_max).await.unwrap();
            assert_eq!(read.len(), expected, "at most {records_max} records and {bytes_max} bytes");
        }
        assert_eq!(journal.read(10, 5, 5).await, Ok(Vec::new()));
        assert_eq!(journal.read(u64::MAX, 5, 5).await, Ok(Vec::new()));
        journal.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appenders_get_every_record_once_in_their_order() {
    let folder = folder();
    let (journal, _) = open(small(folder.path()));
    let tasks: Vec<_> = (0..16_u64)
        .map(|task| {
            let journal = journal.clone();
            tokio::spawn(async move {
                for step in 0..100_u64 {
                    let records = (0..=step % 3).map(|part| name(task, step, part)).collect::<Vec<_>>();
                    let count = records.len() as u64;
                    let first = journal.append(records).await.unwrap();
                    let read = journal.read(first, count as usize, usize::MAX).await.unwrap();
                    assert!(!read.is_empty(), "an acknowledged record is readable at once");
                    assert_eq!(read[0], (first, name(task, step, 0)));
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let all = common::read_all(&journal, 0).await;
    assert!(all.iter().map(|(ordinal, _)| *ordinal).eq(0..all.len() as u64));
    for task in 0..16 {
        let own = all.iter().map(|(_, bytes)| bytes.clone()).filter(|bytes| bytes[0] == task as u8);
        let expected = (0..100).flat_map(|step| (0..=step % 3).map(move |part| name(task, step, part)));
        assert!(own.eq(expected), "task {task}");
    }
    let stats = journal.stats();
    assert_eq!(stats.records, all.len() as u64);
    assert_eq!(stats.commits, stats.commits_by_records.iter().sum::<u64>());
    assert!(stats.commits < 1600, "appends that wait together share a commit: {} commits", stats.commits);
    assert_eq!(stats.queued_bytes, 0);
    journal.close().await;
}

fn name(task: u64, step: u64, part: u64) -> Bytes {
    vec![task as u8, step as u8, part as u8].into()
}

#[tokio::test]
async fn released_segments_are_removed_and_reads_below_are_refused() {
    let folder = folder();
    let (journal, _) = open(uncached(folder.path()));
    append(&journal, 0, 600, 5).await;
    let before = segments(folder.path()).len();
    journal.release(450);
    assert_eq!(journal.read(449, 1, 1).await, Err(ReadError::Released(450)));
    check(&journal, 450, 600).await;
    journal.release(10);
    assert_eq!(journal.stats().first, 450, "a release never takes back another");
    journal.close().await;

    let (journal, recovery) = open(uncached(folder.path()));
    assert!(recovery.segments < before && recovery.first > 0 && recovery.first <= 450, "{recovery:?}");
    check(&journal, recovery.first, 600).await;
    append(&journal, 600, 900, 5).await;
    check(&journal, recovery.first, 900).await;
    journal.close().await;
}

#[tokio::test]
async fn recycled_segments_never_show_their_old_records() {
    let folder = folder();
    let config = JournalConfig { journal_bytes_max: 4 * 64 * 1024, ..uncached(folder.path()) };
    let mut end = 0;
    for round in 0..12 {
        let (journal, recovery) = open(config.clone());
        assert_eq!((recovery.end, recovery.cut_bytes), (end, 0), "round {round}");
        for _ in 0..10 {
            append(&journal, end, end + 17, 4).await;
            end += 17;
            check(&journal, end - 17, end).await;
            journal.release(end);
        }
        journal.close().await;
    }
}

#[tokio::test]
async fn nothing_unwritten_can_be_released() {
    let folder = folder();
    let (journal, _) = open(small(folder.path()));
    journal.release(1000);
    append(&journal, 0, 10, 3).await;
    check(&journal, 0, 10).await;
    journal.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_for_ends_with_the_record_or_with_the_journal() {
    let folder = folder();
    let (journal, _) = open(small(folder.path()));
    let waiter = tokio::spawn({
        let journal = journal.clone();
        async move { journal.wait_for(9).await }
    });
    let never = tokio::spawn({
        let journal = journal.clone();
        async move { journal.wait_for(10).await }
    });
    append(&journal, 0, 10, 1).await;
    assert_eq!(waiter.await.unwrap(), Ok(()));
    assert_eq!(journal.wait_for(0).await, Ok(()));
    journal.close().await;
    assert_eq!(never.await.unwrap(), Err(Closed));
}

#[tokio::test]
async fn a_closed_journal_says_so_and_closing_again_is_harmless() {
    let folder = folder();
    let (journal, _) = open(small(folder.path()));
    append(&journal, 0, 3, 1).await;
    let clone = journal.clone();
    journal.close().await;
    clone.close().await;
    assert_eq!(clone.append(vec![record(3)]).await, Err(AppendError::Closed));
    assert_eq!(clone.read(0, 1, 1).await, Err(ReadError::Closed));
    assert_eq!(clone.end(), 3);
}

#[tokio::test]
async fn a_folder_is_open_once() {
    let folder = folder();
    let (journal, _) = open(small(folder.path()));
    let error = open_error(small(folder.path()));
    assert!(matches!(error, OpenError::Locked(_)), "{error}");
    journal.close().await;
    open(small(folder.path())).0.close().await;
}

#[tokio::test]
async fn an_append_larger_than_a_segment_is_refused_and_the_largest_is_taken() {
    let folder = folder();
    let config = small(folder.path());
    let bytes_max = config.append_bytes_max();
    let (journal, _) = open(config);
    let largest = vec![Bytes::from(vec![9; bytes_max - 4])];
    assert_eq!(
        journal.append(vec![Bytes::from(vec![9; bytes_max - 3])]).await,
        Err(AppendError::TooLarge { bytes: bytes_max + 1, bytes_max })
    );
    assert_eq!(journal.append(largest.clone()).await, Ok(0));
    assert_eq!(journal.append(vec![Bytes::new(); 100]).await, Ok(1));
    assert_eq!(journal.append(largest.clone()).await, Ok(101));
    journal.close().await;
    let (journal, _) = open(uncached(folder.path()));
    let all = common::read_all(&journal, 0).await;
    assert_eq!(all.len(), 102);
    assert_eq!((&all[0].1, &all[50].1, &all[101].1), (&largest[0], &Bytes::new(), &largest[0]));
    journal.close().await;
}

#[tokio::test]
async fn an_append_larger_than_the_first_segment_moves_on_to_a_whole_one() {
    let folder = folder();
    let (journal, _) = open(JournalConfig::new(folder.path()));
    let large = vec![Bytes::from(vec![5; 6 * 1024 * 1024])];
    assert_eq!(journal.append(large.clone()).await, Ok(0));
    journal.close().await;
    let (journal, recovery) = open(JournalConfig::new(folder.path()));
    assert_eq!((recovery.end, recovery.segments), (1, 1));
    assert_eq!(journal.read(0, 1, 1).await.unwrap(), vec![(0, large[0].clone())]);
    journal.close().await;
}

#[tokio::test]
async fn an_empty_folder_opens_quickly_and_an_idle_thread_answers_quickly() {
    let folder = folder();
    let started = Instant::now();
    let (journal, _) = open(JournalConfig::new(folder.path()));
    let took = started.elapsed();
    // Far above what they take (50 ms, 0.1 ms): a spinning, sleeping-by-timer or stuck thread shows, a
    // busy machine does not.
    assert!(took < Duration::from_secs(3), "opening took {took:?}");
    let mut waits = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        journal.read(0, 1, 1).await.unwrap();
        waits.push(started.elapsed());
    }
    waits.sort_unstable();
    assert!(waits[25] < Duration::from_millis(50), "the median hand-over took {:?}", waits[25]);
    journal.close().await;
}

#[test]
fn the_machine_that_runs_the_tests_is_supported() {
    let folder = folder();
    ringway_journal::check_support(&folder.path().join("not/yet/there")).unwrap();
    assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing stays behind");
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let folder = folder();
    for config in [
        JournalConfig { segment_bytes: 100, ..small(folder.path()) },
        JournalConfig { journal_bytes_max: 64 * 1024, ..small(folder.path()) },
    ] {
        let error = open_error(config);
        assert!(matches!(error, OpenError::Config(_)), "{error}");
    }
}
