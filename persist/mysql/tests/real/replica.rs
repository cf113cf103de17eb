//! History from a read replica. All tests here share one pair of servers, one after the other.

use std::time::{Duration, Instant};

use ringway_mysql::{Month, MySqlConfig};
use ringway_stack::{Folder, ReplicatedMariaDb};
use ringway_store::conformance::conv;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::ports::{Archive, PageFrom, Records};
use tokio::sync::{Mutex, MutexGuard};

use crate::harness::{Opened, batch, fresh, run};

/// What the test writes into the replica alone, to tell where a page came from.
const MARK: &str = "from the replica";

struct Pair {
    servers: ReplicatedMariaDb,
    _folder: Folder,
}

impl Pair {
    /// The adapters over both, with 20 messages that both servers have.
    async fn opened(&self) -> Opened {
        let url = fresh(&self.servers.primary);
        let name = url.rsplit_once('/').unwrap().1;
        let read_url = Some(self.servers.replica.url_of(name));
        let opened = Opened::with(MySqlConfig { read_url, ..MySqlConfig::new(url.clone()) }).await;
        opened.archive.commit(&batch(run("p2p:a:b", 1..=20), 0, 20)).await.unwrap();
        self.servers.wait_until_equal().unwrap();
        let table = Month::of(now_ms()).table();
        self.servers.replica.sql(&format!("UPDATE {name}.{table} SET body = '{MARK}';")).unwrap();
        opened
    }
}

async fn pair() -> MutexGuard<'static, Option<Pair>> {
    static PAIR: Mutex<Option<Pair>> = Mutex::const_new(None);
    let mut pair = PAIR.lock().await;
    if pair.is_none() {
        let folder = Folder::new().unwrap();
        *pair = Some(Pair { servers: ReplicatedMariaDb::start(folder.path()).unwrap(), _folder: folder });
    }
    pair
}

/// The numbers of a page, and whether the replica gave it.
async fn page(opened: &Opened, from: PageFrom, limit: usize) -> (Vec<u64>, bool) {
    let items = opened.archive.page(&conv("p2p:a:b"), from, limit).await.unwrap();
    (items.iter().map(|item| item.seq).collect(), items.iter().any(|item| item.body == MARK))
}

#[tokio::test]
async fn history_is_read_from_the_replica() {
    let pair = pair().await;
    let opened = pair.as_ref().unwrap().opened().await;
    assert_eq!(page(&opened, PageFrom::After(0), 5).await, ((1..=5).collect(), true));
    assert_eq!(page(&opened, PageFrom::Before(20), 5).await, ((15..=19).collect(), true));
    // The newest page, and one that could go on by now: only the primary knows.
    assert_eq!(page(&opened, PageFrom::Before(u64::MAX), 5).await, ((16..=20).collect(), false));
    assert_eq!(page(&opened, PageFrom::After(15), 10).await, ((16..=20).collect(), false));
    let records = opened.database.messages_at(&[("p2p:a:b", 7)]).await.unwrap();
    assert_ne!(records["p2p:a:b"].body, MARK, "records are read from the primary");
}

#[tokio::test]
async fn what_the_replica_lacks_is_no_hole() {
    let pair = pair().await;
    let replica = &pair.as_ref().unwrap().servers.replica;
    let opened = pair.as_ref().unwrap().opened().await;
    replica.sql("STOP REPLICA SQL_THREAD;").unwrap();
    opened.archive.commit(&batch(run("p2p:a:b", 21..=40), 20, 40)).await.unwrap();
    for (from, expected) in [
        (PageFrom::After(18), 19..=28),
        (PageFrom::After(20), 21..=30),
        (PageFrom::Before(32), 22..=31),
        (PageFrom::Before(25), 15..=24),
    ] {
        assert_eq!(page(&opened, from, 10).await, (expected.collect(), false), "{from:?}");
    }
    assert_eq!(page(&opened, PageFrom::After(5), 10).await, ((6..=15).collect(), true), "older pages are the same");
    replica.sql("START REPLICA SQL_THREAD;").unwrap();
}

#[tokio::test]
async fn the_primary_serves_history_while_the_replica_is_away() {
    let mut pair = pair().await;
    let opened = pair.as_ref().unwrap().opened().await;
    let replica = &mut pair.as_mut().unwrap().servers.replica;
    assert!(page(&opened, PageFrom::After(0), 5).await.1);
    replica.pause().unwrap();
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(page(&opened, PageFrom::After(0), 5).await, ((1..=5).collect(), false));
    }
    assert!(began.elapsed() < Duration::from_secs(3), "one page waits for it, the others do not");
    replica.kill().unwrap();
    let again =
        Opened::with(MySqlConfig { read_url: Some(replica.url_of("nothing")), ..MySqlConfig::new(&opened.url) });
    assert_eq!(page(&again.await, PageFrom::After(0), 5).await, ((1..=5).collect(), false));
    replica.restart().unwrap();
    crate::harness::until("the replica serves history again", async || page(&opened, PageFrom::After(0), 5).await.1)
        .await;
}
