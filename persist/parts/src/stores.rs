//! Database and shared state, opened together: the state counts on the database.

use std::sync::Arc;

use anyhow::anyhow;
use ringway_mysql::{Database, MySqlArchive, MySqlConfig, MySqlDirectory, OpenError};
use ringway_redis::{RedisConfig, RedisRoutes, RedisState, Stores as StateStores};
use ringway_store::ports::{Archive, Epochs as _, Routes, StoreError};

use crate::awaited::awaited;
use crate::board::Board;
use crate::measures::shared_state;
use crate::probe::Probes;

/// The log of the archives that have no offset of their own: they read.
const NO_LOG: &str = "";

/// Everything durable but the event log.
pub struct Stores {
    /// The database, which is also the epochs, records and leases.
    pub database: Database,
    /// Accounts and groups.
    pub directory: Arc<MySqlDirectory>,
    /// Messages, for those who read.
    pub archive: Arc<dyn Archive>,
    /// Numbers and cursors.
    pub state: Arc<RedisState>,
    /// Which node holds whom, on the connection of the state.
    pub routes: Arc<RedisRoutes>,
}

impl Stores {
    /// Opens them, the database first; waits for what is away.
    ///
    /// # Errors
    /// What can never heal.
    pub async fn open(board: &Board, mysql: &MySqlConfig, redis: &RedisConfig) -> anyhow::Result<Self> {
        let heals = |error: &OpenError| match error {
            OpenError::Newer { .. } | OpenError::Packet { .. } => false,
            // A URL that says nothing; anything else is the server's, or the way there.
            OpenError::Sql(error) => !error.to_string().starts_with("error with configuration"),
            OpenError::Busy | OpenError::Store(_) => true,
        };
        let database = awaited(board, "mysql", heals, async || Database::open(mysql.clone()).await).await?;
        let archive: Arc<dyn Archive> = Arc::new(MySqlArchive::new(database.clone(), NO_LOG));
        let stores = StateStores {
            epochs: Arc::new(database.clone()),
            records: Arc::new(database.clone()),
            archive: Arc::clone(&archive),
        };
        let open = async || RedisState::open(redis.clone(), stores.clone()).await;
        let state = Arc::new(awaited(board, "redis", |_: &StoreError| true, open).await?);
        let directory = Arc::new(MySqlDirectory::new(database.clone()));
        let routes = Arc::new(state.routes());
        Ok(Self { database, directory, archive, state, routes })
    }

    /// Asks both whether they still answer, and shows what the state has done.
    pub fn watch(&self, board: &Arc<Board>, probes: &mut Probes) {
        let measured = Arc::downgrade(&self.state);
        board.add_measure(move || measured.upgrade().map_or_else(String::new, |state| shared_state(&state.counts())));
        let database = self.database.clone();
        probes.ask(board, "mysql", move || {
            let database = database.clone();
            async move { database.current().await.map(drop).map_err(|error| anyhow!(error)) }
        });
        let routes = Arc::clone(&self.routes);
        probes.ask(board, "redis", move || {
            let routes = Arc::clone(&routes);
            async move { routes.nodes().await.map(drop).map_err(|error| anyhow!(error)) }
        });
    }

    /// Closes the connections in good order.
    pub async fn close(&self) {
        self.state.close().await;
        self.database.close().await;
    }
}
