//! Measures the archive over a MariaDB of its own on this machine: messages a second in bulk commits, which flush as a
//! real server's do, and pages read back.
//! `cargo run --release --example measure_archive [messages] [conversations] [batch] [ordered] [writers]`;
//! `ordered` 1: client message ids that rise with time, 0 (default): random ones, the worst case. Each writer archives
//! conversations of its own, as the consumer of a queue does. More arguments are the server's.
#![allow(clippy::unwrap_used, reason = "a tool for one's own terminal")]

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ringway_engine::event::MessageEvent;
use ringway_engine::ids::ConversationId;
use ringway_mysql::{Database, MySqlArchive, MySqlConfig};
use ringway_stack::{Folder, MariaDb, MariaDbOptions};
use ringway_store::ports::{Archive, ArchiveBatch, LogOffset, NumberedMessage, PageFrom};

/// Pages read back.
const PAGES: u64 = 2_000;

#[derive(Debug, Clone, Copy)]
struct Load {
    total: u64,
    conversations: u64,
    batch: u64,
    ordered: bool,
    began_ms: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (numbers, options): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| !argument.starts_with('-'));
    let mut numbers = numbers.iter().map(|argument| argument.parse::<u64>().unwrap());
    let began_ms = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let load = Load {
        total: numbers.next().unwrap_or(500_000),
        conversations: numbers.next().unwrap_or(50),
        batch: numbers.next().unwrap_or(4_096),
        ordered: numbers.next().unwrap_or(0) == 1,
        began_ms: u64::try_from(began_ms).unwrap(),
    };
    let writers = numbers.next().unwrap_or(1);
    let folder = Folder::new().unwrap();
    let server = MariaDb::start_with(folder.path(), MariaDbOptions { arguments: options }).unwrap();
    let database = Database::open(MySqlConfig::new(server.url())).await.unwrap();
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers).map(|writer| tokio::spawn(write(database.clone(), writer, load))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let took = started.elapsed().as_secs_f64();
    let all = load.total * writers;
    println!("{load:?}, {writers} writers");
    println!("archived {:>8.0} messages/s, {:.1} commits/s", all as f64 / took, all as f64 / load.batch as f64 / took);
    println!(
        "clock ticks of CPU: {} here, {} in the server",
        cpu_ticks("self"),
        cpu_ticks(&server.pid().unwrap().to_string())
    );
    read(&database, load).await;
    database.close().await;
}

async fn write(database: Database, writer: u64, load: Load) {
    let archive = MySqlArchive::new(database, &format!("log/{writer}"));
    for first in (0..load.total).step_by(usize::try_from(load.batch).unwrap()) {
        let next = (first + load.batch).min(load.total);
        let numbered = |n| NumberedMessage { event: event(writer, n, load), epoch: 1, seq: n / load.conversations + 1 };
        let batch = ArchiveBatch {
            messages: (first..next).map(numbered).collect(),
            first_offset: Some(LogOffset(first)),
            next_offset: LogOffset(next),
            ..ArchiveBatch::default()
        };
        archive.commit(&batch).await.unwrap();
    }
}

async fn read(database: &Database, load: Load) {
    let archive = MySqlArchive::new(database.clone(), "log/0");
    let started = Instant::now();
    let mut items = 0;
    for n in 0..PAGES {
        let conv = ConversationId::parse(&conv(0, n % load.conversations)).unwrap();
        let from = PageFrom::After(n * 37 % (load.total / load.conversations).saturating_sub(100).max(1));
        items += archive.page(&conv, from, 100).await.unwrap().len();
    }
    let took = started.elapsed();
    println!("read {PAGES} pages of {} one after the other: {:?} a page", items as u64 / PAGES, took / PAGES as u32);
}

fn conv(writer: u64, pair: u64) -> String {
    format!("p2p:a{writer:02}{pair:05}:b{writer:02}{pair:05}")
}

fn event(writer: u64, n: u64, load: Load) -> Arc<MessageEvent> {
    let prefix = if load.ordered { 0 } else { n.wrapping_mul(2_654_435_761) as u32 };
    let ts_ms = load.began_ms + n / 20;
    Arc::new(MessageEvent {
        conv: conv(writer, n % load.conversations).into(),
        msg_id: ((ts_ms - 1_704_067_200_000) << 22) | (writer << 12) | (n % 1_024),
        from: format!("a{writer:02}{:05}", n % load.conversations).into(),
        client_msg_id: format!("{prefix:08x}-{n:016x}").into(),
        kind: "text".into(),
        body: "x".repeat(128),
        enc: "".into(),
        ts_ms,
    })
}

/// User and system time of a process.
fn cpu_ticks(process: &str) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|field| field.parse::<u64>().unwrap()).sum()
}
