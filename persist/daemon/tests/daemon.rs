//! The daemon over a real journal and a real database, with stores that fail on demand.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use ringway_engine::event::{Event, MessageEvent, ReadEvent};
use ringway_engine::ids::{ConversationId, Uid};
use ringway_engine::packet::schema::{Message, Sent};
use ringway_journal::JournalConfig;
use ringway_persist::{Daemon, DaemonConfig, Ports, Recovered};
use ringway_store::conformance::directory::create_accounts;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, message, uid};
use ringway_store::embedded::{Embedded, open_embedded_with};
use ringway_store::ports::{
    Archive, ArchiveBatch, ArchivedMessage, CommitError, Directory, EventLog, Gateways, LogOffset, LogQueue, NewRecord,
    PageFrom, ServerMessage, SharedState, Signal, StoreError, SubmitError,
};
use tokio::sync::{Notify, watch};

async fn open(folder: &Path) -> Embedded {
    let mut journal = JournalConfig::new(folder.join("journal"));
    journal.segment_bytes = 256 * 1024;
    open_embedded_with(folder, journal).await.unwrap()
}

fn daemon(embedded: &Embedded, archive: Arc<dyn Archive>) -> Daemon {
    let ports = Ports {
        log: embedded.log.clone(),
        state: embedded.state.clone(),
        upkeep: embedded.state.clone(),
        archive,
        directory: embedded.directory.clone(),
    };
    Daemon::new(ports, DaemonConfig { batch_records: 7, gather_ms: 1, upkeep_ms: 20, ..DaemonConfig::default() })
}

/// Appends as the uplink does.
async fn append(embedded: &Embedded, events: &[Arc<MessageEvent>]) {
    append_records(embedded, events.iter().map(|event| Event::Message((**event).clone()).encode()).collect()).await;
}

async fn append_records(embedded: &Embedded, records: Vec<Bytes>) {
    let records = records.into_iter().map(|bytes| NewRecord { key: 0, bytes }).collect();
    embedded.log.append(records).await.unwrap();
}

fn events(first: u64, count: u64) -> Vec<Arc<MessageEvent>> {
    let event = |n: u64| {
        let conv = if n.is_multiple_of(3) { "group:g" } else { "p2p:a:b" };
        message(conv, "a", &format!("c-{n}"), n, now_ms())
    };
    (first..first + count).map(event).collect()
}

/// What the daemon told the gateways; refuses as told to.
#[derive(Default)]
struct Told {
    seen: Mutex<Vec<String>>,
    temporary: AtomicUsize,
    refuse: bool,
    called: Notify,
}

impl Told {
    fn settle(&self, what: String) -> Result<(), SubmitError> {
        self.called.notify_one();
        if self.temporary.load(Ordering::Relaxed) > 0 {
            self.temporary.fetch_sub(1, Ordering::Relaxed);
            return Err(SubmitError::Temporary("not yet".into()));
        }
        if self.refuse {
            return Err(SubmitError::Refused("no".into()));
        }
        self.seen.lock().unwrap().push(what);
        Ok(())
    }
}

#[async_trait]
impl Gateways for Told {
    async fn submit(&self, message: ServerMessage) -> Result<Sent, SubmitError> {
        self.settle(format!("message {} {}", message.conv, message.client_msg_id))?;
        Ok(Sent { conv: message.conv, msg_id: 1, epoch: 1, seq: 1, ts: 1 })
    }

    async fn signal(&self, signal: Signal) -> Result<(), SubmitError> {
        self.settle(match signal {
            Signal::MembersAdded { conv, .. } => format!("added {conv}"),
            Signal::MembersRemoved { conv, .. } => format!("removed {conv}"),
            Signal::SessionRevoked { sid, .. } => format!("revoked {sid}"),
        })
    }

    async fn trace(&self, _msg_id: u64) -> String {
        "[]".into()
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn ready(&self) -> bool {
        true
    }

    async fn online(&self, _uids: &[Uid]) -> Vec<Uid> {
        Vec::new()
    }
}

/// The real archive, whose commits fail a number of times: before they write, and after they wrote.
struct Flaky {
    archive: Arc<dyn Archive>,
    failures: AtomicUsize,
}

#[async_trait]
impl Archive for Flaky {
    async fn commit(&self, batch: &ArchiveBatch) -> Result<(), CommitError> {
        let left = self.failures.load(Ordering::Relaxed);
        if left > 0 {
            self.failures.store(left - 1, Ordering::Relaxed);
            if left.is_multiple_of(2) {
                self.archive.commit(batch).await?;
            }
            return Err(StoreError::new("flaky", "away").into());
        }
        self.archive.commit(batch).await
    }

