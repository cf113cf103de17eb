//! Senders, one a key, that try each record again until it is acknowledged; and what must be in the queues then.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use ringway_rocketmq::{RocketLog, RocketQueues};
use ringway_store::ports::{AppendError, EventLog as _, LogOffset, NewRecord};
use tokio::task::JoinSet;

use crate::harness::QUEUES;

/// One sender's side.
#[derive(Debug, Default)]
struct Sender {
    acknowledged: AtomicU64,
}

/// What all senders have seen.
#[derive(Debug)]
pub(crate) struct History {
    senders: BTreeMap<u64, Sender>,
    failures: AtomicU64,
    /// The longest call, in milliseconds.
    longest_ms: AtomicU64,
    stop: AtomicBool,
}

impl History {
    /// So many senders, each with a key of its own.
    pub(crate) fn new(senders: u64) -> Arc<Self> {
        Arc::new(Self {
            senders: (0..senders).map(|key| (key, Sender::default())).collect(),
            failures: AtomicU64::new(0),
            longest_ms: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        })
    }

    /// Records acknowledged so far.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.senders.values().map(|sender| sender.acknowledged.load(SeqCst)).sum()
    }

    /// Calls that failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(SeqCst)
    }

    /// How long the longest call took.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.longest_ms.load(SeqCst))
    }

    /// Lets all senders send while the work goes on, and then until each has its record in hand acknowledged.
    pub(crate) async fn run(self: &Arc<Self>, log: &Arc<RocketLog>, work: impl AsyncFnOnce(&Self)) {
        let sending = async {
            let mut senders = JoinSet::new();
            for key in self.senders.keys().copied() {
                senders.spawn(Arc::clone(self).send(Arc::clone(log), key));
            }
            while let Some(ended) = senders.join_next().await {
                ended.unwrap();
            }
        };
        let working = async {
            work(self).await;
            self.stop.store(true, SeqCst);
        };
        tokio::join!(sending, working);
    }

    async fn send(self: Arc<Self>, log: Arc<RocketLog>, key: u64) {
        let sender = &self.senders[&key];
        let mut number = 0;
        let mut last_try = false;
        while !self.stop.load(SeqCst) || last_try {
            // One to three records a call.
            let next = number + 1 + number % 3;
            let records: Vec<NewRecord> =
                (number..next).map(|number| NewRecord { key, bytes: format!("{key} {number}").into() }).collect();
            let began = Instant::now();
            let answer = log.append(records).await;
            self.longest_ms.fetch_max(u64::try_from(began.elapsed().as_millis()).unwrap(), SeqCst);
            last_try = answer.is_err();
            match answer {
                Ok(()) => {
                    number = next;
                    sender.acknowledged.store(number, SeqCst);
                }
                Err(AppendError::Unavailable(_)) => {
                    self.failures.fetch_add(1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    /// Reads all queues: every acknowledged record is there, and first occurrences are in order. Answers how many
    /// records are there a second time.
    pub(crate) async fn check(&self, queues: &RocketQueues) -> u64 {
        let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
        let mut repeats = 0;
        for (index, queue) in queues.queues().into_iter().enumerate() {
            let mut next = LogOffset(0);
            loop {
                let page = queue.read(next, 500, 100_000).await.unwrap();
                let Some(last) = page.last() else { break };
                next = LogOffset(last.offset.0 + 1);
                for record in page {
                    let text = String::from_utf8(record.bytes.to_vec()).unwrap();
                    let (key, number) = text.split_once(' ').unwrap();
                    let (key, number): (u64, u64) = (key.parse().unwrap(), number.parse().unwrap());
                    assert_eq!(usize::try_from(key % u64::from(QUEUES)).unwrap(), index);
                    let expected = seen.entry(key).or_default();
                    assert!(number <= *expected, "key {key}: {number} comes before {expected}, or that is lost");
                    if number == *expected { *expected += 1 } else { repeats += 1 }
                }
            }
        }
        for (key, sender) in &self.senders {
            let acknowledged = sender.acknowledged.load(SeqCst);
            let found = seen.get(key).copied().unwrap_or(0);
            assert!(found >= acknowledged, "key {key}: {acknowledged} were acknowledged and {found} are there");
        }
        repeats
    }
}
