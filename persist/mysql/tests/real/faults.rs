//! Deadlocks, rows that are held for long, and a server that answers nothing.

use std::time::{Duration, Instant};

use ringway_engine::event::ReadEvent;
use ringway_mysql::MySqlConfig;
use ringway_stack::{Folder, MariaDb};
use ringway_store::conformance::{conv, uid};
use ringway_store::ports::{Archive, Directory, Epochs, Leases, LogOffset, PageFrom, Records};
use sqlx::Connection as _;

use crate::harness::{Opened, batch, fresh, run, until, until_ok};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_victim_of_a_deadlock_is_run_again() {
    let opened = Opened::new().await;
    opened.archive.commit(&batch(run("p2p:a:b", [1]), 0, 1)).await.unwrap();
    let mut other = opened.connect().await;
    let mut held = other.begin().await.unwrap();
    // With more to lose than the commit, so that the server ends that one.
    sqlx::query("INSERT INTO receipts SELECT CONCAT('u', seq), 'p2p:a:b', 1, 1 FROM seq_1_to_1000")
        .execute(&mut *held)
        .await
        .unwrap();
    let mut second = batch(run("p2p:a:b", [2]), 1, 2);
    second.reads.push(ReadEvent { conv: "p2p:a:b".into(), uid: "u7".into(), seq: 2, ts_ms: 2 });
    let archive = opened.archive.clone();
    let commit = tokio::spawn(async move { archive.commit(&second).await });
    opened.until_waiting(1).await;
    // The commit holds this row and waits for ours; so that we get it, it must have been rolled back.
    sqlx::query("UPDATE conversations SET epoch = epoch WHERE conv = 'p2p:a:b'").execute(&mut *held).await.unwrap();
    opened.until_waiting(1).await;
    held.rollback().await.unwrap();
    commit.await.unwrap().unwrap();
    assert_eq!(opened.seqs("p2p:a:b").await, [1, 2]);
    assert_eq!(opened.count("SELECT CAST(read_seq AS SIGNED) FROM receipts WHERE uid = 'u7'").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_waited_too_long_for_a_row_is_run_again() {
    let mut config = MySqlConfig::new(fresh(crate::harness::shared()));
    config.lock_wait_ms = 1;
    let opened = Opened::with(config).await;
    opened.archive.commit(&batch(run("p2p:a:b", [1]), 0, 1)).await.unwrap();
    let mut other = opened.connect().await;
    let mut held = other.begin().await.unwrap();
    sqlx::query("SELECT id FROM conversations WHERE conv = 'p2p:a:b' FOR UPDATE").fetch_one(&mut *held).await.unwrap();
    let archive = opened.archive.clone();
    let commit = tokio::spawn(async move { archive.commit(&batch(run("p2p:a:b", [2]), 1, 2)).await });
    opened.until_waiting(1).await;
    let first = opened.waiting().await;
    until("another transaction waits", async || {
        let waiting = opened.waiting().await;
        waiting.len() == 1 && waiting != first
    })
    .await;
    held.rollback().await.unwrap();
    commit.await.unwrap().unwrap();
    assert_eq!(opened.seqs("p2p:a:b").await, [1, 2]);
}

/// Asserts that a call ended without an answer.
fn check_unanswered<T>(what: &str, answer: Result<T, impl std::fmt::Display>) {
    let Err(error) = answer else { panic!("{what} was answered") };
    let text = error.to_string();
    assert!(text.starts_with("mysql: "), "{what}: {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_a_server_that_stands_still_end_within_their_bound() {
    let folder = Folder::new().unwrap();
    let server = MariaDb::start(folder.path()).unwrap();
    let mut config = MySqlConfig::new(server.url());
    (config.connections_max, config.acquire_ms, config.statement_ms, config.call_ms) = (4, 600, 500, 1_000);
    let bound = Duration::from_millis(config.call_ms + 500);
    let opened = Opened::with(config).await;
    opened.archive.commit(&batch(run("p2p:a:b", 1..=5), 0, 5)).await.unwrap();
    assert!(opened.database.hold("relay", "one", 60_000).await.unwrap());
    server.pause().unwrap();
    // More than there are connections, so that some of them wait for one; and again, when none is left.
    for _ in 0..2 {
        let (archive, directory, database) = (&opened.archive, &opened.directory, &opened.database);
        let next = batch(run("p2p:a:b", [6]), 5, 6);
        let (id, user) = (conv("p2p:a:b"), uid("a"));
        let began = Instant::now();
        let (commit, page, offset, account, current, sends, lease) = tokio::join!(
            archive.commit(&next),
            archive.page(&id, PageFrom::After(0), 5),
            archive.consumed_offset(),
            directory.account(&user),
            database.current(),
            database.sends(&[("p2p:a:b", "a", "c-1")]),
            database.hold("relay", "one", 60_000),
        );
        let took = began.elapsed();
        assert!(took < bound, "calls took {took:?}");
        check_unanswered("commit", commit);
        check_unanswered("page", page);
        check_unanswered("consumed_offset", offset);
        check_unanswered("account", account);
        check_unanswered("current", current);
        check_unanswered("sends", sends);
        check_unanswered("hold", lease);
    }
    server.resume().unwrap();
    let next = batch(run("p2p:a:b", [6]), 5, 6);
    until_ok(|| opened.archive.commit(&next)).await;
    assert_eq!(opened.seqs("p2p:a:b").await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(opened.archive.consumed_offset().await.unwrap(), LogOffset(6));
}
