//! Measures the event log over a RocketMQ of its own: what an append takes and how many records share a batch, at a
//! given rate, and how fast the queues are read. `cargo run -p ringway-rocketmq --example measure_rocketmq
//! [appends a second] [seconds] [bytes]`; a rate of 0 is as fast as 256 senders go.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a tool for one's own terminal")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringway_rocketmq::{RocketConfig, RocketLog, RocketQueues};
use ringway_stack::{Folder, RocketMq};
use ringway_store::ports::{EventLog as _, LogOffset, NewRecord};
use tokio::task::JoinSet;

const SENDERS: u64 = 256;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().unwrap());
    let rate = arguments.next().unwrap_or(3_000);
    let seconds = arguments.next().unwrap_or(10);
    let bytes = arguments.next().unwrap_or(256);
    let folder = Folder::new().unwrap();
    let servers = RocketMq::start(folder.path()).unwrap();
    let config = RocketConfig::new(vec![servers.namesrv()]);
    let log = Arc::new(RocketLog::open(config.clone()).await.unwrap());
    let payload = bytes::Bytes::from(vec![b'x'; usize::try_from(bytes).unwrap()]);
    // The broker's code is compiled while it runs.
    spend(&log, &payload, 0, Duration::from_secs(5)).await;

    let before = log.counts();
    let began = Instant::now();
    let mut took = spend(&log, &payload, rate, Duration::from_secs(seconds)).await;
    let elapsed = began.elapsed().as_secs_f64();
    let after = log.counts();
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let (records, batches) = (after.records - before.records, after.batches - before.batches);
    println!("{rate}/s asked for, {:.0}/s done, {bytes} B, 8 queues", records as f64 / elapsed);
    println!("append p50 {:?}, p99 {:?}, longest {:?}", at(0.5), at(0.99), at(1.0));
    println!("{:.1} records a batch, {:.0} batches/s", records as f64 / batches as f64, batches as f64 / elapsed);

    let queues = RocketQueues::open(config).await.unwrap();
    let (began, mut read) = (Instant::now(), 0);
    for queue in queues.queues() {
        let mut next = LogOffset(0);
        loop {
            let page = queue.read(next, 4_096, 4 * 1024 * 1024).await.unwrap();
            let Some(last) = page.last() else { break };
            next = LogOffset(last.offset.0 + 1);
            read += page.len();
        }
    }
    println!("read {read} records one queue after the other, {:.0}/s", read as f64 / began.elapsed().as_secs_f64());
    queues.close().await;
    log.close().await;
}

/// Appends one record at a time, open loop: each is timed from the moment it was due. A rate of 0: closed loop.
async fn spend(log: &Arc<RocketLog>, payload: &bytes::Bytes, rate: u64, time: Duration) -> Vec<Duration> {
    let (mut senders, end) = (JoinSet::new(), Instant::now() + time);
    for sender in 0..SENDERS {
        let (log, payload) = (Arc::clone(log), payload.clone());
        let every = (rate > 0).then(|| Duration::from_secs_f64(SENDERS as f64 / rate as f64));
        let start = Instant::now() + every.unwrap_or_default().mul_f64(sender as f64 / SENDERS as f64);
        senders.spawn(async move {
            let (mut took, mut due) = (Vec::new(), start);
            while due < end {
                tokio::time::sleep_until(due.into()).await;
                log.append(vec![NewRecord { key: sender, bytes: payload.clone() }]).await.unwrap();
                took.push(due.elapsed());
                due = every.map_or_else(Instant::now, |every| due + every);
            }
            took
        });
    }
    senders.join_all().await.into_iter().flatten().collect()
}
