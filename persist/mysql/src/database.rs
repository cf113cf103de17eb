//! The connections: a pool to the primary, and one to a replica of it that serves pages of history.
//!
//! Every connection reads what is committed (`READ COMMITTED`: fewer locks, and nothing here counts on more), refuses
//! values that do not fit (`STRICT_ALL_TABLES`), and is given up by the server when nothing comes on it for a while, so
//! that the locks of a process that vanished end. Waiting is bounded four times: for a connection, for a row, for a
//! statement, for a call. A call that is dropped half-way leaves its connection to a task that rolls its transaction
//! back, or closes it.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringway_store::ports::StoreError;
use sqlx::mysql::{MySqlConnection, MySqlPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, MySql, MySqlPool, Transaction};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::MySqlConfig;
use crate::fault::{Fault, wrong};
use crate::limits::{IDLE_MS, PACKET_BYTES_MIN, PING_AFTER_MS, RELEASE_MS, REPLICA_REST_MS, SERVER_IDLE_S};
use crate::migrate;
use crate::months::Month;

/// Why the database does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Written by a newer version of Ringway.
    #[error("the database has format {found}, this version reads up to {}", migrate::FORMAT_VERSION)]
    Newer {
        /// Its format.
        found: u64,
    },
    /// Another process has been bringing it up to date for too long.
    #[error("another process is still bringing the database up to date")]
    Busy,
    /// A packet of the server may not hold a batch.
    #[error("the server's max_allowed_packet is {found}, and must be {PACKET_BYTES_MIN} at least")]
    Packet {
        /// Its value.
        found: u64,
    },
    /// The server, or the way there.
    #[error("mysql: {0}")]
    Sql(#[from] sqlx::Error),
    /// The same, of a call after the first.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The open database. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    primary: MySqlPool,
    replica: Option<MySqlPool>,
    config: MySqlConfig,
    /// Months whose tables are known to be there.
    months: Mutex<BTreeSet<Month>>,
    /// When a replica that failed is tried again.
    replica_rests_until: Mutex<Option<Instant>>,
    outbox_filled: Notify,
}

