//! The event log, as gateways write to it.
//!
//! Thread: any; the tasks run on the runtime that opened the log. A dropped append may still be carried out.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use ringway_store::ports::{AppendError, EventLog, NewRecord};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::config::RocketConfig;
use crate::error::RocketError;
use crate::keeper;
use crate::lanes::Lanes;
use crate::route::NameServers;
use crate::runtime::Runtime;

/// What a log has done since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogCounts {
    /// Batches that brokers have acknowledged.
    pub batches: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
    /// Batches that failed.
    pub failures: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) batches: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) failures: AtomicU64,
}

/// What the log and its tasks share.
pub(crate) struct Shared {
    pub(crate) config: RocketConfig,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) name_servers: NameServers,
    /// Empty until the topic's queues are known.
    pub(crate) lanes: OnceLock<Arc<Lanes>>,
    /// Why they are not known yet.
    pub(crate) unready: Mutex<String>,
    pub(crate) counts: Counts,
    /// A broker was paused.
    pub(crate) alarm: Notify,
    pub(crate) closing: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn set_unready(&self, why: &str) {
        why.clone_into(&mut self.unready.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A topic of RocketMQ as an event log: appends go to the queue of their key, in order.
pub struct RocketLog {
    shared: Arc<Shared>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl RocketLog {
    /// Opens the log. When no name server can be asked, or the topic is not known yet, it opens all the same: appends
    /// fail as unavailable until the topic's queues are known.
    ///
    /// # Errors
    /// A setting makes no sense, the topic has another number of queues than configured, or a broker's access control
    /// refuses us.
    pub async fn open(config: RocketConfig) -> Result<Self, RocketError> {
        config.check()?;
        let runtime = Runtime::start(&config)?;
        let shared = Arc::new(Shared {
            name_servers: NameServers::new(&runtime, &config),
            config,
            runtime,
            lanes: OnceLock::new(),
            unready: Mutex::new(String::new()),
            counts: Counts::default(),
            alarm: Notify::new(),
            closing: watch::Sender::new(false),
        });
        match keeper::learn(&shared).await {
            Ok(()) => {}
            Err(RocketError::Unavailable(why)) => {
                tracing::warn!(topic = shared.config.topic, why, "rocketmq is not there yet; appends fail until it is");
                shared.set_unready(&why);
            }
            Err(error) => {
                shared.runtime.close().await;
                return Err(error);
            }
        }
        let keeper = tokio::spawn(keeper::run(Arc::clone(&shared)));
        Ok(Self { shared, keeper: Mutex::new(Some(keeper)) })
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> LogCounts {
        let Counts { batches, records, bytes, failures } = &self.shared.counts;
        LogCounts {
            batches: batches.load(Relaxed),
            records: records.load(Relaxed),
            bytes: bytes.load(Relaxed),
            failures: failures.load(Relaxed),
        }
    }

    /// Whether appends go to brokers now: the topic's queues are known, and no broker of theirs is away.
    #[must_use]
    pub fn is_available(&self) -> bool {
        let lanes = self.shared.lanes.get();
        lanes.is_some_and(|lanes| lanes.brokers.iter().all(|broker| broker.paused().is_none()))
    }

    /// Ends the log: batches on their way are waited for, what waits behind them is answered `Closed`, and all tasks
    /// and threads end.
    pub async fn close(&self) {
        self.shared.closing.send_replace(true);
        let keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(keeper) = keeper else { return };
        if let Err(error) = keeper.await {
            tracing::error!(%error, "the keeper of a rocketmq log has failed");
        }
        self.shared.runtime.close().await;
    }
}

impl Drop for RocketLog {
    fn drop(&mut self) {
        self.shared.closing.send_replace(true);
    }
}

#[async_trait]
impl EventLog for RocketLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<(), AppendError> {
        if *self.shared.closing.borrow() {
            return Err(AppendError::Closed);
        }
        let largest = self.shared.config.record_bytes_max;
        if let Some(record) = records.iter().find(|record| record.bytes.len() > largest) {
            let why = format!("a record of {} bytes is above the limit of {largest}", record.bytes.len());
            return Err(AppendError::Full(why));
        }
        let Some(lanes) = self.shared.lanes.get() else {
            let why = self.shared.unready.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(AppendError::Unavailable(why));
        };
        let mut result = Ok(());
        for answer in lanes.offer(records)? {
            // A ticket that was dropped without an answer went with its sender.
            let answer = answer.await.unwrap_or(Err(AppendError::Closed));
            if result.is_ok() {
                result = answer;
            }
        }
        result
    }
}
