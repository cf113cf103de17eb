//! A broker: its connection, and whether it is paused.
//!
//! ```text
//!   open ──a request has no answer──▶ paused (appends fail at once)
//!     ▲                                 │
//!     └──────── a probe is answered ────┘   asked at once, then every PROBE_MS
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rocketmq_protocol::RemotingCommand;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::RocketConfig;
use crate::connection::Connection;
use crate::error::{NoAnswer, RocketError};
use crate::limits::{PROBE_MS, PROBE_TIMEOUT_MS, READ_TIMEOUT_MS};
use crate::requests;
use crate::route::{Place, Route};
use crate::runtime::Runtime;

pub(crate) struct Broker {
    name: String,
    /// Any queue of it, to ask about.
    queue_id: i32,
    pub(crate) connection: Connection,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Why it is paused.
    paused: Option<String>,
    probed: Option<Instant>,
}

impl Broker {
    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Why nothing is to be sent to it now.
    pub(crate) fn paused(&self) -> Option<String> {
        self.with(|state| state.paused.clone())
    }

    /// A request had no answer; true when that is news.
    pub(crate) fn pause(&self, why: &NoAnswer) -> bool {
        let news = self.with(|state| state.paused.replace(why.to_string()).is_none());
        if news {
            tracing::warn!(broker = self.name, %why, "rocketmq broker does not answer; appends fail until it does");
        }
        news
    }

    /// When it is to be probed, as far as is known now: a broker that is not paused, never.
    pub(crate) fn probe_at(&self, now: Instant) -> Option<Instant> {
        self.with(|state| {
            state.paused.as_ref()?;
            Some(state.probed.map_or(now, |probed| probed + Duration::from_millis(PROBE_MS)))
        })
    }

    /// Asks it for a sign of life; an answer of any kind opens it, none pauses it.
    pub(crate) async fn probe(&self, topic: &str) {
        self.with(|state| state.probed = Some(Instant::now()));
        let timeout = Duration::from_millis(PROBE_TIMEOUT_MS);
        match self.connection.call(requests::end(topic, self.queue_id), timeout).await {
            // Whatever it says: it is there, and the next batch learns more.
            Ok(_) => {
                if self.with(|state| state.paused.take()).is_some() {
                    tracing::info!(broker = self.name, "rocketmq broker answers again");
                }
            }
            Err(why) => {
                self.pause(&why);
            }
        }
    }

    /// The refusal that an answer is, if its access control gave it.
    pub(crate) fn refusal(&self, answer: &RemotingCommand) -> Option<RocketError> {
        let why = requests::denial(answer)?.to_owned();
        Some(RocketError::Refused { broker: self.name.clone(), who: self.connection.who(), why })
    }

    /// Asks whether its access control lets us in; one that does not answer has not refused.
    async fn admits(&self, topic: &str) -> Result<(), RocketError> {
        let timeout = Duration::from_millis(READ_TIMEOUT_MS);
        match self.connection.call(requests::end(topic, self.queue_id), timeout).await {
            Ok(answer) => self.refusal(&answer).map_or(Ok(()), Err),
            Err(why) => {
                tracing::debug!(broker = self.name, %why, "whether a rocketmq broker admits us is not known yet");
                Ok(())
            }
        }
    }
}

/// The brokers of a route, by name.
pub(crate) struct Brokers {
    by_name: BTreeMap<String, Arc<Broker>>,
}

impl Brokers {
    pub(crate) fn new(runtime: &Arc<Runtime>, config: &RocketConfig, route: &Route) -> Self {
        let mut by_name = BTreeMap::new();
        for Place { broker: name, queue_id } in &route.places {
            by_name.entry(name.clone()).or_insert_with(|| {
                let address = route.addresses.get(name).map_or("", String::as_str);
                Arc::new(Broker {
                    name: name.clone(),
                    queue_id: *queue_id,
                    connection: Connection::new(runtime, config.credentials.clone(), address),
                    state: Mutex::default(),
                })
            });
        }
        Self { by_name }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Broker>> {
        self.by_name.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Broker>> {
        self.by_name.values()
    }

    /// Asks all of them whether they let us in.
    pub(crate) async fn admit(&self, topic: &str) -> Result<(), RocketError> {
        let mut asked = JoinSet::new();
        for broker in self.iter() {
            let (broker, topic) = (Arc::clone(broker), topic.to_owned());
            asked.spawn(async move { broker.admits(&topic).await });
        }
        while let Some(answer) = asked.join_next().await {
            answer.map_err(|error| RocketError::Unavailable(error.to_string()))??;
        }
        Ok(())
    }

    /// Learns new addresses. Which queues there are stays as it was: a broker that is away loses its routes.
    pub(crate) fn update(&self, route: &Route) {
        for broker in self.by_name.values() {
            if let Some(address) = route.addresses.get(&broker.name) {
                broker.connection.set_address(address);
            }
        }
    }
}
