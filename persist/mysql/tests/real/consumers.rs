//! Two that archive at once: consumers of one log, consumers of different logs, and one who ends an epoch.

use ringway_mysql::MySqlArchive;
use ringway_store::ports::{Advanced, Archive, CommitError, Epochs, LogOffset};
use sqlx::Connection as _;

use crate::harness::{Opened, batch, run};

#[tokio::test]
async fn of_two_consumers_of_one_log_one_goes_on() {
    let opened = Opened::new().await;
    let other = opened.again().await.archive;
    opened.archive.commit(&batch(run("p2p:a:b", 1..=10), 0, 10)).await.unwrap();
    // Both ends known: committed before, and its answer was lost.
    other.commit(&batch(run("p2p:a:b", 1..=10), 0, 10)).await.unwrap();
    for (first, next) in [(0, 15), (5, 15), (11, 15), (20, 30)] {
        let refused = other.commit(&batch(run("p2p:a:c", [1]), first, next)).await.unwrap_err();
        assert!(
            matches!(refused, CommitError::Moved { read_from, found: 10 } if read_from == first),
            "{first} to {next}: {refused}"
        );
    }
    assert!(opened.seqs("p2p:a:c").await.is_empty());
    other.commit(&batch(run("p2p:a:b", 11..=12), 10, 12)).await.unwrap();
    // Each log has a place of its own.
    let of_another_log = MySqlArchive::new(opened.database.clone(), "log/1");
    assert_eq!(of_another_log.consumed_offset().await.unwrap(), LogOffset(0));
    of_another_log.commit(&batch(run("p2p:a:d", [1]), 0, 1)).await.unwrap();
    assert_eq!(opened.archive.consumed_offset().await.unwrap(), LogOffset(12));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumers_that_race_archive_every_record_once() {
    const END: u64 = 300;
    let opened = Opened::new().await;
    // Batches that do not end where the other's do.
    let consume = |archive: MySqlArchive, step: u64| async move {
        loop {
            let first = archive.consumed_offset().await.unwrap().0;
            if first == END {
                return;
            }
            let next = (first + step).min(END);
            match archive.commit(&batch(run("group:g", first + 1..=next), first, next)).await {
                Ok(()) | Err(CommitError::Moved { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let tasks = [7, 10, 13].map(|step| tokio::spawn(consume(opened.archive.clone(), step)));
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(opened.seqs("group:g").await, (1..=END).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_the_same_conversations_do_not_fail_each_other() {
    let opened = Opened::new().await;
    let convs: Vec<String> = (0..20).map(|n| format!("group:g{n}")).collect();
    let mut tasks = Vec::new();
    for writer in 0..4_u64 {
        let archive = MySqlArchive::new(opened.database.clone(), &format!("log/{writer}"));
        let mut convs = convs.clone();
        convs.rotate_left(writer as usize * 5);
        tasks.push(tokio::spawn(async move {
            for round in 0..10 {
                // Each writes numbers of its own, so it leaves holes that the others close.
                let messages = convs.iter().flat_map(|conv| run(conv, [round * 4 + writer + 1])).collect();
                archive.commit(&batch(messages, round, round + 1)).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let names: Vec<&str> = convs.iter().map(String::as_str).collect();
    for start in opened.database.starts(&names).await.unwrap() {
        assert_eq!((start.dense, start.head, start.holes.len()), (40, 40, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_ends_after_the_commits_under_way() {
    let opened = Opened::new().await;
    opened.archive.commit(&batch(run("p2p:a:b", [1]), 0, 1)).await.unwrap();
    let mut holder = opened.connect().await;
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT id FROM conversations WHERE conv = 'p2p:a:b' FOR UPDATE").fetch_one(&mut *held).await.unwrap();
    let archive = opened.archive.clone();
    let commit = tokio::spawn(async move { archive.commit(&batch(run("p2p:a:b", [2]), 1, 2)).await });
    opened.until_waiting(1).await;
    let database = opened.database.clone();
    let advance = tokio::spawn(async move { database.advance(1, "server").await });
    opened.until_waiting(2).await;
    assert_eq!(opened.database.current().await.unwrap().number, 1);
    held.rollback().await.unwrap();
    commit.await.unwrap().unwrap();
    assert!(matches!(advance.await.unwrap().unwrap(), Advanced::Won(epoch) if epoch.number == 2));
    let refused = opened.archive.commit(&batch(run("p2p:a:b", [3]), 2, 3)).await.unwrap_err();
    assert!(matches!(refused, CommitError::Stale { numbered: 1, current: 2 }), "{refused}");
    assert_eq!(opened.seqs("p2p:a:b").await, [1, 2]);
    assert_eq!(opened.archive.consumed_offset().await.unwrap(), LogOffset(2));
}
