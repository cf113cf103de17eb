//! What is refused, and how.

use ringway_rocketmq::{RocketError, RocketLog, RocketQueues};
use ringway_store::ports::{AppendError, EventLog as _, LogOffset};

use crate::harness::{Stack, open, queue_of, record};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_number_of_queues_is_refused() {
    let mut config = Stack::shared().topic("eight_queues");
    config.queues = 16;
    let expected = RocketError::Queues { topic: "eight_queues".to_owned(), expected: 16, found: 8 };
    assert_eq!(RocketLog::open(config.clone()).await.err(), Some(expected.clone()));
    assert_eq!(RocketQueues::open(config).await.err(), Some(expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_not_there_is_not_made() {
    let config = Stack::shared().config("not_there");
    let log = RocketLog::open(config.clone()).await.unwrap();
    let AppendError::Unavailable(why) = log.append(vec![record(1, "x")]).await.unwrap_err() else { panic!("away") };
    assert!(why.contains("not_there"), "{why}");
    log.close().await;
    assert!(matches!(RocketQueues::open(config).await.err(), Some(RocketError::Unavailable(_))));
    Stack::shared().servers.queues("not_there").unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_the_brokers_limit_is_taken_and_one_above_it_is_not() {
    let config = Stack::shared().topic("large_records");
    let largest = config.record_bytes_max;
    let (log, queues) = open(&config).await;
    let error = log.append(vec![record(1, &"x".repeat(largest + 1)), record(2, "beside it")]).await.unwrap_err();
    assert!(matches!(error, AppendError::Full(_)), "{error}");
    log.append(vec![record(1, &"x".repeat(largest)), record(2, "")]).await.unwrap();
    let queue = queue_of(&queues, 1);
    queue.wait_for(LogOffset(0)).await.unwrap();
    assert_eq!(queue.read(LogOffset(0), 10, 10).await.unwrap()[0].bytes.len(), largest);
    let beside = queue_of(&queues, 2);
    beside.wait_for(LogOffset(0)).await.unwrap();
    let records = beside.read(LogOffset(0), 10, 10).await.unwrap();
    assert_eq!((records.len(), records[0].bytes.len()), (1, 0), "nothing of the refused call was written");
    log.close().await;
    queues.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_records_is_answered() {
    let log = RocketLog::open(Stack::shared().topic("no_records")).await.unwrap();
    log.append(Vec::new()).await.unwrap();
    assert_eq!(log.counts().batches, 0);
    log.close().await;
}
