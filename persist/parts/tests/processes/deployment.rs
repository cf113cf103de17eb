//! The servers of the tests, and what the programs are told of them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use ringway_engine::event::{MessageEvent, encode_message};
use ringway_engine::ids::ConversationId;
use ringway_parts::board::Board;
use ringway_parts::sections;
use ringway_parts::stores::Stores;
use ringway_peer::PeerKey;
use ringway_rocketmq::{RocketConfig, RocketLog};
use ringway_stack::{Folder, MariaDb, RedisServer, RocketMq};
use ringway_store::ports::{EventLog as _, NewRecord};
use tempfile::TempDir;

use crate::program::LIMIT;

/// Queues of every topic.
pub(crate) const QUEUES: u16 = 4;

/// Servers that all tests share; they end with the process.
struct Shared {
    rocketmq: RocketMq,
    mariadb: MariaDb,
    redis: RedisServer,
    _folder: Folder,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let folder = Folder::new().unwrap();
        Shared {
            rocketmq: RocketMq::start(folder.path()).unwrap(),
            mariadb: MariaDb::start(folder.path()).unwrap(),
            redis: RedisServer::start(folder.path()).unwrap(),
            _folder: folder,
        }
    })
}

/// A deployment of its own on the shared servers: database, topic, key prefix, keys.
pub(crate) struct Deployment {
    pub(crate) mysql: String,
    pub(crate) redis: String,
    topic: String,
    folder: TempDir,
}

impl Deployment {
    pub(crate) fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("deployment_{}", MADE.fetch_add(1, Ordering::Relaxed));
        let servers = shared();
        servers.rocketmq.create_topic(&name, QUEUES).unwrap();
        // Beside the test, which lies on a disk: a temporary folder may be memory.
        let own = std::env::current_exe().unwrap();
        let folder = tempfile::Builder::new().prefix("ringway-parts-").tempdir_in(own.parent().unwrap()).unwrap();
        std::fs::write(folder.path().join("token.key"), [7; 32]).unwrap();
        std::fs::write(folder.path().join("peers.key"), "p".repeat(64)).unwrap();
        let mysql = servers.mariadb.create_database(&name).unwrap();
        Self { mysql, redis: servers.redis.url(), topic: name, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SQL on the server of the database.
    pub(crate) fn sql(&self, statement: &str) -> String {
        shared().mariadb.sql(&format!("USE {}; {statement}", self.topic)).unwrap()
    }

    /// Its stores, for a test that is a node itself.
    pub(crate) async fn stores(&self) -> Stores {
        let mysql = sections::MySql { url: self.mysql.clone(), ..sections::MySql::default() }.config().unwrap();
        let (url, prefix) = (self.redis.clone(), format!("{}:", self.topic));
        let redis = sections::Redis { url, prefix, ..sections::Redis::default() }.config().unwrap();
        Stores::open(&Board::default(), &mysql, &redis).await.unwrap()
    }

    /// Its event log, for a test that appends or consumes itself.
    pub(crate) fn rocketmq(&self) -> RocketConfig {
        let (name_servers, topic) = (vec![shared().rocketmq.namesrv()], self.topic.clone());
        let section =
            sections::RocketMq { name_servers, topic, queues: QUEUES.into(), ..sections::RocketMq::default() };
        section.config().unwrap()
    }

    /// Appends messages as gateways do, in this order.
    pub(crate) async fn append(&self, events: &[Arc<MessageEvent>]) {
        let log = RocketLog::open(self.rocketmq()).await.unwrap();
        let record = |event: &Arc<MessageEvent>| NewRecord {
            key: ConversationId::parse(&event.conv).unwrap().stable_hash(),
            bytes: encode_message(event),
        };
        log.append(events.iter().map(record).collect()).await.unwrap();
        log.close().await;
    }

    /// What its processes prove to each other that they hold.
    pub(crate) fn peer_key(&self) -> PeerKey {
        PeerKey::load(&self.folder().join("peers.key")).unwrap()
    }

    fn common(&self) -> Vec<String> {
        let key = |name: &str| self.folder().join(name).display().to_string();
        keys(&[
            ("admin.listen", "127.0.0.1:0"),
            ("mysql.url", &self.mysql),
            ("redis.url", &self.redis),
            ("redis.prefix", &format!("{}:", self.topic)),
            ("peers.key_file", &key("peers.key")),
        ])
    }

    fn with_queue(&self) -> Vec<String> {
        let more = keys(&[
            ("rocketmq.name_servers", &shared().rocketmq.namesrv()),
            ("rocketmq.topic", &self.topic),
            ("rocketmq.queues", &QUEUES.to_string()),
        ]);
        [self.common(), more].concat()
    }

    /// Arguments of a gateway.
    pub(crate) fn gateway(&self, number: u8) -> Vec<String> {
        let more = keys(&[
            ("gateway.listen", "127.0.0.1:0"),
            ("gateway.shards", "1"),
            ("gateway.pin", "false"),
            ("node.number", &number.to_string()),
            ("peers.listen", "127.0.0.1:0"),
            ("tokens.key_file", &self.folder().join("token.key").display().to_string()),
            ("spool.folder", &self.folder().join(format!("spool-{number}")).display().to_string()),
        ]);
        [self.with_queue(), more].concat()
    }

    /// Arguments of a persist process.
    pub(crate) fn persist(&self, owner: &str) -> Vec<String> {
        [self.with_queue(), keys(&[("persist.owner", owner)])].concat()
    }

    /// Arguments of an API.
    pub(crate) fn api(&self) -> Vec<String> {
        let token_key = self.folder().join("token.key").display().to_string();
        [self.common(), keys(&[("api.listen", "127.0.0.1:0"), ("tokens.key_file", &token_key)])].concat()
    }
}

/// Keys as arguments.
pub(crate) fn keys(keys: &[(&str, &str)]) -> Vec<String> {
    keys.iter().flat_map(|(key, value)| [format!("--{key}"), (*value).to_owned()]).collect()
}

/// What an admin listener answers: status and body.
pub(crate) fn get(url: &str, path: &str) -> (u16, String) {
    ask(url, path, "")
}

/// The same, asked with header lines.
pub(crate) fn ask(url: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n{headers}connection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until an admin listener's readiness is as wanted, and returns how it said so.
pub(crate) fn wait_until_ready_is(admin: &str, status: u16, reason: &str) -> String {
    wait_for(&format!("/readyz {status} with {reason:?}"), || {
        let (found, body) = get(admin, "/readyz");
        (found == status && body.contains(reason)).then_some(body)
    })
}

/// Waits for something that comes by itself.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}
