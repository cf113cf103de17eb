//! A process killed while it appends. This shows that recovery takes up where any instant left off; that
//! the flush reaches the disk is a matter of the commit loop and cannot be shown this way.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use common::{append, check, folder, open, record, uncached};
use ringway_journal::JournalConfig;

const FOLDER: &str = "RINGWAY_JOURNAL_TEST_FOLDER";
const BATCH: u64 = 9;

/// The killed process: appends for ever and tells each end that was acknowledged.
async fn append_for_ever(config: JournalConfig) {
    let (journal, recovery) = open(config);
    let mut end = recovery.end;
    loop {
        append(&journal, end, end + BATCH, BATCH as usize).await;
        end += BATCH;
        println!("acknowledged {end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return append_for_ever(uncached(folder)).await;
    }
    let folder = folder();
    let mut before = 0;
    for round in 1..=8 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "nothing_acknowledged_is_lost_when_the_process_is_killed", "--nocapture"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = lines
            .by_ref()
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("acknowledged ").and_then(|end| end.parse::<u64>().ok()));
        let mut end = acknowledged.by_ref().nth(20 + round).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        end = acknowledged.last().unwrap_or(end);
        let (journal, recovery) = open(uncached(folder.path()));
        assert!(end > before && recovery.end >= end && recovery.end <= end + BATCH, "{end}, {recovery:?}");
        assert_eq!(recovery.end % BATCH, 0, "an append is there as a whole or not at all");
        check(&journal, 0, recovery.end).await;
        assert_eq!(record(recovery.end - 1), journal.read(recovery.end - 1, 1, 1).await.unwrap()[0].1);
        before = recovery.end;
        journal.close().await;
    }
}
