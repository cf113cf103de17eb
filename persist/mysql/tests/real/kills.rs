//! `kill -9` of the server.

use ringway_engine::event::ReadEvent;
use ringway_mysql::MySqlConfig;
use ringway_stack::{Folder, MariaDb};
use ringway_store::ports::{Archive, DeadLetter, LogOffset};
use sqlx::Connection as _;
use tokio::sync::watch;

use crate::harness::{Opened, batch, run, until_ok};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_commit_that_the_server_dies_in_nothing_is_left_and_it_can_be_repeated() {
    let folder = Folder::new().unwrap();
    let mut server = MariaDb::start(folder.path()).unwrap();
    let opened = Opened::with(MySqlConfig::new(server.url())).await;
    opened.archive.commit(&batch(run("p2p:a:b", 1..=10), 0, 10)).await.unwrap();
    let mut next = batch([run("p2p:a:b", 11..=90), run("p2p:a:c", 1..=10)].concat(), 10, 101);
    next.reads.push(ReadEvent { conv: "p2p:a:b".into(), uid: "b".into(), seq: 90, ts_ms: 5 });
    next.dead_letters.push(DeadLetter { offset: LogOffset(100), reason: "no".into(), bytes: b"?"[..].into() });
    // It stops at the read mark, with its messages written.
    let mut other = opened.connect().await;
    let mut held = other.begin().await.unwrap();
    sqlx::query("INSERT INTO receipts VALUES ('b', 'p2p:a:b', 1, 1)").execute(&mut *held).await.unwrap();
    let (archive, batch) = (opened.archive.clone(), next.clone());
    let commit = tokio::spawn(async move { archive.commit(&batch).await });
    opened.until_waiting(1).await;
    server.kill().unwrap();
    commit.await.unwrap().unwrap_err();
    server.restart().unwrap();
    assert_eq!(until_ok(|| opened.archive.consumed_offset()).await, LogOffset(10));
    assert_eq!(opened.seqs("p2p:a:b").await, (1..=10).collect::<Vec<_>>());
    for table in ["receipts", "dead_letters"] {
        assert_eq!(opened.count(&format!("SELECT COUNT(*) FROM {table}")).await, 0, "{table}");
    }
    assert_eq!(opened.count("SELECT COUNT(*) FROM conversations WHERE conv = 'p2p:a:c'").await, 0);
    for _ in 0..2 {
        until_ok(|| opened.archive.commit(&next)).await;
    }
    assert_eq!(opened.archive.consumed_offset().await.unwrap(), LogOffset(101));
    assert_eq!(opened.seqs("p2p:a:b").await, (1..=90).collect::<Vec<_>>());
    assert_eq!(opened.seqs("p2p:a:c").await, (1..=10).collect::<Vec<_>>());
    assert_eq!(opened.count("SELECT CAST(read_seq AS SIGNED) FROM receipts").await, 90);
    assert_eq!(opened.database.dead_letters(10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_kill_and_batches_are_whole() {
    const STEP: u64 = 40;
    let folder = Folder::new().unwrap();
    let mut server = MariaDb::start(folder.path()).unwrap();
    let opened = Opened::with(MySqlConfig::new(server.url())).await;
    for round in 0..2 {
        let archive = opened.archive.clone();
        let start = until_ok(|| archive.consumed_offset()).await.0;
        let (acknowledged, mut seen) = watch::channel(start);
        let writer = tokio::spawn(async move {
            let mut first = start;
            while archive.commit(&batch(run("group:g", first + 1..=first + STEP), first, first + STEP)).await.is_ok() {
                first += STEP;
                acknowledged.send_replace(first);
            }
            first
        });
        seen.wait_for(|offset| *offset >= start + 10 * STEP).await.unwrap();
        server.kill().unwrap();
        let acknowledged = writer.await.unwrap();
        server.restart().unwrap();
        let consumed = until_ok(|| opened.archive.consumed_offset()).await.0;
        assert!(consumed == acknowledged || consumed == acknowledged + STEP, "{round}: {acknowledged}, {consumed}");
        assert_eq!(opened.seqs("group:g").await, (1..=consumed).collect::<Vec<_>>());
    }
}
