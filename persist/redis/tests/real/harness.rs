//! A store of its own for each test, and states over it.

use std::sync::Arc;

use ringway_redis::{RedisConfig, RedisState, Stores, Topology};
use ringway_stack::{ClusterRedis, Folder, RedisOptions, RedisServer, Reply};
use ringway_store::conformance::shared_state;
use ringway_store::ports::{Epochs as _, StoreError};
use ringway_store::sqlite::{Database, SqliteArchive, SqliteDirectory};

/// SQL: the archive, the directory and the epochs.
pub(crate) struct Sql {
    _folder: tempfile::TempDir,
    pub(crate) database: Database,
    pub(crate) archive: SqliteArchive,
    pub(crate) directory: SqliteDirectory,
}

impl Sql {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        let (archive, directory) = (SqliteArchive::new(database.clone()), SqliteDirectory::new(database.clone()));
        Self { _folder: folder, database, archive, directory }
    }

    pub(crate) async fn open(&self, config: RedisConfig) -> Result<RedisState, StoreError> {
        let database = Arc::new(self.database.clone());
        let (epochs, records) = (database.clone(), database);
        RedisState::open(config, Stores { epochs, records, archive: Arc::new(self.archive.clone()) }).await
    }

    pub(crate) fn stores<'a>(&'a self, state: &'a RedisState) -> shared_state::Stores<'a> {
        shared_state::Stores { state, upkeep: state, archive: &self.archive, directory: &self.directory }
    }

    pub(crate) async fn epoch(&self) -> u64 {
        self.database.current().await.unwrap().number
    }
}

/// One server, its folder, and a store.
pub(crate) struct Single {
    pub(crate) sql: Sql,
    pub(crate) server: RedisServer,
    _folder: Folder,
}

impl Single {
    pub(crate) async fn start() -> Self {
        Self::start_with(RedisOptions::default()).await
    }

    pub(crate) async fn start_with(options: RedisOptions) -> Self {
        let folder = Folder::new().unwrap();
        let server = RedisServer::start_with(folder.path(), options).unwrap();
        Self { sql: Sql::new().await, server, _folder: folder }
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::from_url(&self.server.url()).unwrap()
    }

    pub(crate) async fn state(&self) -> RedisState {
        self.sql.open(self.config()).await.unwrap()
    }

    /// Sends one command past the adapter.
    pub(crate) fn tell(&self, words: &[&str]) {
        tell(&self.server, words);
    }
}

/// Sends one command past the adapter.
pub(crate) fn tell(server: &RedisServer, words: &[&str]) -> Reply {
    server.connect().unwrap().command(words).unwrap()
}

pub(crate) fn cluster_config(cluster: &ClusterRedis, prefix: &str) -> RedisConfig {
    let nodes = cluster.nodes.iter().map(|node| ("127.0.0.1".to_owned(), node.port())).collect();
    RedisConfig { prefix: format!("{prefix}:"), ..RedisConfig::new(Topology::Cluster(nodes)) }
}

/// Waits for something that comes by itself.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds().await {
        assert!(began.elapsed().as_secs() < 20, "{what} does not come");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