    async fn consumed_offset(&self) -> Result<LogOffset, StoreError> {
        self.archive.consumed_offset().await
    }

    async fn set_consumed_offset(&self, offset: LogOffset) -> Result<(), StoreError> {
        self.archive.set_consumed_offset(offset).await
    }

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        self.archive.page(conv, from, limit).await
    }

    async fn first_kept(&self, conv: &ConversationId) -> Result<u64, StoreError> {
        self.archive.first_kept(conv).await
    }

    async fn message(&self, msg_id: u64) -> Result<Option<ArchivedMessage>, StoreError> {
        self.archive.message(msg_id).await
    }

    async fn highest_msg_id(&self) -> Result<u64, StoreError> {
        self.archive.highest_msg_id().await
    }
}

/// Runs the daemon until everything in the log is archived.
async fn drain(daemon: &Daemon) {
    let (stop, stopped) = watch::channel(false);
    stop.send(true).unwrap();
    daemon.run(Arc::new(Told::default()), stopped).await.unwrap();
}

async fn archived(embedded: &Embedded, of: &str) -> Vec<(u64, u64)> {
    let page = embedded.archive.page(&conv(of), PageFrom::After(0), 1_000).await.unwrap();
    page.iter().map(|item| (item.seq, item.msg_id)).collect()
}

#[tokio::test]
async fn what_is_in_the_log_is_archived_and_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path()).await;
    let daemon = daemon(&embedded, embedded.archive.clone());
    assert_eq!(daemon.recover().await.unwrap(), Recovered { records: 0, messages: 0, dead_letters: 0 });
    let all = events(1, 50);
    append(&embedded, &all).await;
    let read = ReadEvent { conv: "p2p:a:b".into(), uid: "b".into(), seq: 5, ts_ms: 9 };
    append_records(&embedded, vec![Event::Read(read).encode()]).await;
    drain(&daemon).await;
    let pairs = archived(&embedded, "p2p:a:b").await;
    let expected: Vec<u64> = all.iter().filter(|event| event.conv == "p2p:a:b").map(|event| event.msg_id).collect();
    assert_eq!(pairs, (1..).zip(expected).collect::<Vec<_>>());
    assert_eq!(embedded.archive.consumed_offset().await.unwrap(), LogOffset(51));
    assert_eq!(embedded.state.unarchived_bytes(), 0);
    assert!(embedded.log.read(LogOffset(50), 1, 1).await.is_err(), "released");
    let list = embedded.state.conversations(&uid("b"), "", 10).await.unwrap();
    assert_eq!(list.items[0].read, 5);
    let text = daemon.metrics_text();
    assert!(text.contains("ringway_persist_archived_messages_total 50\n"), "{text}");
    assert!(text.contains("ringway_persist_log_lag_records 0\n"), "{text}");
    embedded.close().await;
}

#[tokio::test]
async fn a_crash_between_numbering_and_archiving_keeps_every_number() {
    let folder = tempfile::tempdir().unwrap();
    let all = events(1, 60);
    let mut expected = Vec::new();
    for (round, chunk) in all.chunks(20).enumerate() {
        let embedded = open(folder.path()).await;
        let daemon = daemon(&embedded, embedded.archive.clone());
        let recovered = daemon.recover().await.unwrap();
        assert_eq!(recovered.messages, if round == 2 { 20 } else { 0 }, "round {round}");
        append(&embedded, chunk).await;
        let numbers = embedded.state.number(chunk).await.unwrap();
        expected.extend(numbers.iter().zip(chunk).map(|(number, event)| (event.msg_id, number.seq)));
        if round == 0 {
            drain(&daemon).await;
        }
        // Round 1 and 2 end here without a word to the archive.
        embedded.close().await;
    }
    let embedded = open(folder.path()).await;
    let daemon = daemon(&embedded, embedded.archive.clone());
    assert_eq!(daemon.recover().await.unwrap().messages, 40);
    for (event, (_, seq)) in all.iter().zip(&expected) {
        let id = ConversationId::parse(&event.conv).unwrap();
        let known = embedded.state.known(&id, "a", &event.client_msg_id, true).await.unwrap().unwrap();
        assert_eq!((known.msg_id, known.seq), (event.msg_id, *seq), "before it is archived");
    }
    drain(&daemon).await;
    for (msg_id, seq) in expected {
        assert_eq!(embedded.archive.message(msg_id).await.unwrap().unwrap().message.seq, seq);
    }
    embedded.close().await;
}

