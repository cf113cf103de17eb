//! Prints what the journal does on this machine's disk: records per second and commit latency for several
//! batch sizes, the latency of a lone append, and the processor time of an idle journal.
//!
//! `cargo run --release -p ringway-journal --example measure_journal [folder]`

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringway_journal::{Journal, JournalConfig};

const RECORD_BYTES: usize = 200;
const RUN: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder)?;
    let started = Instant::now();
    let (journal, _) = Journal::open(JournalConfig::new(folder.path()))?;
    println!("opened an empty folder in {:?}", started.elapsed());
    for (batch, writers) in [(1, 1), (1, 64), (64, 1), (64, 16), (1024, 1), (1024, 8)] {
        append_for_a_while(&journal, batch, writers).await?;
    }
    let before = cpu_ticks()?;
    tokio::time::sleep(RUN).await;
    println!("idle for {RUN:?}: {} ticks of processor time", cpu_ticks()? - before);
    hand_over(&journal).await?;
    journal.close().await;
    let started = Instant::now();
    let (journal, recovery) = Journal::open(JournalConfig::new(folder.path()))?;
    println!("reopened in {:?}: {recovery:?}", started.elapsed());
    read_all(&journal, recovery.first).await?;
    journal.close().await;
    Ok(())
}

async fn append_for_a_while(journal: &Journal, batch: usize, writers: usize) -> Result<(), Box<dyn Error>> {
    let before = journal.stats();
    let started = Instant::now();
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut waits = Vec::new();
                while started.elapsed() < RUN {
                    let records = (0..batch).map(|_| Bytes::from(vec![7; RECORD_BYTES])).collect();
                    let appended = Instant::now();
                    let first = journal.append(records).await?;
                    waits.push(appended.elapsed());
                    journal.release(first);
                }
                Ok::<_, ringway_journal::AppendError>(waits)
            })
        })
        .collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await??);
    }
    waits.sort_unstable();
    let took = started.elapsed();
    let stats = journal.stats();
    let (commits, records) = (stats.commits - before.commits, stats.records - before.records);
    let at = |share: usize| waits.get(waits.len() * share / 100).copied().unwrap_or_default();
    println!(
        "{writers:>2} writers, batches of {batch:>4}: {:>7.0} records/s, {:>5.0} records a commit, \
         commit mean {:>5} µs, append p50 {:?} p99 {:?}, {} segments",
        records as f64 / took.as_secs_f64(),
        records as f64 / commits.max(1) as f64,
        (stats.commit_us_total - before.commit_us_total) / commits.max(1),
        at(50),
        at(99),
        stats.segments,
    );
    Ok(())
}

/// Reads at the end do no file work: what is left is the way to the thread and back.
async fn hand_over(journal: &Journal) -> Result<(), Box<dyn Error>> {
    let mut waits = Vec::new();
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let started = Instant::now();
        journal.read(journal.end(), 1, 1).await?;
        waits.push(started.elapsed());
    }
    waits.sort_unstable();
    println!("hand-over to the sleeping thread and back: p50 {:?}, p99 {:?}", waits.get(100), waits.get(197));
    Ok(())
}

async fn read_all(journal: &Journal, first: u64) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let mut at = first;
    while at < journal.end() {
        at += journal.read(at, 4096, 1024 * 1024).await?.len() as u64;
    }
    println!("read {} records from disk in {:?}", at - first, started.elapsed());
    Ok(())
}

/// User and system time of this process, in clock ticks.
fn cpu_ticks() -> Result<u64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    Ok(fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap_or_default()).sum())
}
