//! The suites of the port, and what else holds while all is well.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_rocketmq::RocketQueues;
use ringway_store::conformance::event_log::{self, KEY};
use ringway_store::ports::{EventLog as _, LogOffset, LogReadError};

use crate::harness::{Stack, open, queue_of, record, until};
use crate::history::History;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_its_queues_conform() {
    let (log, queues) = open(&Stack::shared().topic("conforms")).await;
    let queue = queue_of(&queues, KEY);
    event_log::appends_and_reads(&*log, &*queue).await;
    event_log::wakes_a_waiter(&*log, &*queue).await;
    log.close().await;
    queues.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_senders_keep_their_orders_over_all_queues() {
    let (log, queues) = open(&Stack::shared().topic("many_senders")).await;
    let history = History::new(24);
    history
        .run(&log, async |history| {
            until("five thousand appends", async || history.acknowledged() > 5_000).await;
        })
        .await;
    assert_eq!(history.failures(), 0);
    assert_eq!(history.check(&queues).await, 0, "nothing is there twice");
    let counts = log.counts();
    assert!(counts.records > counts.batches, "what comes while a batch is under way shares the next: {counts:?}");
    log.close().await;
    queues.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_waiter_is_woken_soon_and_others_sleep_on() {
    let (log, queues) = open(&Stack::shared().topic("wakes_soon")).await;
    let (queue, other) = (queue_of(&queues, 3), queue_of(&queues, 4));
    let sleeper = tokio::spawn(async move { other.wait_for(LogOffset(0)).await });
    let mut took = Vec::new();
    for number in 0..10 {
        let waiting = Arc::clone(&queue);
        let waiter = tokio::spawn(async move {
            waiting.wait_for(LogOffset(number)).await.unwrap();
            Instant::now()
        });
        log.append(vec![record(3, "wake up")]).await.unwrap();
        let appended = Instant::now();
        took.push(waiter.await.unwrap().saturating_duration_since(appended));
    }
    took.sort_unstable();
    println!("from the acknowledgement to the waiter, shortest to longest: {took:?}");
    assert!(took[5] < Duration::from_millis(200), "no waiter asks only now and then: {took:?}");
    assert!(!sleeper.is_finished());
    log.close().await;
    queues.close().await;
    assert!(matches!(sleeper.await.unwrap(), Err(LogReadError::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_consumed_is_visible_to_operators_and_never_steps_back() {
    let config = Stack::shared().topic("committed");
    let (log, queues) = open(&config).await;
    log.append((0..20).map(|number| record(5, &number.to_string())).collect()).await.unwrap();
    let queue = queue_of(&queues, 5);
    queue.wait_for(LogOffset(19)).await.unwrap();
    assert_eq!(queue.read(LogOffset(0), 100, 10_000).await.unwrap().len(), 20);
    assert_eq!(queues.committed().await.unwrap(), [None; 8]);
    queue.release(LogOffset(12));
    until("the commit", async || queues.committed().await.unwrap()[5] == Some(LogOffset(12))).await;
    queue.release(LogOffset(7));
    // A close tells the broker at once.
    queue.release(LogOffset(13));
    queues.close().await;
    let others = RocketQueues::open(config).await.unwrap();
    assert_eq!(others.committed().await.unwrap()[5], Some(LogOffset(13)));
    assert_eq!(queue_of(&others, 5).end(), LogOffset(20), "the end is known from the start");
    others.close().await;
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_answers_what_waits_and_ends_the_threads() {
    // Threads are named after the topic.
    let threads = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        tasks
            .filter(|task| {
                let name =
                    task.as_ref().map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
                name.is_ok_and(|name| name.starts_with("rmq-ends_with"))
            })
            .count()
    };
    let (log, queues) = open(&Stack::shared().topic("ends_with_close")).await;
    log.append(vec![record(1, "one")]).await.unwrap();
    assert!(threads() >= 2);
    let began = Instant::now();
    log.close().await;
    queues.close().await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    let closed = log.append(vec![record(1, "two")]).await.unwrap_err();
    assert_eq!(closed.to_string(), "event log is closed");
    assert!(matches!(queue_of(&queues, 1).read(LogOffset(0), 1, 1).await, Err(LogReadError::Closed)));
    until("the end of all threads", async || threads() == 0).await;
}
