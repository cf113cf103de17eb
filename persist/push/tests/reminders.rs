//! Reminders over a real state, directory and archive, with gateways and a vendor that remember what they are told.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ringway_push::limits::REMINDED_MS;
use ringway_push::{Reminders, RemindersConfig, RemindersPorts};
use ringway_store::conformance::directory::create_accounts;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, device, message, uid};
use ringway_store::embedded::EmbeddedState;
use ringway_store::ports::{
    Archive as _, ArchiveBatch, CursorUpdate, Directory as _, LogOffset, Nudge, Nudges, NumberedMessage, PushError,
    PushNotice, SharedState as _, StoreError, Upkeep as _, VendorPush,
};
use ringway_store::sqlite::{Database, SqliteArchive, SqliteDirectory};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const WAIT: Duration = Duration::from_secs(20);

/// Gateways and vendor at once.
#[derive(Default)]
struct Ears {
    heard: Mutex<Vec<String>>,
    /// Pushes that are answered with "not now".
    busy: AtomicUsize,
    refuses: bool,
}

#[async_trait]
impl Nudges for Ears {
    async fn nudge(&self, nudge: &Nudge) -> Result<usize, StoreError> {
        self.heard.lock().unwrap().push(format!("nudge {} {} {}", nudge.uid, nudge.conv, nudge.seq));
        Ok(1)
    }
}

#[async_trait]
impl VendorPush for Ears {
    async fn push(&self, notice: &PushNotice) -> Result<(), PushError> {
        if self.busy.fetch_update(Relaxed, Relaxed, |busy| busy.checked_sub(1)).is_ok() {
            return Err(PushError::Temporary("not now".into()));
        }
        self.heard.lock().unwrap().push(format!("push {} {} {}", notice.uid, notice.conv, notice.seq));
        if self.refuses { Err(PushError::Refused("no such device".into())) } else { Ok(()) }
    }
}

