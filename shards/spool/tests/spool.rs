//! The spool over a real journal, before a remote log that fails on demand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod remote;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;
use remote::{Answer, Remote};
use ringway_spool::{OnUnavailable, OpenError, SpoolConfig, SpooledLog};
use ringway_store::ports::{AppendError, EventLog, NewRecord};

/// How long anything is waited for.
const WAIT: Duration = Duration::from_secs(30);

fn config(folder: &Path) -> SpoolConfig {
    SpoolConfig {
        spool_after_ms: 20,
        probe_ms: 5,
        forward_timeout_ms: 40,
        segment_bytes: 64 * 1024,
        ..SpoolConfig::new(folder)
    }
}

/// Opens a spool; the journal of one that was killed may take a moment to let its folder go.
async fn open(remote: &Arc<Remote>, config: SpoolConfig) -> SpooledLog {
    let deadline = Instant::now() + WAIT;
    loop {
        match SpooledLog::open(remote.clone(), config.clone()).await {
            Ok(log) => return log,
            Err(OpenError::Journal(ringway_journal::OpenError::Locked(_))) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn record(key: u64, n: u64) -> NewRecord {
    NewRecord { key, bytes: Bytes::from(format!("{key}/{n}")) }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.unwrap_or_else(|_| panic!("{what} takes longer than {WAIT:?}"))
}

async fn drained(log: &SpooledLog) {
    within("draining", log.drained()).await;
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(what, poll).await;
}

#[tokio::test]
async fn appends_go_direct_while_the_remote_log_answers() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Takes);
    let log = open(&remote, config(folder.path())).await;
    drained(&log).await;
    for n in 0..10 {
        log.append(vec![record(1, n), record(2, n)]).await.unwrap();
    }
    log.append(Vec::new()).await.unwrap();
    assert_eq!(remote.of(1), (0..10).collect::<Vec<_>>());
    let stats = log.stats();
    assert_eq!((stats.spooled, stats.fallbacks, stats.spooling), (0, 0, false));
    log.close().await;
    assert!(matches!(log.append(vec![record(1, 10)]).await, Err(AppendError::Closed)));
}

#[tokio::test]
async fn what_comes_while_it_is_away_follows_in_order_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    for away in [Answer::Refuses, Answer::Silent, Answer::TakesAndFails] {
        let remote = Remote::new(Answer::Takes);
        let log = open(&remote, config(&folder.path().join(format!("{away:?}")))).await;
        log.append(vec![record(1, 0)]).await.unwrap();
        remote.answers(away);
        for n in 1..40 {
            log.append(vec![record(1, n)]).await.unwrap();
        }
        assert!(log.is_spooling());
        let stats = log.stats();
        assert!(stats.spooled == 39 && stats.records > 0 && stats.bytes > stats.records, "{stats:?}");
        remote.answers(Answer::Takes);
        drained(&log).await;
        log.append(vec![record(1, 40)]).await.unwrap();
        assert_eq!(remote.of(1), (0..=40).collect::<Vec<_>>(), "{away:?}");
        let stats = log.stats();
        assert_eq!((stats.records, stats.forwarded, stats.fallbacks, stats.oldest_age_ms), (0, 39, 1, 0));
        assert!(stats.text().contains("\nringway_spool_forwarded_total 39\n"), "{}", stats.text());
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_direct_again_while_many_append() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Refuses);
    let log = Arc::new(open(&remote, config(folder.path())).await);
    let writer = |key: u64| {
        let (log, remote) = (log.clone(), remote.clone());
        tokio::spawn(async move {
            let mut n = 0;
            // Until the way was open for a while; nobody stops for the change.
            while remote.direct_since_back() < 200 {
                log.append(vec![record(key, n)]).await.unwrap();
                n += 1;
                if key == 0 && n == 100 {
                    remote.answers(Answer::Takes);
                }
                if key == 0 && n > 100 && !log.is_spooling() {
                    remote.count_direct();
                }
            }
            n
        })
    };
    let writers: Vec<_> = (0..8).map(writer).collect();
    for (key, writer) in writers.into_iter().enumerate() {
        let count = within("writing", writer).await.unwrap();
        assert_eq!(remote.of(key as u64), (0..count).collect::<Vec<_>>());
    }
    assert!(!log.is_spooling());
    log.close().await;
}

#[tokio::test]
async fn a_late_call_is_not_overtaken_by_a_later_one_of_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Silent);
    let log = open(&remote, config(folder.path())).await;
    let first = log.append(vec![record(1, 0), record(2, 0)]);
    let second = async {
        // The first is under way, without an answer; this one would be answered.
        remote.asked(1).await;
        remote.answers(Answer::Takes);
        log.append(vec![record(2, 1), record(3, 1)]).await
    };
    let (first, second) = within("appending", async { tokio::join!(first, second) }).await;
    first.and(second).unwrap();
    drained(&log).await;
    assert_eq!((remote.of(1), remote.of(2), remote.of(3)), (vec![0], vec![0, 1], vec![1]));
    log.close().await;
}

