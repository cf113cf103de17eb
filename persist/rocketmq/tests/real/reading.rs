//! Reads at the edges of what a broker keeps.

use ringway_store::ports::{EventLog as _, LogOffset, LogReadError};

use crate::harness::{Stack, open, queue_of, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_beyond_the_end_says_that_the_brokers_store_ends_before() {
    let (log, queues) = open(&Stack::shared().topic("beyond")).await;
    log.append(vec![record(2, "one"), record(2, "two")]).await.unwrap();
    let queue = queue_of(&queues, 2);
    queue.wait_for(LogOffset(1)).await.unwrap();
    assert_eq!(queue.name(), "beyond/broker-a/2");
    assert!(queue.read(LogOffset(2), 10, 1_000).await.unwrap().is_empty());
    let Err(LogReadError::Damaged(why)) = queue.read(LogOffset(3), 10, 1_000).await else { panic!("damaged") };
    assert!(why.contains("ends at 2, before 3"), "{why}");
    let Err(LogReadError::Damaged(_)) = queue_of(&queues, 3).read(LogOffset(1), 10, 1_000).await else {
        panic!("a queue without records ends at 0")
    };
    log.close().await;
    queues.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_of_many_records_makes_as_many_pulls_as_it_takes() {
    let (log, queues) = open(&Stack::shared().topic("many_records")).await;
    log.append((0..1_000).map(|number| record(6, &format!("record {number}"))).collect()).await.unwrap();
    let queue = queue_of(&queues, 6);
    queue.wait_for(LogOffset(999)).await.unwrap();
    let records = queue.read(LogOffset(100), 700, 1_000_000).await.unwrap();
    assert_eq!(records.len(), 700);
    for (record, number) in records.iter().zip(100..) {
        assert_eq!((record.offset, &record.bytes[..]), (LogOffset(number), format!("record {number}").as_bytes()));
    }
    assert_eq!(queue.read(LogOffset(900), 700, 1_000_000).await.unwrap().len(), 100);
    let bounded = queue.read(LogOffset(0), 700, 2_000).await.unwrap();
    let bytes: usize = bounded.iter().map(|record| record.bytes.len()).sum();
    assert!((1_900..=2_000).contains(&bytes), "{bytes}");
    log.close().await;
    queues.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_the_broker_has_let_go_are_told_apart() {
    let mut stack = Stack::start();
    let config = stack.config("im_event");
    let (log, queues) = open(&config).await;
    // More than one file of the commit log, 64 MiB.
    let large = "x".repeat(900_000);
    for number in 0..80 {
        log.append(vec![record(4, &format!("{number} {large}"))]).await.unwrap();
    }
    tokio::task::block_in_place(|| {
        stack.servers.broker.kill().unwrap();
        let mut files: Vec<_> =
            std::fs::read_dir(stack.commit_log()).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort_unstable();
        std::fs::remove_file(&files[0]).unwrap();
        stack.servers.broker.restart().unwrap();
    });
    let queue = queue_of(&queues, 4);
    let first = loop {
        match queue.read(LogOffset(0), 10, 1_000).await {
            Err(LogReadError::Released(first)) => break first,
            // The connection to the killed broker.
            Err(LogReadError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!((60..80).contains(&first.0), "{first:?}");
    let record = &queue.read(first, 1, 1_000).await.unwrap()[0];
    assert!(record.bytes.starts_with(format!("{} ", first.0).as_bytes()));
    assert!(matches!(queue.read(LogOffset(first.0 - 1), 1, 1_000).await, Err(LogReadError::Released(_))));
    log.close().await;
    queues.close().await;
}
