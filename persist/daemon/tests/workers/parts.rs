//! What the tests work on: queues in memory, one database, and archives that keep an offset for each queue.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use ringway_engine::event::{Event, MessageEvent};
use ringway_engine::ids::{ConversationId, Uid};
use ringway_engine::packet::schema::{Message, Sent};
use ringway_persist::{DaemonConfig, Takeover, Watcher, WorkerPorts, Workers, WorkersConfig};
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, message};
use ringway_store::embedded::EmbeddedState;
use ringway_store::ports::{
    Archive, ArchiveBatch, ArchivedMessage, CommitError, DeadLetter, Gateways, LogOffset, LogQueue, LogReadError,
    LogRecord, PageFrom, ServerMessage, Signal, StoreError, SubmitError,
};
use ringway_store::sqlite::{Database, SqliteArchive, SqliteDirectory};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinHandle;

use crate::leases::MemoryLeases;

/// How far back a process is told of what was archived before it consumed.
pub(crate) const RECALL_MS: u64 = 10_000;
/// How long anything is waited for.
const WAIT: Duration = Duration::from_secs(20);

/// Polls until it holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "not within {WAIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// A queue in memory.
pub(crate) struct MemoryQueue {
    name: String,
    records: watch::Sender<Vec<Bytes>>,
    released: AtomicU64,
    /// What reads answer in place of records.
    pub(crate) fault: Mutex<Option<LogReadError>>,
}

impl MemoryQueue {
    fn new(name: String) -> Arc<Self> {
        let (records, fault) = (watch::Sender::default(), Mutex::default());
        Arc::new(Self { name, records, released: AtomicU64::new(0), fault })
    }

    /// Has it lose its first records, as a broker does when they are old.
    pub(crate) fn lose(&self, before: u64) {
        self.released.store(before, Relaxed);
    }

    pub(crate) fn append(&self, record: Bytes) {
        self.records.send_modify(|records| records.push(record));
    }

    fn check(&self) -> Result<(), LogReadError> {
        self.fault.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl LogQueue for MemoryQueue {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, from: LogOffset, records_max: usize, _: usize) -> Result<Vec<LogRecord>, LogReadError> {
        self.check()?;
        if from.0 < self.released.load(Relaxed) {
            return Err(LogReadError::Released(LogOffset(self.released.load(Relaxed))));
        }
        let records = self.records.borrow();
        // As a broker, it gives fewer at once than it is asked for.
        let some = records.iter().enumerate().skip(from.0 as usize).take(records_max.min(4));
        Ok(some.map(|(n, bytes)| LogRecord { offset: LogOffset(n as u64), bytes: bytes.clone() }).collect())
    }

    async fn wait_for(&self, offset: LogOffset) -> Result<(), LogReadError> {
        self.check()?;
        let waited = self.records.subscribe().wait_for(|records| records.len() as u64 > offset.0).await.map(drop);
        waited.map_err(|_| LogReadError::Closed)
    }

    fn end(&self) -> LogOffset {
        LogOffset(self.records.borrow().len() as u64)
    }

    // A broker keeps what is consumed for a while.
    fn release(&self, _before: LogOffset) {}
}

/// The archive with the offset of one queue, and what it refuses.
pub(crate) struct QueueArchive {
    inner: SqliteArchive,
    offset: AsyncMutex<LogOffset>,
    /// Calls that fail as if the store were away.
    pub(crate) away: AtomicU64,
    /// Messages with such a body are refused.
    pub(crate) refused: Mutex<Option<String>>,
    pub(crate) letters: Mutex<Vec<DeadLetter>>,
}

#[async_trait]
impl Archive for QueueArchive {
    async fn commit(&self, batch: &ArchiveBatch) -> Result<(), CommitError> {
        let mut offset = self.offset.lock().await;
        if self.away.fetch_update(Relaxed, Relaxed, |away| away.checked_sub(1)).is_ok() {
            return Err(StoreError::new("archive", "away").into());
        }
        if let Some(first) = batch.first_offset.filter(|first| *first != *offset && batch.next_offset != *offset) {
            return Err(CommitError::Moved { read_from: first.0, found: offset.0 });
        }
        let refused = self.refused.lock().unwrap().clone();
        if batch.messages.iter().any(|message| Some(&message.event.body) == refused.as_ref()) {
            return Err(StoreError::new("archive", "this text cannot be stored").into());
        }
        let inner = ArchiveBatch { first_offset: None, next_offset: LogOffset(0), ..batch.clone() };
        self.inner.commit(&inner).await?;
        self.letters.lock().unwrap().extend(batch.dead_letters.iter().cloned());
        *offset = (*offset).max(batch.next_offset);
        Ok(())
    }

    async fn consumed_offset(&self) -> Result<LogOffset, StoreError> {
        Ok(*self.offset.lock().await)
    }

    async fn set_consumed_offset(&self, offset: LogOffset) -> Result<(), StoreError> {
        *self.offset.lock().await = offset;
        Ok(())
    }

    async fn page(&self, conv: &ConversationId, from: PageFrom, limit: usize) -> Result<Vec<Arc<Message>>, StoreError> {
        self.inner.page(conv, from, limit).await
    }

    async fn first_kept(&self, conv: &ConversationId) -> Result<u64, StoreError> {
        self.inner.first_kept(conv).await
    }

    async fn message(&self, msg_id: u64) -> Result<Option<ArchivedMessage>, StoreError> {
        self.inner.message(msg_id).await
    }