#[tokio::test]
async fn a_message_appended_twice_is_archived_once() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path()).await;
    let daemon = daemon(&embedded, embedded.archive.clone());
    let first = message("p2p:a:b", "a", "c-1", 1, 1_000);
    let repeat = message("p2p:a:b", "a", "c-1", 2, 1_001);
    let next = message("p2p:a:b", "a", "c-2", 3, 1_002);
    append(&embedded, &[first.clone(), repeat, next, first]).await;
    drain(&daemon).await;
    assert_eq!(archived(&embedded, "p2p:a:b").await, [(1, 1), (2, 3)]);
    assert_eq!(embedded.state.unarchived_bytes(), 0);
    embedded.close().await;
}

#[tokio::test]
async fn an_archive_that_was_away_catches_up_without_loss_or_doubles() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path()).await;
    let flaky = Arc::new(Flaky { archive: embedded.archive.clone(), failures: AtomicUsize::new(4) });
    let daemon = daemon(&embedded, flaky);
    let all = events(1, 30);
    append(&embedded, &all).await;
    let (stop, stopped) = watch::channel(false);
    let done = async {
        while embedded.archive.consumed_offset().await.unwrap() < LogOffset(30) {
            tokio::task::yield_now().await;
        }
        stop.send(true).unwrap();
    };
    let (ran, ()) = tokio::join!(daemon.run(Arc::new(Told::default()), stopped), done);
    ran.unwrap();
    assert_eq!(archived(&embedded, "p2p:a:b").await.len() + archived(&embedded, "group:g").await.len(), 30);
    assert_eq!(daemon.metrics().retries.load(Ordering::Relaxed), 4);
    embedded.close().await;
}

#[tokio::test]
async fn a_record_that_is_no_event_becomes_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path()).await;
    let daemon = daemon(&embedded, embedded.archive.clone());
    append(&embedded, &events(1, 2)).await;
    let mut nowhere = (*message("p2p:a:b", "a", "c-9", 9, 9)).clone();
    nowhere.conv = "nowhere".into();
    append_records(&embedded, vec!["garbage".into(), Event::Message(nowhere).encode()]).await;
    append(&embedded, &events(4, 1)).await;
    assert_eq!(daemon.recover().await.unwrap(), Recovered { records: 5, messages: 3, dead_letters: 2 });
    drain(&daemon).await;
    assert_eq!(daemon.metrics().dead_letters.load(Ordering::Relaxed), 2);
    assert_eq!(archived(&embedded, "p2p:a:b").await, [(1, 1), (2, 2), (3, 4)]);
    embedded.close().await;
}

/// Runs the relay until the outbox is empty.
async fn relay(embedded: &Embedded, told: Arc<Told>) -> Daemon {
    let daemon = daemon(embedded, embedded.archive.clone());
    let (stop, stopped) = watch::channel(false);
    let done = async {
        while !embedded.directory.outbox(1).await.unwrap().is_empty() {
            told.called.notified().await;
            tokio::task::yield_now().await;
        }
        stop.send(true).unwrap();
    };
    let poked = async {
        // The last call comes before its entry is done.
        while !embedded.directory.outbox(1).await.unwrap().is_empty() {
            told.called.notify_one();
            tokio::task::yield_now().await;
        }
        told.called.notify_one();
    };
    let (ran, (), ()) = tokio::join!(daemon.run(told.clone(), stopped), done, poked);
    ran.unwrap();
    daemon
}

#[tokio::test]
async fn the_outbox_is_told_in_order_and_again_after_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path()).await;
    create_accounts(&*embedded.directory, &["a", "b"]).await;
    embedded.directory.create_group("g", "G", &uid("a"), &[uid("b")], 1).await.unwrap();
    embedded.directory.remove_member("g", &uid("a"), &uid("b"), 2).await.unwrap();
    let told = Arc::new(Told { temporary: AtomicUsize::new(2), ..Told::default() });
    relay(&embedded, told.clone()).await;
    let expected = ["added group:g", "message group:g outbox-1", "removed group:g", "message group:g outbox-2"];
    assert_eq!(*told.seen.lock().unwrap(), expected);
    embedded.close().await;
}

#[tokio::test]
async fn what_the_gateways_refuse_does_not_stop_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = open(folder.path()).await;
    create_accounts(&*embedded.directory, &["a"]).await;
    embedded.directory.create_group("g", "G", &uid("a"), &[], 1).await.unwrap();
    let told = Arc::new(Told { refuse: true, ..Told::default() });
    let daemon = relay(&embedded, told).await;
    assert_eq!(daemon.process_metrics().refused.load(Ordering::Relaxed), 2);
    embedded.close().await;
}
