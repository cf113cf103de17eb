//! A whole deployment for a test: its servers and processes end with it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use ringway_e2e::http;
use ringway_e2e::load::{Load, Site, USERS};
use ringway_e2e::metrics::Metrics;
use ringway_e2e::program;
use ringway_stack::{Backends, Extra, Folder, Size, Stack};
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Every test has a node that is neither sender's nor receiver's, and daemons that share the queues.
const SIZE: Size = Size { gateways: 3, persists: 2 };
/// Six devices send a thousand messages a second: enough that every fault meets some.
const PACE: Duration = Duration::from_millis(6);
/// Records in the queues while all is well, at most.
const ARCHIVED: u64 = 5_000;
/// Queues change hands in this time, and nobody tells how many records one has that is nobody's.
const STEADY: Duration = Duration::from_secs(4);
/// How long the daemons may need for what a database that was away has left.
const CATCH_UP: Duration = Duration::from_secs(180);

/// One deployment of this program at a time: each takes all of a small machine, and what is slow fails for no reason of
/// its own.
static TURN: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// Servers, processes, and where clients find them. Fields end in this order.
pub(crate) struct Deployment {
    pub(crate) stack: Stack,
    pub(crate) gateways: Vec<SocketAddr>,
    pub(crate) admins: Vec<SocketAddr>,
    pub(crate) api: SocketAddr,
    _folder: Folder,
    _turn: OwnedMutexGuard<()>,
}

/// Servers without any of Ringway's processes yet.
pub(crate) struct Servers {
    pub(crate) stack: Stack,
    folder: Folder,
    turn: OwnedMutexGuard<()>,
}

impl Servers {
    /// Starts them; blocks until each serves.
    pub(crate) fn start(extras: &[Extra]) -> Self {
        let turn = Arc::clone(&TURN).blocking_lock_owned();
        let folder = Folder::new().unwrap();
        let stack = Stack::up_owned(&folder.path().join("d"), extras).unwrap();
        Self { stack, folder, turn }
    }

    /// Starts the processes; blocks until all are ready. `way` tells how each reaches the servers.
    pub(crate) fn with(self, way: &dyn Fn(&str, Backends) -> Backends) -> Deployment {
        self.running(&program::production().unwrap(), way)
    }

    /// The same with the programs of a folder.
    pub(crate) fn running(mut self, programs: &Path, way: &dyn Fn(&str, Backends) -> Backends) -> Deployment {
        self.stack.add_nodes_by(SIZE, programs, way).unwrap();
        let nodes = self.stack.nodes();
        let list = |name: &str| nodes[name].as_array().unwrap().clone();
        let of = |node: &Value, key: &str| address(node[key].as_str().unwrap());
        let admins = list("gateways").iter().chain(&list("persists")).map(|node| of(node, "admin")).collect();
        let gateways = list("gateways").iter().map(|node| of(node, "ws")).collect();
        let api = of(&nodes["api"], "url");
        Deployment { stack: self.stack, gateways, admins, api, _folder: self.folder, _turn: self.turn }
    }
}

impl Deployment {
    /// Starts all of it.
    pub(crate) async fn start(extras: &'static [Extra]) -> Self {
        blocking(move || Servers::start(extras).with(&|_, servers| servers)).await
    }

    /// Accounts for a load, made by the API.
    pub(crate) async fn site(&self) -> Site {
        let mut tokens = Vec::new();
        for user in USERS {
            tokens.push(http::register(self.api, user).await.unwrap().access);
        }
        Site { ws: self.gateways.clone(), api: self.api, tokens, pace: PACE }
    }

    /// Where health and metrics of a gateway or daemon are, by its name.
    pub(crate) fn admin(&self, name: &str) -> SocketAddr {
        self.names().position(|known| known == name).map(|at| self.admins[at]).unwrap()
    }

    /// The same of all daemons.
    pub(crate) fn daemons(&self) -> &[SocketAddr] {
        &self.admins[self.gateways.len()..]
    }

    /// A port of a process, the API too.
    pub(crate) fn listens(&self, name: &str) -> SocketAddr {
        if name == "api" { self.api } else { self.admin(name) }
    }

    /// Gateways and daemons, in the order of their admin ports.
    fn names(&self) -> impl Iterator<Item = String> {
        let (gateways, all) = (self.gateways.len(), self.admins.len());
        (0..all).map(move |at| match at.checked_sub(gateways) {
            None => format!("gateway-{}", at + 1),
            Some(at) => format!("persist-{}", at + 1),
        })
    }

    /// The epoch that each gateway and daemon works under; 0 where that is not known.
    pub(crate) async fn epochs(&self) -> Vec<(String, u64)> {
        let mut epochs = Vec::new();
        for (name, admin) in self.names().zip(&self.admins) {
            let metrics = Metrics::read(*admin).await;
            epochs.push((name, metrics.map_or(0, |metrics| metrics.sum("ringway_state_epoch"))));
        }
        epochs
    }

    /// Changes servers or processes, which takes its time.
    pub(crate) async fn change(self, change: impl FnOnce(&mut Stack) + Send + 'static) -> Self {
        blocking(move || {
            let mut this = self;
            change(&mut this.stack);
            this
        })
        .await
    }

    /// Waits for so many more answers and says how long they took. Shows the logs when they do not come.
    pub(crate) async fn answered(&mut self, load: &mut Load, more: u64, after: &str) -> Duration {
        let began = Instant::now();
        if let Err(error) = load.until_acknowledged(load.acknowledged() + more).await {
            panic!("after {after}: {error:#}\n{}", self.logs());
        }
        began.elapsed()
    }

    /// Waits until the daemons have archived all but the last seconds of what there is, and keep it so: what a fault
    /// costs afterwards depends on what is not archived, which is another fault's doing.
    pub(crate) async fn archived(&self, load: &mut Load) {
        let deadline = Instant::now() + CATCH_UP;
        let mut since = None;
        loop {
            let mut lag = 0;
            for persist in self.daemons() {
                // One that was just started may not listen yet.
                let metrics = Metrics::read(*persist).await;
                lag += metrics.map_or(u64::MAX / 4, |metrics| metrics.sum("ringway_persist_log_lag_records"));
            }
            if lag >= ARCHIVED {
                since = None;
            } else if since.get_or_insert_with(Instant::now).elapsed() > STEADY {
                return;
            }
            assert!(Instant::now() < deadline, "{lag} records are not archived yet");
            load.look().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Ends a load and judges all that anybody saw; answers how many messages there are.
    pub(crate) async fn judge(&mut self, load: Load) -> usize {
        let history = match load.finish().await {
            Ok(history) => history,
            Err(error) => panic!("{error:#}\n{}", self.logs()),
        };
        if let Err(found) = ringway_e2e::load::judge(&history) {
            panic!("{found:#}\n{}", self.logs());
        }
        history.archive.values().map(Vec::len).sum()
    }

    fn logs(&mut self) -> String {
        let names: Vec<String> = self.names().collect();
        let of = |name: &str| format!("---- {name} ----\n{}", self.stack.logged(name).unwrap_or_default());
        names.iter().map(String::as_str).chain(["api"]).map(of).collect::<Vec<_>>().join("\n")
    }
}

/// Starts and stops of processes wait: not on a thread that drives devices.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn address(url: &str) -> SocketAddr {
    let authority = url.split("://").nth(1).unwrap();
    authority.split('/').next().unwrap().parse().unwrap()
}
