//! The drift check, over Redis and MariaDB: damage is done past the adapter, one round repairs it, a second one finds
//! nothing; and what is healthy is left alone.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use ringway_engine::event::MessageEvent;
use ringway_mysql::{Database, MySqlArchive, MySqlConfig, MySqlDirectory};
use ringway_redis::{RedisConfig, RedisState, Stores};
use ringway_stack::{ClusterRedis, Folder, MariaDb, RedisServer, Reply};
use ringway_store::conformance::shared_state::{self, now_ms};
use ringway_store::conformance::{conv, device, message, uid};
use ringway_store::ports::{
    Archive as _, ArchiveBatch, CursorUpdate, Drift as _, DriftKind, Drifted, Epochs as _, NumberedMessage, PageFrom,
    SharedState as _, Upkeep as _,
};

use crate::harness::{cluster_config, tell};

/// A database of its own on the one server of these tests, which ends with the process.
struct Sql {
    database: Database,
    archive: MySqlArchive,
    directory: MySqlDirectory,
}

impl Sql {
    async fn new() -> Self {
        static SERVER: OnceLock<(MariaDb, Folder)> = OnceLock::new();
        static MADE: AtomicU32 = AtomicU32::new(0);
        let (server, _) = SERVER.get_or_init(|| {
            let folder = Folder::new().unwrap();
            (MariaDb::start(folder.path()).unwrap(), folder)
        });
        let url = server.create_database(&format!("drift_{}", MADE.fetch_add(1, Relaxed))).unwrap();
        let database = Database::open(MySqlConfig::new(url)).await.unwrap();
        let (archive, directory) = (MySqlArchive::new(database.clone(), "log"), MySqlDirectory::new(database.clone()));
        Self { database, archive, directory }
    }

    async fn open(&self, config: RedisConfig) -> RedisState {
        let database = Arc::new(self.database.clone());
        let (epochs, records) = (database.clone(), database);
        let stores = Stores { epochs, records, archive: Arc::new(self.archive.clone()) };
        RedisState::open(config, stores).await.unwrap()
    }

    fn stores<'a>(&'a self, state: &'a RedisState) -> shared_state::Stores<'a> {
        shared_state::Stores { state, upkeep: state, archive: &self.archive, directory: &self.directory }
    }

    /// Archives, and dies before it can tell.
    async fn archive_untold(&self, state: &RedisState, events: &[Arc<MessageEvent>]) {
        let numbers = state.number(events).await.unwrap();
        let messages = events.iter().zip(numbers).map(|(event, number)| NumberedMessage {
            event: Arc::clone(event),
            epoch: number.epoch,
            seq: number.seq,
        });
        let batch = ArchiveBatch { messages: messages.collect(), ..ArchiveBatch::default() };
        self.archive.commit(&batch).await.unwrap();
    }

    async fn epoch(&self) -> u64 {
        self.database.current().await.unwrap().number
    }
}

struct Bench {
    sql: Sql,
    server: RedisServer,
    _folder: Folder,
}

impl Bench {
    async fn new() -> Self {
        let folder = Folder::new().unwrap();
        let server = RedisServer::start(folder.path()).unwrap();
        Self { sql: Sql::new().await, server, _folder: folder }
    }

    async fn state_that_settles_in(&self, drift_settle_ms: u64) -> RedisState {
        let config = RedisConfig::from_url(&self.server.url()).unwrap();
        self.sql.open(RedisConfig { drift_settle_ms, ..config }).await
    }

    async fn state(&self) -> RedisState {
        self.state_that_settles_in(100).await
    }

    /// Seven messages, archived and told of.
    async fn seven(&self) -> RedisState {
        let state = self.state().await;
        self.sql.stores(&state).archive(&run(1, 7), 7).await;
        state
    }

    fn tell(&self, words: &[&str]) -> Reply {
        tell(&self.server, words)
    }