struct Setup {
    _folder: tempfile::TempDir,
    state: Arc<EmbeddedState>,
    archive: SqliteArchive,
    ears: Arc<Ears>,
    reminders: Arc<Reminders>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Setup {
    async fn new(ears: Ears, group_write_fanout_max: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let directory = Arc::new(SqliteDirectory::new(database.clone()));
        create_accounts(&*directory, &["a", "b", "c", "d"]).await;
        directory.create_group("g", "G", &uid("a"), &[uid("b"), uid("c")], 1).await.unwrap();
        let state = Arc::new(EmbeddedState::open(database.clone()).await.unwrap());
        let ears = Arc::new(ears);
        let vendor: Arc<dyn VendorPush> = ears.clone();
        let ports = RemindersPorts { state: state.clone(), directory, nudges: ears.clone(), vendor: Some(vendor) };
        let config = RemindersConfig {
            nudge_after_ms: 50,
            push_after_ms: 300,
            group_write_fanout_max,
            tick_ms: 5,
            push_retry_ms: 1,
        };
        let reminders = Arc::new(Reminders::new(ports, config));
        let (stop, stopped) = watch::channel(false);
        let running = reminders.clone();
        let task = tokio::spawn(async move { running.run(stopped).await });
        Self { _folder: folder, state, archive: SqliteArchive::new(database), ears, reminders, stop, task }
    }

    /// Numbers and archives as the daemon does.
    async fn send(&self, to: &str, n: u64) {
        self.send_at(to, n, now_ms()).await;
    }

    async fn send_at(&self, to: &str, n: u64, taken_ms: u64) {
        let event = message(to, "a", &format!("c-{n}"), n, taken_ms);
        let number = self.state.number(std::slice::from_ref(&event)).await.unwrap()[0];
        let numbered = NumberedMessage { event, epoch: number.epoch, seq: number.seq };
        let batch = ArchiveBatch { messages: vec![numbered], next_offset: LogOffset(n), ..ArchiveBatch::default() };
        self.archive.commit(&batch).await.unwrap();
        self.state.archived(&batch).await.unwrap();
        self.reminders.archived(&batch);
    }

    async fn acknowledge(&self, who: &str, of: &str, seq: u64) {
        let update = CursorUpdate { uid: uid(who), device: device("phone"), conv: conv(of), epoch: 1, seq };
        self.state.acknowledge(vec![update]).await;
    }

    fn heard(&self) -> Vec<String> {
        let mut heard = self.ears.heard.lock().unwrap().clone();
        heard.sort();
        heard
    }

    async fn hears(&self, expected: &[&str]) {
        let deadline = Instant::now() + WAIT;
        while self.heard().len() < expected.len() {
            assert!(Instant::now() < deadline, "{:?} and no more", self.heard());
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        assert_eq!(self.heard(), expected);
    }

    async fn counts(&self, row: &str) {
        let deadline = Instant::now() + WAIT;
        while !self.reminders.metrics_text().contains(&format!("\nringway_persist_{row}\n")) {
            assert!(Instant::now() < deadline, "{row} is not in {}", self.reminders.metrics_text());
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(WAIT, self.task).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn who_does_not_acknowledge_is_nudged_and_then_pushed_once() {
    let setup = Setup::new(Ears::default(), 500).await;
    setup.send("p2p:a:b", 1).await;
    setup.hears(&["nudge b p2p:a:b 1"]).await;
    setup.send("p2p:a:b", 2).await;
    setup.hears(&["nudge b p2p:a:b 1", "push b p2p:a:b 2"]).await;
    setup.counts("pushes_total 1").await;
    // More of the same is held back; a word to somebody else is not, and comes later.
    setup.send("p2p:a:b", 3).await;
    setup.send("p2p:a:c", 4).await;
    let both = ["nudge b p2p:a:b 1", "nudge c p2p:a:c 1", "push b p2p:a:b 2", "push c p2p:a:c 1"];
    setup.hears(&both).await;
    // Read at last: the entry goes, and the next silence counts anew.
    setup.acknowledge("b", "p2p:a:b", 3).await;
    setup.acknowledge("c", "p2p:a:c", 1).await;
    setup.send("p2p:a:b", 5).await;
    let deadline = Instant::now() + WAIT;
    while !setup.heard().contains(&"push b p2p:a:b 4".to_owned()) {
        assert!(Instant::now() < deadline, "{:?}", setup.heard());
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    setup.stop().await;
}

#[tokio::test]
async fn who_acknowledges_hears_nothing_and_a_group_hears_by_member() {
    let setup = Setup::new(Ears::default(), 500).await;
    setup.send("p2p:a:b", 1).await;
    setup.acknowledge("b", "p2p:a:b", 1).await;
    setup.send("group:g", 2).await;
    setup.acknowledge("b", "group:g", 1).await;
    setup.hears(&["nudge c group:g 1", "push c group:g 1"]).await;
    setup.acknowledge("c", "group:g", 1).await;
    setup.stop().await;
}

#[tokio::test]
async fn a_large_group_is_not_reminded_nor_is_who_has_no_account() {
    let setup = Setup::new(Ears::default(), 2).await;
    setup.send("group:g", 1).await;
    setup.send("sys:canary.gateway-1", 2).await;
    setup.send("sys:d", 3).await;
    setup.hears(&["nudge d sys:d 1", "push d sys:d 1"]).await;
    setup.counts("reminders_waiting 1").await;
    setup.stop().await;
}

#[tokio::test]
async fn an_old_message_wakes_nobody_and_a_late_one_does() {
    let setup = Setup::new(Ears::default(), 500).await;
    setup.send_at("sys:c", 1, now_ms() - REMINDED_MS - 1).await;
    setup.send_at("sys:d", 2, now_ms() - REMINDED_MS / 2).await;
    setup.hears(&["push d sys:d 1"]).await;
    setup.counts("reminders_waiting 1").await;
    setup.stop().await;
}

#[tokio::test]
async fn a_vendor_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let setup = Setup::new(Ears { busy: AtomicUsize::new(3), ..Ears::default() }, 500).await;
    setup.send("sys:d", 1).await;
    setup.counts("pushes_total 1").await;
    setup.counts("pushes_retried_total 3").await;
    setup.stop().await;
    let setup = Setup::new(Ears { busy: AtomicUsize::new(100), ..Ears::default() }, 500).await;
    setup.send("sys:d", 1).await;
    setup.counts("pushes_given_up_total 1").await;
    setup.stop().await;
    let setup = Setup::new(Ears { refuses: true, ..Ears::default() }, 500).await;
    setup.send("sys:d", 1).await;
    setup.counts("pushes_refused_total 1").await;
    setup.hears(&["nudge d sys:d 1", "push d sys:d 1"]).await;
    setup.stop().await;
}
