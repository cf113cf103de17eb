//! Measures numbering against a Redis server that it starts on this machine: µs a call and messages a second, by the
//! size of the batch, in one conversation and over many, by one caller and by several.
//! `cargo run --release -p ringway-redis --example measure_numbering [seconds of each]`
#![allow(clippy::unwrap_used, reason = "a tool for one's own terminal")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringway_engine::event::MessageEvent;
use ringway_redis::{RedisConfig, RedisState, Stores};
use ringway_stack::{Folder, RedisServer};
use ringway_store::ports::{ArchiveBatch, NumberedMessage, SharedState, Upkeep};
use ringway_store::sqlite::{Database, SqliteArchive};

/// Message ids and client message ids.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).map_or(2.0, |argument| argument.parse().unwrap());
    let folder = Folder::new().unwrap();
    let server = RedisServer::start(folder.path()).unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let archive = Arc::new(SqliteArchive::new(database.clone()));
    let database = Arc::new(database);
    let stores = Stores { epochs: database.clone(), records: database, archive };
    let config = RedisConfig::from_url(&server.url()).unwrap();
    let state = Arc::new(RedisState::open(config, stores).await.unwrap());
    println!("callers  batch  conversations   µs a call   messages/s");
    for callers in [1, 8] {
        for (batch, conversations) in [(1, 1), (16, 1), (128, 1), (16, 16), (128, 128)] {
            let limit = Duration::from_secs_f64(seconds);
            let runs = (0..callers).map(|caller| {
                let state = Arc::clone(&state);
                tokio::spawn(async move { run(&state, caller, batch, conversations, limit).await })
            });
            let (mut calls, mut spent) = (0, Duration::ZERO);
            for run in runs.collect::<Vec<_>>() {
                let (made, took) = run.await.unwrap();
                calls += made;
                spent += took;
            }
            let call_us = spent.as_secs_f64() * 1e6 / calls as f64;
            let rate = (calls * batch * callers) as f64 / spent.as_secs_f64();
            println!("{callers:7}  {batch:5}  {conversations:13}   {call_us:9.0}   {rate:10.0}");
        }
    }
    state.close().await;
}

/// Calls made and the time that they took. What they numbered is let go between them, untimed, as the daemon does.
async fn run(state: &RedisState, caller: u64, batch: u64, conversations: u64, limit: Duration) -> (u64, Duration) {
    let (mut calls, mut spent) = (0, Duration::ZERO);
    while spent < limit {
        let events: Vec<_> = (0..batch).map(|n| event(caller, n % conversations)).collect();
        let began = Instant::now();
        let numbers = state.number(&events).await.unwrap();
        spent += began.elapsed();
        calls += 1;
        let messages = events.into_iter().zip(numbers);
        let messages = messages.map(|(event, number)| NumberedMessage { event, epoch: number.epoch, seq: number.seq });
        state.archived(&ArchiveBatch { messages: messages.collect(), ..ArchiveBatch::default() }).await.unwrap();
    }
    (calls, spent)
}

fn event(caller: u64, conversation: u64) -> Arc<MessageEvent> {
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    Arc::new(MessageEvent {
        conv: format!("p2p:a{caller:02}-{conversation:03}:b").into(),
        msg_id: n,
        from: "b".into(),
        client_msg_id: format!("{n:032x}").into(),
        kind: "text".into(),
        body: "x".repeat(128),
        enc: "".into(),
        // So late that the epoch, which has just begun, is old to it: else each send is looked up in SQL too.
        ts_ms: now_ms + 700_000,
    })
}