#[tokio::test]
async fn a_dropped_call_keeps_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Silent);
    let log = open(&remote, config(folder.path())).await;
    {
        let mut dropped = log.append(vec![record(1, 0)]);
        tokio::select! {
            biased;
            _ = &mut dropped => panic!("it has no answer yet"),
            () = remote.asked(1) => {}
        }
    }
    log.append(vec![record(1, 1)]).await.unwrap();
    remote.answers(Answer::Takes);
    drained(&log).await;
    assert_eq!(remote.of(1), [0, 1]);
    log.close().await;
}

#[test]
fn what_a_killed_run_has_left_is_forwarded_first_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Refuses);
    let run = |work: &dyn Fn(&tokio::runtime::Runtime, SpooledLog)| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
        let log = runtime.block_on(open(&remote, config(folder.path())));
        work(&runtime, log);
        runtime.shutdown_background();
    };
    run(&|runtime, log| {
        for n in 0..300 {
            runtime.block_on(log.append(vec![record(1, n)])).unwrap();
        }
        // Killed: nobody closes it.
        drop(log);
    });
    run(&|runtime, log| {
        assert!(log.is_spooling());
        assert_eq!(log.stats().records, 300);
        runtime.block_on(log.append(vec![record(1, 300)])).unwrap();
        remote.answers(Answer::Takes);
        runtime.block_on(drained(&log));
        runtime.block_on(log.append(vec![record(1, 301)])).unwrap();
    });
    assert_eq!(remote.of(1), (0..302).collect::<Vec<_>>());
    let taken = remote.taken();
    run(&|runtime, log| {
        assert!(!log.is_spooling(), "nothing is left");
        assert_eq!(log.stats().records, 0);
        runtime.block_on(log.close());
    });
    assert_eq!(remote.taken(), taken, "nothing is forwarded twice");
}

#[tokio::test]
async fn a_full_spool_refuses_with_its_reason_and_takes_more_when_it_is_drained() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Refuses);
    let log = open(&remote, SpoolConfig { bytes_max: 256 * 1024, ..config(folder.path()) }).await;
    let large = |n: u64| NewRecord { key: 1, bytes: Bytes::from(format!("1/{n}/{}", "x".repeat(8_000))) };
    let mut taken = 0;
    let refused = loop {
        match log.append(vec![large(taken)]).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(taken > 10, "{taken}");
    let AppendError::Full(why) = refused else { panic!("{refused}") };
    assert!(why.contains("queue is away") && why.contains("262144"), "{why}");
    assert_eq!(log.stats().refused, 1);
    remote.answers(Answer::Takes);
    drained(&log).await;
    log.append(vec![large(taken)]).await.unwrap();
    assert_eq!(remote.of(1), (0..=taken).collect::<Vec<_>>());
    log.close().await;
}

#[tokio::test]
async fn a_spool_that_has_waited_too_long_refuses_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Refuses);
    let log = open(&remote, SpoolConfig { age_max_ms: 30, ..config(folder.path()) }).await;
    log.append(vec![record(1, 0)]).await.unwrap();
    until("ageing", || log.stats().oldest_age_ms > 30).await;
    let refused = log.append(vec![record(1, 1)]).await.unwrap_err();
    assert!(matches!(&refused, AppendError::Full(why) if why.contains("held records for")), "{refused}");
    remote.answers(Answer::Takes);
    drained(&log).await;
    log.append(vec![record(1, 2)]).await.unwrap();
    assert_eq!(remote.of(1), [0, 2]);
    log.close().await;
}

#[tokio::test]
async fn with_refuse_an_append_is_refused_and_what_was_left_is_forwarded() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Refuses);
    let log = open(&remote, config(folder.path())).await;
    log.append(vec![record(1, 0)]).await.unwrap();
    log.close().await;
    let refuse = SpoolConfig { on_unavailable: OnUnavailable::Refuse, ..config(folder.path()) };
    let log = open(&remote, refuse).await;
    assert!(matches!(log.append(vec![record(1, 1)]).await, Err(AppendError::Unavailable(_))));
    remote.answers(Answer::Takes);
    drained(&log).await;
    log.append(vec![record(1, 2)]).await.unwrap();
    remote.answers(Answer::Refuses);
    assert!(matches!(log.append(vec![record(1, 3)]).await, Err(AppendError::Unavailable(_))));
    assert_eq!(log.stats().spooled, 0);
    assert_eq!(remote.of(1), [0, 2]);
    log.close().await;
}

