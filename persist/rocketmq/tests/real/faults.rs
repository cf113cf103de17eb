//! A broker that dies, stops, or is not there yet, under load.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_rocketmq::RocketLog;
use ringway_store::ports::{AppendError, EventLog as _, LogOffset, LogQueue, LogReadError};
use tokio::task::JoinHandle;

use crate::harness::{Stack, append_at_last, open, queue_of, record, until};
use crate::history::History;

/// Waits for a record that comes after the fault: an eighth of all are in its queue.
fn waiter(queue: Arc<dyn LogQueue>) -> JoinHandle<Result<(), LogReadError>> {
    tokio::spawn(async move { queue.wait_for(LogOffset(225)).await })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_nothing_acknowledged_and_is_used_again_soon() {
    let mut stack = Stack::start();
    let config = stack.config("im_event");
    let (log, queues) = open(&config).await;
    let waiter = waiter(queue_of(&queues, 15));
    let history = History::new(16);
    history
        .run(&log, async |history| {
            until("a thousand appends", async || history.acknowledged() > 1_000).await;
            assert!(!waiter.is_finished());
            tokio::task::block_in_place(|| stack.servers.broker.kill()).unwrap();
            until("failed calls", async || history.failures() > 16).await;
            // Far more tries than the client's breaker allows.
            until("six seconds without the broker", {
                let began = Instant::now();
                async move || began.elapsed() > Duration::from_secs(6)
            })
            .await;
            let (before, began) = (history.acknowledged(), Instant::now());
            tokio::task::block_in_place(|| stack.servers.broker.restart()).unwrap();
            let serves = began.elapsed();
            until("the first append after the restart", async || history.acknowledged() > before).await;
            let first = began.elapsed();
            println!("broker served {serves:?} after its start, appends went on after {first:?}");
            assert!(first < serves + Duration::from_secs(5), "{serves:?}, {first:?}");
            until("a thousand more", async || history.acknowledged() > before + 1_000).await;
        })
        .await;
    let repeats = history.check(&queues).await;
    println!("{} acknowledged, {repeats} of them twice, {} calls failed", history.acknowledged(), history.failures());
    waiter.await.unwrap().unwrap();
    assert!(log.is_available());
    log.close().await;
    queues.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_on_a_stopped_broker_fail_in_time_and_go_on_with_it() {
    let stack = Stack::start();
    let mut config = stack.config("im_event");
    config.send_timeout_ms = 1_000;
    let (log, queues) = open(&config).await;
    let waiter = waiter(queue_of(&queues, 15));
    let history = History::new(16);
    history
        .run(&log, async |history| {
            until("a thousand appends", async || history.acknowledged() > 1_000).await;
            assert!(!waiter.is_finished());
            stack.servers.broker.pause().unwrap();
            until("a failed call of each", async || history.failures() > 16).await;
            let stopped = history.acknowledged();
            assert!(!log.is_available());
            let began = Instant::now();
            let error = log.append(vec![record(1_000, "while it is away")]).await.unwrap_err();
            assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
            assert!(began.elapsed() < Duration::from_millis(200), "calls fail at once: {:?}", began.elapsed());
            until("four seconds of silence", async || began.elapsed() > Duration::from_secs(4)).await;
            assert_eq!(history.acknowledged(), stopped);
            stack.servers.broker.resume().unwrap();
            let began = Instant::now();
            until("appends that go on", async || history.acknowledged() > stopped + 1_000).await;
            println!("a thousand appends {:?} after the broker went on", began.elapsed());
            assert!(began.elapsed() < Duration::from_secs(10));
        })
        .await;
    assert!(history.longest() < Duration::from_millis(2_500), "{:?}", history.longest());
    let repeats = history.check(&queues).await;
    println!("{} acknowledged, {repeats} of them twice, {} calls failed", history.acknowledged(), history.failures());
    waiter.await.unwrap().unwrap();
    log.close().await;
    queues.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_opens_without_its_broker_and_finds_it_later() {
    let mut stack = Stack::start();
    stack.servers.broker.kill().unwrap();
    stack.servers.name_server.kill().unwrap();
    let log = RocketLog::open(stack.config("im_signal")).await.unwrap();
    let error = log.append(vec![record(1, "early")]).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable(_)), "{error}");
    assert!(!log.is_available());
    tokio::task::block_in_place(|| {
        stack.servers.name_server.restart().unwrap();
        stack.servers.broker.restart().unwrap();
    });
    append_at_last(&log, vec![record(1, "late")]).await;
    log.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_a_batch_without_an_answer_is_bounded_and_fails_with_it() {
    let stack = Stack::start();
    let mut config = stack.config("im_event");
    (config.send_timeout_ms, config.record_bytes_max) = (1_000, 400_000);
    config.queue_waiting_bytes_max = 1_000_000;
    let (log, queues) = open(&config).await;
    log.append(vec![record(1, "connects")]).await.unwrap();
    stack.servers.broker.pause().unwrap();
    let large = || log.append(vec![record(1, &"x".repeat(400_000))]);
    let began = Instant::now();
    let refused = async {
        // More than may ever wait: refused whatever is under way, and with it what it has for another queue.
        let more = || record(1, &"x".repeat(400_000));
        let mixed = log.append(vec![record(2, "has room"), more(), more(), more()]).await;
        assert!(matches!(mixed, Err(AppendError::Full(_))), "{mixed:?}");
        assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    };
    let waiting = async {
        // One batch is on its way at most, and two records wait.
        let (mut full, mut failed) = (0, 0);
        let (one, two, three, four, five) = tokio::join!(large(), large(), large(), large(), large());
        for answer in [one, two, three, four, five] {
            match answer {
                Err(AppendError::Full(_)) => full += 1,
                Err(AppendError::Unavailable(_)) => failed += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!((2..=3).contains(&full) && full + failed == 5, "{full} full, {failed} failed");
    };
    tokio::join!(waiting, refused);
    assert!(began.elapsed() < Duration::from_millis(2_000), "{:?}", began.elapsed());
    stack.servers.broker.resume().unwrap();
    append_at_last(&log, vec![record(1, "goes on")]).await;
    assert_eq!(log.counts().failures, 1, "one batch failed, and the others were never sent");
    let other = queue_of(&queues, 2);
    assert!(other.read(LogOffset(0), 10, 1_000).await.unwrap().is_empty(), "nothing of a refused call is written");
    log.close().await;
    queues.close().await;
}
