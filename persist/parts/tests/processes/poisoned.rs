//! A record that MariaDB refuses for what is in it: set aside after a bounded number of tries, while its queue goes on.

use std::sync::Arc;
use std::time::Duration;

use ringway_engine::event::MessageEvent;
use ringway_engine::ids::ConversationId;
use ringway_mysql::MySqlArchive;
use ringway_parts::stores::Stores;
use ringway_peer::{PeerLimits, PeerLinks, RemoteGateways};
use ringway_persist::limits::POISON_REFUSALS_MAX;
use ringway_persist::{DaemonConfig, WorkerPorts, Workers, WorkersConfig};
use ringway_rocketmq::RocketQueues;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, message};
use ringway_store::ports::{Archive, Holes as _, LogQueue, NodeRun, PageFrom};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::deployment::{Deployment, QUEUES};
use crate::program::LIMIT;

/// Tries of a batch before it is asked whether the archive is there; few, as each waits twice as long as the one before.
const TRIES: u32 = 1;

/// Workers on real parts.
struct Working {
    workers: Arc<Workers>,
    queues: RocketQueues,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Working {
    async fn start(deployment: &Deployment, stores: &Stores) -> Self {
        let queues = RocketQueues::open(deployment.rocketmq()).await.unwrap();
        let pair = |queue: Arc<dyn LogQueue>| {
            let archive: Arc<dyn Archive> = Arc::new(MySqlArchive::new(stores.database.clone(), queue.name()));
            (queue, archive)
        };
        let ports = WorkerPorts {
            state: stores.state.clone(),
            upkeep: stores.state.clone(),
            directory: stores.directory.clone(),
        };
        let daemon = DaemonConfig { poison_tries: TRIES, gather_ms: 20, ..DaemonConfig::default() };
        let config = WorkersConfig { daemon, turn_ms: 100, lease_ms: 2_000 };
        let leases = Arc::new(stores.database.clone());
        let pairs = queues.queues().into_iter().map(pair).collect();
        let workers = Arc::new(Workers::new(pairs, ports, leases, "persist-1".to_owned(), config));
        let run = NodeRun { node: "persist-1".to_owned(), boot: 1 };
        let links = Arc::new(PeerLinks::new(run, deployment.peer_key(), PeerLimits::DEFAULT));
        let gateways = Arc::new(RemoteGateways::start(links, stores.routes.clone()));
        let (stop, stopped) = watch::channel(false);
        let running = Arc::clone(&workers);
        let task = tokio::spawn(async move { running.run(gateways, stopped).await });
        Self { workers, queues, stop, task }
    }

    /// A counter over all queues.
    fn counted(&self, name: &str) -> u64 {
        let text = self.workers.metrics_text();
        let rows = text.lines().filter_map(|line| line.rsplit_once(' '));
        let own = rows.filter(|(metric, _)| metric.split('{').next() == Some(name));
        own.map(|(_, value)| value.parse::<u64>().unwrap()).sum()
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
        self.queues.close().await;
    }
}

/// Waits until these numbers of a conversation are archived.
async fn until_archived(stores: &Stores, of: &str, numbers: &[u64]) {
    let began = Instant::now();
    loop {
        let page = stores.archive.page(&conv(of), PageFrom::After(0), 1_000).await.unwrap();
        let found: Vec<u64> = page.iter().map(|item| item.seq).collect();
        if found == numbers {
            return;
        }
        assert!(began.elapsed() < LIMIT, "{of}: {found:?} instead of {numbers:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Messages of a conversation with these ids; one of them, if it is there, is more than its column takes.
fn run(of: &str, ids: std::ops::RangeInclusive<u64>, poison: u64) -> Vec<Arc<MessageEvent>> {
    let one = |id| {
        let mut event = message(of, "a", &format!("c-{id}"), id, now_ms());
        if id == poison {
            Arc::make_mut(&mut event).enc = "e".repeat(100).into();
        }
        event
    };
    ids.map(one).collect()
}

#[tokio::test]
async fn what_mariadb_refuses_becomes_a_dead_letter_and_its_queue_goes_on() {
    let deployment = Deployment::new();
    let stores = deployment.stores().await;
    let queue_of = |name: &str| ConversationId::parse(name).unwrap().stable_hash() % u64::from(QUEUES);
    let (hurt, neighbour) = ("group:0", (1..).map(|n| format!("group:{n}")));
    // Another conversation of the same queue, and one of another.
    let same = neighbour.clone().find(|name| queue_of(name) == queue_of(hurt)).unwrap();
    let other = neighbour.clone().find(|name| queue_of(name) != queue_of(hurt)).unwrap();
    deployment.append(&[run(hurt, 1..=13, 7), run(&same, 21..=23, 0), run(&other, 31..=33, 0)].concat()).await;
    let working = Working::start(&deployment, &stores).await;
    let rest: Vec<u64> = (1..=13).filter(|seq| *seq != 7).collect();
    until_archived(&stores, &other, &[1, 2, 3]).await;
    until_archived(&stores, hurt, &rest).await;
    until_archived(&stores, &same, &[1, 2, 3]).await;

    let letters = stores.database.dead_letters(9).await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert!(letter.reason.starts_with("the archive refuses it: mysql: "), "{}", letter.reason);
    assert!(letter.reason.contains("Data too long for column 'enc'"), "{}", letter.reason);
    assert!(letter.bytes.windows(9).any(|bytes| bytes == b"message 7"), "its bytes are kept");
    assert_eq!(working.counted("ringway_persist_log_dead_letters_total"), 1);
    // The whole and the single record are each tried so often, and the halves between them once.
    let retries = working.counted("ringway_persist_store_retries_total");
    assert!((1..=u64::from(2 * (TRIES + POISON_REFUSALS_MAX))).contains(&retries), "{retries} tries");
    // What has no row is a hole, and is found as one.
    let holes = stores.database.oldest_holes(9).await.unwrap();
    assert_eq!(holes.iter().map(|hole| (hole.conv.as_str(), hole.first)).collect::<Vec<_>>(), [(hurt, 7)]);

    // The queue goes on with whatever comes.
    deployment.append(&run(hurt, 14..=15, 0)).await;
    until_archived(&stores, hurt, &[rest, vec![14, 15]].concat()).await;
    assert_eq!(stores.database.dead_letters(9).await.unwrap().len(), 1);
    working.stop().await;
    stores.close().await;
}
