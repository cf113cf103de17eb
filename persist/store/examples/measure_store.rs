//! Measures the archive on this machine: messages a second in bulk commits, and how long a start takes on
//! what was written. `cargo run --release --example measure_store [messages] [conversations] [batch] [ordered]`;
//! `ordered` 1: client message ids that rise with time, 0 (default): random ones, the worst case.
#![allow(clippy::unwrap_used, reason = "a tool for one's own terminal")]

use std::sync::Arc;
use std::time::Instant;

use ringway_engine::event::MessageEvent;
use ringway_store::embedded::EmbeddedState;
use ringway_store::ports::{Archive, ArchiveBatch, LogOffset, NumberedMessage, SharedState, Upkeep};
use ringway_store::sqlite::{Database, SqliteArchive};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u64>().unwrap());
    let total = arguments.next().unwrap_or(1_000_000);
    let conversations = arguments.next().unwrap_or(50);
    let batch = arguments.next().unwrap_or(4_096);
    let ordered = arguments.next().unwrap_or(0) == 1;
    let folder = tempfile::tempdir_in(".").unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let archive = SqliteArchive::new(database.clone());
    let state = EmbeddedState::open(database.clone()).await.unwrap();
    let (mut numbering, mut committing) = (0.0, 0.0);
    for first in (0..total).step_by(usize::try_from(batch).unwrap()) {
        let events: Vec<_> = (first..(first + batch).min(total)).map(|n| event(n, conversations, ordered)).collect();
        let started = Instant::now();
        let numbers = state.number(&events).await.unwrap();
        numbering += started.elapsed().as_secs_f64();
        let messages = events.into_iter().zip(numbers);
        let messages =
            messages.map(|(event, number)| NumberedMessage { event, epoch: number.epoch, seq: number.seq }).collect();
        let batch = ArchiveBatch { messages, next_offset: LogOffset(first + batch), ..ArchiveBatch::default() };
        let started = Instant::now();
        archive.commit(&batch).await.unwrap();
        state.archived(&batch).await.unwrap();
        committing += started.elapsed().as_secs_f64();
    }
    println!("{total} messages of 128 B in {conversations} conversations, {batch} a batch");
    println!("numbered {:>9.0}/s", total as f64 / numbering);
    println!("archived {:>9.0}/s", total as f64 / committing);
    println!("CPU of all of it, in clock ticks: {}", cpu_ticks());
    drop(state);
    database.close().await;
    let started = Instant::now();
    let database = Database::open(folder.path()).await.unwrap();
    let opened = started.elapsed();
    let _state = EmbeddedState::open(database.clone()).await.unwrap();
    let highest = SqliteArchive::new(database.clone()).highest_msg_id().await.unwrap();
    println!("start: database {opened:?}, with the state {:?} (highest id {highest})", started.elapsed());
    database.close().await;
}

fn event(n: u64, conversations: u64, ordered: bool) -> Arc<MessageEvent> {
    let pair = n % conversations;
    let prefix = if ordered { 0 } else { n.wrapping_mul(2_654_435_761) as u32 };
    let now_ms = 1_760_000_000_000 + n / 20;
    Arc::new(MessageEvent {
        conv: format!("p2p:a{pair:05}:b{pair:05}").into(),
        msg_id: ((now_ms - 1_704_067_200_000) << 22) | (n % 1_024),
        from: format!("a{pair:05}").into(),
        client_msg_id: format!("{prefix:08x}-{n:016x}").into(),
        kind: "text".into(),
        body: "x".repeat(128),
        enc: "".into(),
        ts_ms: now_ms,
    })
}

/// User and system time of this process.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}
