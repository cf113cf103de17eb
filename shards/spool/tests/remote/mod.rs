//! A remote log in memory that fails on demand.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use proptest::prelude::*;
use ringway_store::ports::{AppendError, EventLog, NewRecord};
use tokio::sync::watch;

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// All is well.
    Takes,
    /// All is well, after some milliseconds; a caller that has gone does not keep it from taking.
    TakesLate(u64),
    /// It takes everything and says that it does not know.
    TakesAndFails,
    /// It takes the first records of a call only, and says that it does not know.
    TakesSome,
    /// It takes nothing.
    Refuses,
    /// It takes nothing and never answers.
    Silent,
    /// It takes nothing, and is not away.
    Full,
    /// Each of the first six in turn.
    Mixed,
}

/// What a log may do that is away or slow.
pub(crate) fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Takes),
        2 => (1..50_u64).prop_map(Answer::TakesLate),
        1 => Just(Answer::TakesAndFails),
        1 => Just(Answer::TakesSome),
        1 => Just(Answer::Refuses),
        1 => Just(Answer::Silent),
        2 => Just(Answer::Mixed),
    ]
}

pub(crate) struct Remote {
    records: Arc<Mutex<Vec<NewRecord>>>,
    answer: Mutex<Answer>,
    calls: watch::Sender<usize>,
    direct: AtomicUsize,
}

impl Remote {
    pub(crate) fn new(answer: Answer) -> Arc<Self> {
        let calls = watch::Sender::new(0);
        Arc::new(Self { records: Arc::default(), answer: Mutex::new(answer), calls, direct: AtomicUsize::new(0) })
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Returns once so many calls were made.
    pub(crate) async fn asked(&self, calls: usize) {
        self.calls.subscribe().wait_for(|made| *made >= calls).await.unwrap();
    }

    /// The numbers of a key's records, where each stands first.
    pub(crate) fn of(&self, key: u64) -> Vec<u64> {
        let mut first = BTreeMap::new();
        for (place, record) in self.records.lock().unwrap().iter().enumerate().filter(|(_, record)| record.key == key) {
            let text = std::str::from_utf8(&record.bytes).unwrap();
            let number: u64 = text.split('/').nth(1).unwrap().parse().unwrap();
            first.entry(number).or_insert(place);
        }
        let mut numbers: Vec<u64> = first.keys().copied().collect();
        numbers.sort_by_key(|number| first.get(number));
        numbers
    }

    /// How many records it has, repeats included.
    pub(crate) fn taken(&self) -> usize {
        self.records.lock().unwrap().len()
    }

    pub(crate) fn count_direct(&self) {
        self.direct.fetch_add(1, Relaxed);
    }

    pub(crate) fn direct_since_back(&self) -> usize {
        self.direct.load(Relaxed)
    }

    fn present_answer(&self) -> Answer {
        let mut made = 0;
        self.calls.send_modify(|calls| {
            made = *calls;
            *calls += 1;
        });
        let answer = *self.answer.lock().unwrap();
        if answer != Answer::Mixed {
            return answer;
        }
        let kinds = [
            Answer::Takes,
            Answer::Refuses,
            Answer::TakesLate(30),
            Answer::TakesSome,
            Answer::TakesAndFails,
            Answer::Takes,
            Answer::Silent,
        ];
        *kinds.get(made % kinds.len()).unwrap()
    }
}

#[async_trait]
impl EventLog for Remote {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), AppendError> {
        let unknown = || Err(AppendError::Unavailable("away".to_owned()));
        let take = |records: Vec<NewRecord>| self.records.lock().unwrap().extend(records);
        match self.present_answer() {
            Answer::Takes => {
                tokio::task::yield_now().await;
                take(records);
                Ok(())
            }
            Answer::TakesLate(ms) => {
                let all = Arc::clone(&self.records);
                let late = tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    all.lock().unwrap().extend(records);
                });
                late.await.map_err(|_| AppendError::Closed)
            }
            Answer::TakesAndFails => {
                take(records);
                unknown()
            }
            Answer::TakesSome => {
                let some = records.len() / 2;
                take(records.into_iter().take(some).collect());
                unknown()
            }
            Answer::Refuses => unknown(),
            Answer::Silent => std::future::pending().await,
            Answer::Full => Err(AppendError::Full("no room".to_owned())),
            Answer::Mixed => unreachable!("it is one of the others"),
        }
    }
}
