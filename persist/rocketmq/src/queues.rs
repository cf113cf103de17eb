//! All queues of the topic, for consumers, and the one task that tells brokers what is consumed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ringway_store::ports::{LogOffset, LogQueue};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::broker::Brokers;
use crate::config::RocketConfig;
use crate::error::{NoAnswer, RocketError};
use crate::limits::{CLOSE_MS, COMMIT_MS, KEEP_ALIVE_MS};
use crate::queue::RocketQueue;
use crate::route::{NameServers, Purpose};
use crate::runtime::Runtime;

/// The queues of a topic. They read until [`RocketQueues::close`], or until this is dropped.
pub struct RocketQueues {
    runtime: Arc<Runtime>,
    queues: Vec<Arc<RocketQueue>>,
    closing: watch::Sender<bool>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl RocketQueues {
    /// Finds the topic's queues and asks where each ends.
    ///
    /// # Errors
    /// A setting makes no sense, the topic has another number of queues than configured, a broker's access control
    /// refuses us, or a server does not answer.
    pub async fn open(config: RocketConfig) -> Result<Self, RocketError> {
        config.check()?;
        let runtime = Runtime::start(&config)?;
        let opened = Self::open_on(Arc::clone(&runtime), Arc::new(config)).await;
        if opened.is_err() {
            runtime.close().await;
        }
        opened
    }

    async fn open_on(runtime: Arc<Runtime>, config: Arc<RocketConfig>) -> Result<Self, RocketError> {
        let unavailable = |why: NoAnswer| RocketError::Unavailable(why.to_string());
        let name_servers = NameServers::new(&runtime, &config);
        let route = name_servers.route(&config.topic, Purpose::Reading).await.map_err(unavailable)?;
        route.check(&config)?;
        let brokers = Brokers::new(&runtime, &config, &route);
        let closing = watch::Sender::new(false);
        let mut queues = Vec::new();
        for place in &route.places {
            let Some(broker) = brokers.get(&place.broker) else { continue };
            let name = format!("{}/{}/{}", config.topic, place.broker, place.queue_id);
            let queue = RocketQueue::new(&config, name, place.queue_id, Arc::clone(broker), closing.subscribe());
            queue.learn_end().await?;
            queues.push(Arc::new(queue));
        }
        let committer = Committer { config, name_servers, brokers, queues: queues.clone() };
        let committer = tokio::spawn(committer.run(closing.subscribe()));
        Ok(Self { runtime, queues, closing, committer: Mutex::new(Some(committer)) })
    }

    /// All queues, in the order of [`RocketConfig::queues`]: the queue of a key is `key` modulo their number.
    #[must_use]
    pub fn queues(&self) -> Vec<Arc<dyn LogQueue>> {
        self.queues.iter().map(|queue| Arc::clone(queue) as Arc<dyn LogQueue>).collect()
    }

    /// What each broker was told is consumed, by whichever process, in the order of the queues; none: nothing yet.
    ///
    /// # Errors
    /// A broker does not answer.
    pub async fn committed(&self) -> Result<Vec<Option<LogOffset>>, RocketError> {
        let mut list = Vec::new();
        for queue in &self.queues {
            let committed = queue.ask_committed().await;
            list.push(committed.map_err(|why| RocketError::Unavailable(why.to_string()))?.map(LogOffset));
        }
        Ok(list)
    }

    /// Tells the brokers what is consumed, and ends all waits, tasks and threads.
    pub async fn close(&self) {
        self.closing.send_replace(true);
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(committer) = committer else { return };
        if let Err(error) = committer.await {
            tracing::error!(%error, "the committer of rocketmq offsets has failed");
        }
        self.runtime.close().await;
    }
}

impl Drop for RocketQueues {
    fn drop(&mut self) {
        self.closing.send_replace(true);
    }
}

/// Tells brokers what is consumed, and learns where they are.
struct Committer {
    config: Arc<RocketConfig>,
    name_servers: NameServers,
    brokers: Brokers,
    queues: Vec<Arc<RocketQueue>>,
}

impl Committer {
    async fn run(self, mut closing: watch::Receiver<bool>) {
        tokio::select! {
            () = self.keep() => {}
            // An error says that the queues were dropped.
            _ = closing.wait_for(|closing| *closing) => {}
        }
        let mut failing = false;
        let last = self.commit(&mut failing);
        if tokio::time::timeout(Duration::from_millis(CLOSE_MS), last).await.is_err() {
            tracing::debug!("consumed offsets were not told to the brokers before the close");
        }
    }

    async fn keep(&self) {
        let mut commits = tokio::time::interval(Duration::from_millis(COMMIT_MS));
        let mut routes = tokio::time::interval(Duration::from_millis(KEEP_ALIVE_MS));
        commits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        routes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                _ = commits.tick() => {
                    let failed = !self.commit(&mut failing).await;
                    if failed {
                        self.learn_addresses().await;
                    }
                }
                _ = routes.tick() => self.learn_addresses().await,
            }
        }
    }

    /// Whether all went well. Only the first of a row of failures is worth a warning: nothing depends on what a
    /// broker was told.
    async fn commit(&self, failing: &mut bool) -> bool {
        for queue in &self.queues {
            let Err(why) = queue.commit().await else { continue };
            if *failing {
                tracing::debug!(queue = queue.name, %why, "a consumed offset is not told to the broker");
            } else {
                tracing::warn!(queue = queue.name, %why, "a consumed offset is not told to the broker");
            }
            *failing = true;
            return false;
        }
        *failing = false;
        true
    }

    async fn learn_addresses(&self) {
        match self.name_servers.route(&self.config.topic, Purpose::Reading).await {
            Ok(route) => self.brokers.update(&route),
            Err(why) => tracing::debug!(%why, "brokers' addresses are not refreshed"),
        }
    }
}
