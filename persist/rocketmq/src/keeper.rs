//! The keeper of a log: learns the topic's queues, starts a sender for each, and asks brokers that are away whether
//! they are back.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::broker::Brokers;
use crate::error::RocketError;
use crate::lanes::Lanes;
use crate::limits::{KEEP_ALIVE_MS, PROBE_MS};
use crate::log::Shared;
use crate::route::Purpose;
use crate::sender;

/// Learns the topic's queues, and whether their brokers let us in.
pub(crate) async fn learn(shared: &Shared) -> Result<(), RocketError> {
    let config = &shared.config;
    let route = shared.name_servers.route(&config.topic, Purpose::Writing).await;
    let route = route.map_err(|why| RocketError::Unavailable(why.to_string()))?;
    route.check(config)?;
    let brokers = Brokers::new(&shared.runtime, config, &route);
    brokers.admit(&config.topic).await?;
    // Only `open` and then the keeper call this, one after the other.
    shared.lanes.get_or_init(|| Arc::new(Lanes::new(config, brokers, &route)));
    Ok(())
}

/// Lives as long as the log.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    let mut senders = JoinSet::new();
    tokio::select! {
        () = keep(&shared, &mut senders) => {}
        // The sender of this flag lives in `shared`.
        _ = closing.wait_for(|closing| *closing) => {}
    }
    if let Some(lanes) = shared.lanes.get() {
        lanes.close();
    }
    while let Some(ended) = senders.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a sender of a rocketmq log has failed");
        }
    }
}

async fn keep(shared: &Arc<Shared>, senders: &mut JoinSet<()>) {
    while shared.lanes.get().is_none() {
        tokio::time::sleep(Duration::from_millis(PROBE_MS)).await;
        match learn(shared).await {
            Ok(()) => tracing::info!(topic = shared.config.topic, "the queues of a rocketmq topic are known"),
            Err(error) => {
                tracing::warn!(%error, "the queues of a rocketmq topic are not known yet");
                shared.set_unready(&error.to_string());
            }
        }
    }
    let Some(lanes) = shared.lanes.get() else { return };
    for index in 0..lanes.list.len() {
        senders.spawn(sender::run(Arc::clone(shared), Arc::clone(lanes), index));
    }
    let mut look_around = Instant::now() + Duration::from_millis(KEEP_ALIVE_MS);
    loop {
        let now = Instant::now();
        let next = lanes.brokers.iter().filter_map(|broker| broker.probe_at(now)).min();
        tokio::select! {
            () = tokio::time::sleep_until(next.unwrap_or(look_around).min(look_around)) => {}
            () = shared.alarm.notified() => continue,
        }
        let now = Instant::now();
        let all = now >= look_around;
        if all {
            look_around = now + Duration::from_millis(KEEP_ALIVE_MS);
        }
        let mut probes = JoinSet::new();
        for broker in lanes.brokers.iter().filter(|broker| all || broker.probe_at(now).is_some_and(|at| at <= now)) {
            let (broker, topic) = (Arc::clone(broker), shared.config.topic.clone());
            probes.spawn(async move { broker.probe(&topic).await });
        }
        while let Some(ended) = probes.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a probe of a rocketmq broker has failed");
            }
        }
        if all || next.is_some() {
            learn_addresses(shared, lanes).await;
        }
    }
}

/// A broker may have come back elsewhere.
async fn learn_addresses(shared: &Shared, lanes: &Lanes) {
    match shared.name_servers.route(&shared.config.topic, Purpose::Writing).await {
        Ok(route) => lanes.brokers.update(&route),
        Err(why) => tracing::debug!(%why, "brokers' addresses are not refreshed"),
    }
}
