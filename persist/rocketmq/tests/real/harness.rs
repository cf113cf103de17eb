//! Servers for the tests: one pair that is shared by all that leave it as it is, and pairs of their own for the others.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ringway_rocketmq::{RocketConfig, RocketLog, RocketQueues};
use ringway_stack::{Folder, RocketMq};
use ringway_store::ports::{EventLog as _, LogQueue, NewRecord};

/// How many queues every topic has here.
pub(crate) const QUEUES: u16 = 8;

/// A name server and a broker. Dropped before their folder.
pub(crate) struct Stack {
    pub(crate) servers: RocketMq,
    folder: Folder,
}

impl Stack {
    pub(crate) fn start() -> Self {
        let folder = Folder::new().unwrap();
        Self { servers: RocketMq::start(folder.path()).unwrap(), folder }
    }

    /// The one that all tests share which do it no harm; it ends with the process. Its broker wakes a waiting
    /// consumer when a record comes, as brokers do by default.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Stack> = OnceLock::new();
        SHARED.get_or_init(|| {
            let stack = Self::start();
            configure(stack.servers.broker_port(), "longPollingEnable=true");
            stack
        })
    }

    /// A new topic.
    pub(crate) fn topic(&self, name: &str) -> RocketConfig {
        self.servers.create_topic(name, QUEUES).unwrap();
        self.config(name)
    }

    pub(crate) fn config(&self, topic: &str) -> RocketConfig {
        let config = RocketConfig::new(vec![self.servers.namesrv()]);
        RocketConfig { topic: topic.to_owned(), ..config }
    }

    pub(crate) fn commit_log(&self) -> PathBuf {
        self.folder.path().join("broker/store/commitlog")
    }
}

/// Changes a setting of a running broker: one request in RocketMQ's own protocol.
fn configure(port: u16, setting: &str) {
    let header = r#"{"code":25,"flag":0,"language":"JAVA","opaque":1,"version":0,"serializeTypeCurrentRPC":"JSON"}"#;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut frame = Vec::new();
    frame.extend(u32::try_from(4 + header.len() + setting.len()).unwrap().to_be_bytes());
    frame.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
    frame.extend(header.bytes());
    frame.extend(setting.bytes());
    stream.write_all(&frame).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("\"code\":0,"), "{answer}");
}

/// A log and its queues.
pub(crate) async fn open(config: &RocketConfig) -> (Arc<RocketLog>, RocketQueues) {
    let log = RocketLog::open(config.clone()).await.unwrap();
    (Arc::new(log), RocketQueues::open(config.clone()).await.unwrap())
}

pub(crate) fn record(key: u64, text: &str) -> NewRecord {
    NewRecord { key, bytes: text.to_owned().into() }
}

/// Appends until it is taken.
pub(crate) async fn append_at_last(log: &RocketLog, records: Vec<NewRecord>) {
    until("an append that is taken", async || log.append(records.clone()).await.is_ok()).await;
}

/// The queue of a key.
pub(crate) fn queue_of(queues: &RocketQueues, key: u64) -> Arc<dyn LogQueue> {
    Arc::clone(&queues.queues()[usize::try_from(key % u64::from(QUEUES)).unwrap()])
}

/// Waits for something that comes by itself.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed().as_secs() < 30, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