#[tokio::test]
async fn a_remote_log_that_is_full_is_not_away() {
    let folder = tempfile::tempdir().unwrap();
    let remote = Remote::new(Answer::Full);
    let log = open(&remote, config(folder.path())).await;
    assert!(matches!(log.append(vec![record(1, 0)]).await, Err(AppendError::Full(_))));
    assert!(!log.is_spooling());
    // What is spooled already waits until it has room.
    remote.answers(Answer::Refuses);
    log.append(vec![record(1, 1)]).await.unwrap();
    remote.answers(Answer::Full);
    log.append(vec![record(1, 2)]).await.unwrap();
    remote.answers(Answer::Takes);
    drained(&log).await;
    assert_eq!(remote.of(1), [1, 2]);
    log.close().await;
}

#[tokio::test]
async fn a_journal_that_is_no_spool_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _) = ringway_journal::Journal::open(ringway_journal::JournalConfig::new(folder.path())).unwrap();
    journal.append(vec![Bytes::from_static(b"something else")]).await.unwrap();
    journal.close().await;
    let remote = Remote::new(Answer::Takes);
    let opened = SpooledLog::open(remote, config(folder.path())).await;
    assert!(matches!(opened, Err(OpenError::Foreign(0))));
}

/// One step of a random run.
#[derive(Debug, Clone)]
enum Step {
    /// One call, with so many records of each key.
    Append(Vec<(u64, usize)>),
    /// The remote log behaves otherwise from now on.
    Answers(Answer),
    /// Whatever is under way may go on.
    Pause(u64),
    /// All calls so far are answered.
    Settle,
    /// The process is killed.
    Kill,
}

fn step() -> impl Strategy<Value = Step> {
    let append = prop::collection::vec((0..4_u64, 1..4_usize), 1..4).prop_map(Step::Append);
    prop_oneof![
        12 => append,
        4 => remote::answer().prop_map(Step::Answers),
        3 => (0..25_u64).prop_map(Step::Pause),
        2 => Just(Step::Settle),
        1 => Just(Step::Kill),
    ]
}

type Call = tokio::task::JoinHandle<Result<(), AppendError>>;

/// Calls made, and the records that were acknowledged.
#[derive(Default)]
struct Run {
    next: [u64; 4],
    under_way: Vec<(Vec<(u64, u64)>, Call)>,
    acknowledged: Vec<(u64, u64)>,
}

impl Run {
    async fn call(&mut self, log: &Arc<SpooledLog>, keys: &[(u64, usize)]) {
        let mut records = Vec::new();
        for (key, count) in keys {
            for _ in 0..*count {
                let next = &mut self.next[*key as usize];
                records.push((*key, *next));
                *next += 1;
            }
        }
        let new: Vec<NewRecord> = records.iter().map(|(key, n)| record(*key, *n)).collect();
        let (called, is_called) = tokio::sync::oneshot::channel();
        let log = log.clone();
        let call = tokio::spawn(async move {
            let append = log.append(new);
            tokio::pin!(append);
            let mut called = Some(called);
            std::future::poll_fn(|context| {
                let answer = append.as_mut().poll(context);
                called.take().map(|called| called.send(()));
                answer
            })
            .await
        });
        // Calls are in the order in which they are first polled.
        is_called.await.unwrap();
        self.under_way.push((records, call));
    }

    async fn settle(&mut self) {
        for (records, call) in self.under_way.drain(..) {
            within("an answer", call).await.unwrap().unwrap();
            self.acknowledged.extend(records);
        }
    }

    /// What was under way is neither acknowledged nor refused.
    fn kill(&mut self) {
        self.under_way.clear();
    }
}

fn run(steps: &[Step], folder: &Path) {
    let remote = Remote::new(Answer::Takes);
    let mut run = Run::default();
    let lives: Vec<&[Step]> = steps.split(|step| matches!(step, Step::Kill)).collect();
    for (life, steps) in lives.iter().enumerate() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(async {
            let log = Arc::new(open(&remote, config(folder)).await);
            for step in *steps {
                match step {
                    Step::Append(keys) => run.call(&log, keys).await,
                    Step::Answers(answer) => remote.answers(*answer),
                    Step::Pause(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
                    Step::Settle => run.settle().await,
                    Step::Kill => unreachable!("it divides the lives"),
                }
            }
            if life + 1 == lives.len() {
                run.settle().await;
                remote.answers(Answer::Takes);
                drained(&log).await;
                log.close().await;
            }
        });
        run.kill();
        runtime.shutdown_background();
    }
    for key in 0..4 {
        let acknowledged: Vec<u64> = run.acknowledged.iter().filter(|(of, _)| *of == key).map(|(_, n)| *n).collect();
        let there: Vec<u64> = remote.of(key).into_iter().filter(|n| acknowledged.contains(n)).collect();
        assert_eq!(there, acknowledged, "key {key}: all that was acknowledged is there, in the order of the calls");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 60, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_lost_and_each_key_keeps_its_order(steps in prop::collection::vec(step(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        run(&steps, folder.path());
    }
}