impl Database {
    /// Connects, makes the schema or brings it up to date, and makes the tables of the coming months. The replica
    /// is connected to when a page first needs it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(config: MySqlConfig) -> Result<Self, OpenError> {
        let options = config.options(&config.url)?;
        let acquire = Duration::from_millis(config.acquire_ms);
        let primary = pool(&config, config.acquire_ms).connect_with(options.clone()).await?;
        in_time(acquire, check_server(&primary)).await?;
        // How long a migration takes nobody knows; that the server answers at all was just seen.
        migrate::run(in_time(acquire, async { Ok(options.connect().await?) }).await?).await?;
        let replica = match &config.read_url {
            Some(url) => Some(pool(&config, config.replica_ms).connect_lazy_with(config.options(url)?)),
            None => None,
        };
        let inner = Inner {
            primary,
            replica,
            config,
            months: Mutex::default(),
            replica_rests_until: Mutex::default(),
            outbox_filled: Notify::new(),
        };
        let database = Self { inner: Arc::new(inner) };
        database.make_months(now_ms()).await?;
        Ok(database)
    }

    /// Closes all connections.
    pub async fn close(&self) {
        if let Some(replica) = &self.inner.replica {
            replica.close().await;
        }
        self.inner.primary.close().await;
    }

    pub(crate) fn primary(&self) -> &MySqlPool {
        &self.inner.primary
    }

    /// A transaction on the primary; dropped, it is rolled back.
    pub(crate) async fn write(&self) -> Result<Transaction<'static, MySql>, sqlx::Error> {
        self.inner.primary.begin().await
    }

    /// Ends a call that takes too long: what it holds is dropped.
    pub(crate) async fn bounded<T, R: From<StoreError>>(
        &self,
        call: impl Future<Output = Result<T, Fault<R>>>,
    ) -> Result<T, R> {
        let call_ms = self.inner.config.call_ms;
        match timeout(Duration::from_millis(call_ms), call).await {
            Ok(done) => done.map_err(Fault::answer),
            Err(_) => Err(wrong(format!("no answer within {call_ms} ms")).into()),
        }
    }

    /// The replica, if there is one and it has not failed a moment ago.
    pub(crate) fn replica(&self) -> Option<&MySqlPool> {
        let rests_until = *lock(&self.inner.replica_rests_until);
        let rests = rests_until.is_some_and(|until| Instant::now() < until);
        self.inner.replica.as_ref().filter(|_| !rests)
    }

    /// Asks the replica; `None` when it did not answer well and in time.
    pub(crate) async fn ask_replica<T>(&self, ask: impl Future<Output = Result<T, sqlx::Error>>) -> Option<T> {
        let error = match timeout(Duration::from_millis(self.inner.config.replica_ms), ask).await {
            Ok(Ok(found)) => return Some(found),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        tracing::warn!(error, rest_ms = REPLICA_REST_MS, "the replica fails: history is read from the primary");
        *lock(&self.inner.replica_rests_until) = Some(Instant::now() + Duration::from_millis(REPLICA_REST_MS));
        None
    }

    pub(crate) fn retention_months(&self) -> Option<u32> {
        self.inner.config.retention_months
    }

    pub(crate) fn has_month(&self, month: Month) -> bool {
        lock(&self.inner.months).contains(&month)
    }

    pub(crate) fn knows_months(&self, months: impl IntoIterator<Item = Month>) {
        lock(&self.inner.months).extend(months);
    }

    pub(crate) fn forgets_month(&self, month: Month) {
        lock(&self.inner.months).remove(&month);
    }

    pub(crate) fn outbox_filled(&self) -> &Notify {
        &self.inner.outbox_filled
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Ends what takes too long, as the pool ends waiting for a connection.
async fn in_time<T>(limit: Duration, step: impl Future<Output = Result<T, OpenError>>) -> Result<T, OpenError> {
    timeout(limit, step).await.unwrap_or(Err(OpenError::Sql(sqlx::Error::PoolTimedOut)))
}

fn pool(config: &MySqlConfig, acquire_ms: u64) -> MySqlPoolOptions {
    let (statement_ms, lock_wait_ms) = (config.statement_ms, config.lock_wait_ms);
    MySqlPoolOptions::new()
        .max_connections(config.connections_max)
        .acquire_timeout(Duration::from_millis(acquire_ms))
        .idle_timeout(Duration::from_millis(IDLE_MS))
        .after_connect(move |connection, _| Box::pin(set_up(connection, statement_ms, lock_wait_ms)))
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for >= Duration::from_millis(PING_AFTER_MS) {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        // A connection whose call was dropped may wait for a server that is silent; the place in the pool is needed.
        .after_release(|connection, _| {
            Box::pin(async move {
                match timeout(Duration::from_millis(RELEASE_MS), connection.ping()).await {
                    Ok(alive) => alive.map(|()| true),
                    Err(_) => Err(sqlx::Error::PoolTimedOut),
                }
            })
        })
}

/// Settings of a new session.
async fn set_up(connection: &mut MySqlConnection, statement_ms: u64, lock_wait_ms: u64) -> Result<(), sqlx::Error> {
    let version: crate::text::Text = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut *connection).await?;
    let statement_bound = if version.0.contains("MariaDB") {
        format!("max_statement_time = {}.{:03}", statement_ms / 1_000, statement_ms % 1_000)
    } else {
        format!("max_execution_time = {statement_ms}")
    };
    let lock_wait_s = lock_wait_ms.div_ceil(1_000).max(1);
    let settings = format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', \
         SESSION innodb_lock_wait_timeout = {lock_wait_s}, SESSION lock_wait_timeout = {lock_wait_s}, \
         SESSION wait_timeout = {SERVER_IDLE_S}, SESSION {statement_bound}",
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).execute(connection).await.map(drop)
}

async fn check_server(primary: &MySqlPool) -> Result<(), OpenError> {
    let (flush, packet): (i64, i64) = sqlx::query_as(
        "SELECT CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS SIGNED), CAST(@@GLOBAL.max_allowed_packet AS SIGNED)",
    )
    .fetch_one(primary)
    .await?;
    if flush != 1 {
        tracing::warn!(
            innodb_flush_log_at_trx_commit = flush,
            "the server does not flush its log at each commit: a crash of its machine loses what the event log let go"
        );
    }
    let packet = u64::try_from(packet).unwrap_or(0);
    if packet < PACKET_BYTES_MIN { Err(OpenError::Packet { found: packet }) } else { Ok(()) }
}