    /// The number that a new message gets from a process that remembers nothing.
    async fn next_number(&self, id: u64) -> u64 {
        self.state().await.number(&run(id, 1)).await.unwrap()[0].seq
    }
}

fn run(first: u64, count: u64) -> Vec<Arc<MessageEvent>> {
    (first..first + count).map(|n| message("p2p:a:b", "a", &format!("c-{n}"), n, now_ms())).collect()
}

async fn round(state: &RedisState) -> Drifted {
    let (mut round, mut all) = (state.round(), Drifted::default());
    while let Some(page) = round.next().await.unwrap() {
        all.add(&page);
    }
    all
}

fn repaired(drifted: &Drifted) -> Vec<(&'static str, u64)> {
    let of = |kind: DriftKind| (kind.name(), drifted.repaired(kind));
    DriftKind::ALL.into_iter().map(of).filter(|(_, count)| *count > 0).collect()
}

/// One round repairs this, and a second one finds nothing.
async fn check(state: &RedisState, expected: &[(DriftKind, u64)]) {
    let expected: Vec<(&str, u64)> = expected.iter().map(|(kind, count)| (kind.name(), *count)).collect();
    assert_eq!(repaired(&round(state).await), expected);
    let again = round(state).await;
    assert_eq!(repaired(&again), []);
    assert!(again.conversations > 0);
}

#[tokio::test]
async fn copies_of_archived_messages_that_nobody_remembers_are_let_go() {
    let bench = Bench::new().await;
    let (gateway, daemon) = (bench.state().await, bench.state().await);
    let events = run(1, 600);
    gateway.number(&events).await.unwrap();
    // 3, 7 and the last ones wait for the archive; the others are there, and nobody was told.
    let (early, late) = ([&events[..2], &events[3..6]].concat(), events[7..580].to_vec());
    bench.sql.archive_untold(&daemon, &[early, late].concat()).await;
    drop((gateway, daemon));
    // Keys that somebody damaged hold up nobody else's repair.
    bench.tell(&["SET", "im:seq:{p2p:a:z}", "x"]);
    bench.tell(&["SET", "im:cursor:{z}", "x"]);
    let checker = bench.state().await;
    check(&checker, &[(DriftKind::Copy, 578)]).await;
    assert_eq!(bench.tell(&["ZCARD", "im:recent:{p2p:a:b}"]), Reply::Number(22));
    assert_eq!(bench.tell(&["EXISTS", "im:fresh:{a}"]), Reply::Number(0), "the archive names it");
    let page = checker.page(&conv("p2p:a:b"), PageFrom::After(0), 1_000).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.msg_id).collect::<Vec<_>>(), (1..=600).collect::<Vec<_>>());
    assert_eq!(bench.sql.epoch().await, 2, "no number was at risk");
}

#[tokio::test]
async fn a_head_below_the_archive_gives_no_number_twice() {
    let bench = Bench::new().await;
    let checker = bench.seven().await;
    bench.tell(&["HSET", "im:seq:{p2p:a:b}", "head", "4"]);
    check(&checker, &[(DriftKind::Head, 1)]).await;
    assert_eq!((bench.next_number(8).await, bench.sql.epoch().await), (8, 3));
}

#[tokio::test]
async fn a_hole_that_the_archive_has_filled_is_not_given_out() {
    let bench = Bench::new().await;
    let checker = bench.seven().await;
    bench.tell(&["RPUSH", "im:holes:{p2p:a:b}", "3-4"]);
    check(&checker, &[(DriftKind::Hole, 1)]).await;
    assert_eq!((bench.next_number(8).await, bench.sql.epoch().await), (8, 3));
}

#[tokio::test]
async fn more_is_not_dense_than_the_archive_has() {
    let bench = Bench::new().await;
    let checker = bench.seven().await;
    bench.tell(&["HSET", "im:seq:{p2p:a:b}", "dense", "99"]);
    check(&checker, &[(DriftKind::Dense, 1)]).await;
    assert_eq!(bench.tell(&["HGET", "im:seq:{p2p:a:b}", "dense"]), Reply::Text("7".into()));
    assert_eq!((bench.next_number(8).await, bench.sql.epoch().await), (8, 2));
}

