//! Which queues a topic has, and on which brokers.
//!
//! The queues are numbered over the list of (broker name, queue id), sorted: producers and consumers of all processes
//! see the same list whatever order a name server answers in.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rocketmq_protocol::protocol::route::topic_route_data::TopicRouteData;

use crate::config::RocketConfig;
use crate::connection::Connection;
use crate::error::{NoAnswer, RocketError};
use crate::limits::ROUTE_TIMEOUT_MS;
use crate::requests;
use crate::runtime::Runtime;
use std::sync::Arc;

const READABLE: u32 = 4;
const WRITABLE: u32 = 2;
/// A broker's id when it is the one that takes writes.
const PRIMARY: u64 = 0;

/// What the queues are wanted for; a broker may have taken one right away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Reading,
    Writing,
}

/// A queue's place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) broker: String,
    pub(crate) queue_id: i32,
}

/// A topic's queues, sorted, and the addresses of their brokers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Route {
    pub(crate) places: Vec<Place>,
    pub(crate) addresses: BTreeMap<String, String>,
}

/// The queue of a key, as an index of the sorted list.
pub(crate) fn queue_of(key: u64, queues: usize) -> usize {
    // The remainder is below the count, so both conversions keep the value.
    key.checked_rem(queues as u64).map_or(0, |index| index as usize)
}

impl Route {
    pub(crate) fn parse(data: &TopicRouteData, purpose: Purpose) -> Self {
        let mut route = Self::default();
        for queues in &data.queue_datas {
            let (count, right) = match purpose {
                Purpose::Reading => (queues.read_queue_nums, READABLE),
                Purpose::Writing => (queues.write_queue_nums, WRITABLE),
            };
            if queues.perm & right == 0 {
                continue;
            }
            for queue_id in 0..i32::try_from(count).unwrap_or(i32::MAX) {
                route.places.push(Place { broker: queues.broker_name.to_string(), queue_id });
            }
        }
        route.places.sort_unstable();
        route.places.dedup();
        for broker in &data.broker_datas {
            if let Some(address) = broker.broker_addrs().get(&PRIMARY) {
                route.addresses.insert(broker.broker_name().to_string(), address.to_string());
            }
        }
        route
    }

    /// Fails unless the topic has as many queues as are configured.
    pub(crate) fn check(&self, config: &RocketConfig) -> Result<(), RocketError> {
        let (topic, expected, found) = (config.topic.clone(), config.queues, self.places.len());
        if found == expected { Ok(()) } else { Err(RocketError::Queues { topic, expected, found }) }
    }
}

/// The name servers: any of them will do.
pub(crate) struct NameServers {
    connections: Vec<Connection>,
    /// The one that answered last.
    current: AtomicUsize,
}

impl NameServers {
    pub(crate) fn new(runtime: &Arc<Runtime>, config: &RocketConfig) -> Self {
        let connect = |address: &String| Connection::new(runtime, config.credentials.clone(), address);
        Self { connections: config.name_servers.iter().map(connect).collect(), current: AtomicUsize::new(0) }
    }

    /// A topic's route, from the first name server that knows it.
    pub(crate) async fn route(&self, topic: &str, purpose: Purpose) -> Result<Route, NoAnswer> {
        let count = self.connections.len();
        let start = self.current.load(Ordering::Relaxed);
        let mut failed = NoAnswer("there is no name server".to_owned());
        for index in (0..count).map(|step| (start + step) % count) {
            let Some(connection) = self.connections.get(index) else { continue };
            let answer = connection.call(requests::route(topic), Duration::from_millis(ROUTE_TIMEOUT_MS)).await;
            match answer.and_then(|answer| requests::read_route(&answer)) {
                Ok(data) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(Route::parse(&data, purpose));
                }
                Err(error) => failed = NoAnswer(format!("route of {topic}: {error}")),
            }
        }
        Err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &[u8] = br#"{"brokerDatas":[
        {"brokerAddrs":{0:"10.0.0.2:10911",1:"10.0.0.3:10911"},"brokerName":"b","cluster":"c","enableActingMaster":false},
        {"brokerAddrs":{1:"10.0.0.5:10911"},"brokerName":"a","cluster":"c","enableActingMaster":false}],
        "filterServerTable":{},"queueDatas":[
        {"brokerName":"b","perm":6,"readQueueNums":3,"topicSysFlag":0,"writeQueueNums":2},
        {"brokerName":"c","perm":4,"readQueueNums":1,"topicSysFlag":0,"writeQueueNums":1},
        {"brokerName":"a","perm":6,"readQueueNums":2,"topicSysFlag":0,"writeQueueNums":2}]}"#;

    fn parse(purpose: Purpose) -> Vec<(String, i32)> {
        let route = Route::parse(&TopicRouteData::decode(ROUTE).unwrap(), purpose);
        assert_eq!(route.addresses, BTreeMap::from([("b".to_owned(), "10.0.0.2:10911".to_owned())]));
        route.places.into_iter().map(|place| (place.broker, place.queue_id)).collect()
    }

    #[test]
    fn queues_are_listed_by_broker_and_id_as_far_as_they_may_be_used() {
        let of = |list: &[(&str, i32)]| list.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect::<Vec<_>>();
        assert_eq!(parse(Purpose::Writing), of(&[("a", 0), ("a", 1), ("b", 0), ("b", 1)]));
        assert_eq!(parse(Purpose::Reading), of(&[("a", 0), ("a", 1), ("b", 0), ("b", 1), ("b", 2), ("c", 0)]));
    }

    #[test]
    fn another_number_of_queues_is_refused_by_name() {
        let route = Route::parse(&TopicRouteData::decode(ROUTE).unwrap(), Purpose::Writing);
        let config = RocketConfig::new(Vec::new());
        let error = route.check(&config).unwrap_err();
        assert_eq!(error, RocketError::Queues { topic: "im_event".to_owned(), expected: 8, found: 4 });
        assert!(error.to_string().contains("has 4 queues and 8 are configured"));
    }

    #[test]
    fn every_key_has_a_queue_and_keeps_it() {
        assert_eq!(queue_of(7, 8), 7);
        assert_eq!(queue_of(u64::MAX, 8), 7);
        assert_eq!(queue_of(16, 8), 0);
        assert_eq!(queue_of(5, 0), 0, "no queue is no index; such a route is refused before");
    }
}