    async fn highest_msg_id(&self) -> Result<u64, StoreError> {
        self.inner.highest_msg_id().await
    }
}

/// Takes whatever it is told, and remembers who begins to tell.
#[derive(Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<String>>);

#[async_trait]
impl Gateways for Told {
    async fn submit(&self, message: ServerMessage) -> Result<Sent, SubmitError> {
        self.0.lock().unwrap().push(message.client_msg_id);
        Ok(Sent { conv: message.conv, msg_id: 1, epoch: 1, seq: 1, ts: 1 })
    }

    async fn signal(&self, _signal: Signal) -> Result<(), SubmitError> {
        Ok(())
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

/// What all processes share.
pub(crate) struct Shared {
    _folder: tempfile::TempDir,
    pub(crate) queues: Vec<Arc<MemoryQueue>>,
    pub(crate) archives: Vec<Arc<QueueArchive>>,
    pub(crate) state: Arc<EmbeddedState>,
    pub(crate) directory: Arc<SqliteDirectory>,
    pub(crate) leases: Arc<MemoryLeases>,
    pub(crate) told: Arc<Told>,
    /// What watchers were told of: by whose, conversation and number.
    pub(crate) watched: Arc<Mutex<Vec<(String, String, u64)>>>,
    next: AtomicU64,
}

impl Shared {
    pub(crate) async fn new(queues: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let archive = |_| {
            let inner = SqliteArchive::new(database.clone());
            let (offset, away) = (AsyncMutex::default(), AtomicU64::new(0));
            Arc::new(QueueArchive { inner, offset, away, refused: Mutex::default(), letters: Mutex::default() })
        };
        Self {
            _folder: folder,
            queues: (0..queues).map(|n| MemoryQueue::new(format!("broker-a/{n}"))).collect(),
            archives: (0..queues).map(archive).collect(),
            state: Arc::new(EmbeddedState::open(database.clone()).await.unwrap()),
            directory: Arc::new(SqliteDirectory::new(database)),
            leases: Arc::default(),
            told: Arc::default(),
            watched: Arc::default(),
            next: AtomicU64::new(1),
        }
    }

    /// Puts a message of the queue's own conversation into it.
    pub(crate) fn send_body(&self, queue: usize, body: &str) {
        let mut event = self.event(&format!("group:{queue}"), now_ms());
        event.body = body.to_owned();
        self.queues[queue].append(Event::Message(event).encode());
    }

    /// Puts a message of some conversation into a queue, taken so long ago.
    pub(crate) fn send_of(&self, queue: usize, conv: &str, ago_ms: u64) {
        self.queues[queue].append(Event::Message(self.event(conv, now_ms() - ago_ms)).encode());
    }

    fn event(&self, conv: &str, ts_ms: u64) -> MessageEvent {
        let n = self.next.fetch_add(1, Relaxed);
        (*message(conv, "a", &format!("c-{n}"), n, ts_ms)).clone()
    }

    pub(crate) fn send(&self, queue: usize) {
        self.send_body(queue, "text");
    }

    pub(crate) fn send_to_all(&self) {
        (0..self.queues.len()).for_each(|queue| self.send(queue));
    }

    /// Numbers of the archived messages of a queue's conversation.
    pub(crate) async fn archived(&self, queue: usize) -> Vec<u64> {
        let id = conv(&format!("group:{queue}"));
        let page = self.archives[queue].page(&id, PageFrom::After(0), 10_000).await.unwrap();
        page.iter().map(|item| item.seq).collect()
    }

    /// Waits until everything in the queues is archived.
    pub(crate) async fn all_archived(&self) {
        for (queue, archive) in self.queues.iter().zip(&self.archives) {
            until("archived", async || archive.consumed_offset().await.unwrap() == queue.end()).await;
        }
    }

    pub(crate) fn process(&self, owner: &str, config: WorkersConfig) -> Process {
        let queue = |(queue, archive): (&Arc<MemoryQueue>, &Arc<QueueArchive>)| {
            (queue.clone() as Arc<dyn LogQueue>, archive.clone() as Arc<dyn Archive>)
        };
        let queues = self.queues.iter().zip(&self.archives).map(queue).collect();
        let ports =
            WorkerPorts { state: self.state.clone(), upkeep: self.state.clone(), directory: self.directory.clone() };
        let workers = Workers::new(queues, ports, self.leases.clone(), owner.to_owned(), config);
        let (watched, watching) = (Arc::clone(&self.watched), owner.to_owned());
        let watcher: Watcher = Arc::new(move |batch: &ArchiveBatch| {
            let told = batch.messages.iter().map(|of| (watching.clone(), of.event.conv.to_string(), of.seq));
            watched.lock().unwrap().extend(told);
        });
        let (told, name) = (Arc::clone(&self.told), owner.to_owned());
        let takeover: Takeover = Arc::new(move || told.0.lock().unwrap().push(format!("{name} begins")));
        let workers = Arc::new(workers.watched_by(&watcher, RECALL_MS).before_relaying(&takeover));
        let (stop, stopped) = watch::channel(false);
        let (running, told) = (workers.clone(), self.told.clone());
        let task = tokio::spawn(async move { running.run(told, stopped).await });
        Process { workers, stop, task }
    }
}

/// Short turns; leases of half a second.
pub(crate) fn quick() -> WorkersConfig {
    let daemon =
        DaemonConfig { batch_records: 16, gather_ms: 1, upkeep_ms: 20, poison_tries: 1, ..DaemonConfig::default() };
    WorkersConfig { daemon, turn_ms: 25, lease_ms: 500 }
}

/// The workers of one process.
pub(crate) struct Process {
    pub(crate) workers: Arc<Workers>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Process {
    pub(crate) fn held(&self) -> usize {
        self.workers.queues_held().len()
    }

    /// Ends as a killed process does: nothing is let go.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }

    /// Stops in order.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(WAIT, self.task).await.unwrap().unwrap();
    }
}