#[tokio::test]
async fn a_number_that_nobody_has_any_more_is_given_out_again() {
    let bench = Bench::new().await;
    let checker = bench.seven().await;
    let lost = run(8, 2);
    bench.state().await.number(&lost).await.unwrap();
    bench.tell(&["DEL", "im:recent:{p2p:a:b}"]);
    check(&checker, &[(DriftKind::Missing, 1)]).await;
    // Their events come out of the log.
    bench.sql.stores(&checker).archive(&lost, 9).await;
    let page = checker.page(&conv("p2p:a:b"), PageFrom::After(0), 100).await.unwrap();
    assert_eq!((page.items.len(), page.more), (9, false));
}

#[tokio::test]
async fn a_number_that_two_messages_hold_goes_to_the_archived_one() {
    let bench = Bench::new().await;
    let checker = bench.seven().await;
    bench.tell(&["HSET", "im:seq:{p2p:a:b}", "head", "4"]);
    assert_eq!(bench.next_number(8).await, 5, "so it would go on");
    bench.tell(&["HSET", "im:seq:{p2p:a:b}", "head", "7"]);
    check(&checker, &[(DriftKind::Taken, 1)]).await;
    bench.sql.stores(&checker).archive(&run(8, 1), 8).await;
    let page = checker.page(&conv("p2p:a:b"), PageFrom::After(0), 100).await.unwrap();
    assert_eq!(page.items.iter().map(|item| item.msg_id).collect::<Vec<_>>(), (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn cursors_that_nobody_carries_to_sql_get_there_and_lower_ones_go() {
    let bench = Bench::new().await;
    let checker = bench.seven().await;
    let (b, id) = (uid("b"), conv("p2p:a:b"));
    let epoch = bench.sql.epoch().await;
    let known = CursorUpdate { uid: b.clone(), device: device("phone"), conv: id, epoch, seq: 7 };
    checker.acknowledge(vec![known]).await;
    checker.flush_cursors().await.unwrap();
    bench.tell(&["HSET", "im:cursor:{b}", "p2p:a:b phone", &format!("{epoch} 3")]);
    bench.tell(&["HSET", "im:cursor:{b}", "p2p:a:b pad", &format!("{epoch} 5")]);
    check(&checker, &[(DriftKind::Cursor, 2)]).await;
    assert_eq!(bench.tell(&["EXISTS", "im:cursor:{b}"]), Reply::Number(0));
    let at = async |on: &str| checker.points(&b, &device(on), now_ms()).await.unwrap()[0].device_cursor;
    assert_eq!((at("phone").await, at("pad").await), (Some(7), Some(5)));
}

#[tokio::test]
async fn what_is_healthy_and_in_use_is_left_alone() {
    let bench = Bench::new().await;
    let (gateway, daemon) = (bench.state().await, bench.state().await);
    let checker = bench.state_that_settles_in(2_000).await;
    let (over, archived) = (AtomicBool::new(false), AtomicU64::new(0));
    let convs: Vec<String> = (10..40).map(|n| format!("p2p:a:b{n}")).collect();
    let traffic = async {
        let (mut id, mut waiting) = (0, Vec::new());
        while !over.load(Relaxed) {
            let taken: Vec<_> = convs
                .iter()
                .map(|conv| {
                    id += 1;
                    message(conv, "a", &format!("c-{id}"), id, now_ms())
                })
                .collect();
            let numbers = gateway.number(&taken).await.unwrap();
            let acks = taken.iter().zip(&numbers).map(|(event, number)| CursorUpdate {
                uid: uid("a"),
                device: device("phone"),
                conv: conv(&event.conv),
                epoch: number.epoch,
                seq: number.seq,
            });
            gateway.acknowledge(acks.collect()).await;
            // Out of order, as writers are: every third waits for the next turn, and some for very long.
            let (now, later): (Vec<_>, Vec<_>) = taken
                .into_iter()
                .chain(waiting)
                .partition(|event: &Arc<MessageEvent>| !(event.msg_id + id).is_multiple_of(3));
            waiting = later;
            bench.sql.stores(&daemon).archive(&now, id).await;
            archived.fetch_add(now.len() as u64, Relaxed);
            daemon.flush_cursors().await.unwrap();
        }
    };
    let rounds = async {
        let mut seen = Drifted::default();
        while seen.conversations < 90 || archived.load(Relaxed) < 900 {
            seen.add(&round(&checker).await);
        }
        over.store(true, Relaxed);
        seen
    };
    let ((), seen) = tokio::join!(traffic, rounds);
    assert_eq!(repaired(&seen), []);
    assert_eq!(bench.sql.epoch().await, 2);
}

#[tokio::test]
async fn an_epoch_that_ends_in_the_middle_of_a_round_leaves_nothing_to_repair() {
    let bench = Bench::new().await;
    let checker = bench.state_that_settles_in(500).await;
    let (told, untold) = (run(1, 7), run(8, 3));
    bench.sql.stores(&checker).archive(&told, 7).await;
    bench.sql.archive_untold(&bench.state().await, &untold).await;
    bench.tell(&["HSET", "im:seq:{p2p:a:b}", "head", "4"]);
    let mut round = checker.round();
    // The first look: there is much to suspect.
    round.next().await.unwrap().unwrap();
    bench.tell(&["FLUSHALL"]);
    assert_eq!(bench.next_number(11).await, 11);
    let mut rest = Drifted::default();
    while let Some(page) = round.next().await.unwrap() {
        rest.add(&page);
    }
    assert_eq!(repaired(&rest), []);
    assert_eq!(bench.sql.epoch().await, 3, "that of the flush alone");
    assert_eq!(bench.tell(&["ZCARD", "im:recent:{p2p:a:b}"]), Reply::Number(1), "what the new epoch holds stays");
    check(&checker, &[]).await;
}

#[tokio::test]
async fn all_masters_of_a_cluster_are_walked_through() {
    let folder = Folder::new().unwrap();
    let cluster = ClusterRedis::start(folder.path()).unwrap();
    let sql = Sql::new().await;
    let config = RedisConfig { drift_settle_ms: 100, ..cluster_config(&cluster, "im") };
    let (gone, checker) = (sql.open(config.clone()).await, sql.open(config).await);
    let pairs: Vec<String> = (10..60).map(|n| format!("p2p:a:b{n}")).collect();
    let events: Vec<_> = pairs.iter().zip(1..).map(|(pair, id)| message(pair, "a", "c-1", id, now_ms())).collect();
    sql.archive_untold(&gone, &events).await;
    let epoch = sql.epoch().await;
    let acks = (10..60).map(|n| CursorUpdate {
        uid: uid(&format!("b{n}")),
        device: device("phone"),
        conv: conv(&format!("p2p:a:b{n}")),
        epoch,
        seq: 1,
    });
    gone.acknowledge(acks.collect()).await;
    // Of those who are to be written, none is known any more.
    let deleted = cluster
        .nodes
        .iter()
        .filter(|node| matches!(node.connect().unwrap().command(&["DEL", "im:dirty"]), Ok(Reply::Number(1))));
    assert_eq!(deleted.count(), 1);
    drop(gone);
    check(&checker, &[(DriftKind::Copy, 50), (DriftKind::Cursor, 50)]).await;
    let left: i64 = cluster
        .nodes
        .iter()
        .map(|node| match tell(node, &["DBSIZE"]) {
            Reply::Number(keys) => keys,
            other => panic!("{other:?}"),
        })
        .sum();
    // Markers of slots, sequences and sends.
    assert_eq!(left, 16_384 + 50 + 50);
}
