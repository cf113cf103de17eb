//! The SQLite adapters: one database file for archive, directory, epochs and records.
//!
//! Owns the file `ringway.db` and its connections: one that writes, a few that read (WAL, so that readers
//! and the writer do not wait for each other). Every commit is flushed to disk before it returns
//! (`synchronous = FULL`): the event log lets go of what the archive has committed. `ringway token`
//! writes from a process of its own at the same time; SQLite's locks and a busy time-out keep the two
//! apart. A call dropped half-way rolls its transaction back before the connection serves another.

mod accounts;
mod archive;
mod conversations;
mod cursors;
mod directory;
mod epochs;
mod gather;
mod groups;
mod messages;
mod outbox;
mod records;
mod sessions;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_engine::ids::{ConversationId, Uid};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr as _, Sqlite, SqlitePool, Transaction};
use thiserror::Error;
use tokio::sync::Notify;

use self::conversations::PlacesOf;
use self::gather::Gather;
use crate::limits::{SQLITE_ACQUIRE_MS, SQLITE_BUSY_MS, SQLITE_CHECKPOINT_PAGES, SQLITE_READERS_MAX};
use crate::ports::{Place, StoreError};
use crate::priority;

pub use archive::SqliteArchive;
pub(crate) use conversations::{RecentSend, heads, list, places, sends, sends_before};
pub(crate) use cursors::raise as raise_cursors;
pub use directory::SqliteDirectory;
pub(crate) use messages::page;

/// Format of the database that this version writes.
pub const FORMAT_VERSION: u64 = 3;
/// Name of the database file in the data folder.
pub const FILE_NAME: &str = "ringway.db";

/// Steps from an empty database to [`FORMAT_VERSION`]: version, name, SQL.
const MIGRATIONS: [(i64, &str, &str); 3] = [
    (1, "path", include_str!("../../migrations/0001_path.sql")),
    (2, "sends by id", include_str!("../../migrations/0002_sends_by_id.sql")),
    (3, "epochs", include_str!("../../migrations/0003_epochs.sql")),
];

fn migrations() -> Migrator {
    // Without sqlx's macro, which would build SQLite once more, for the compiler.
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.map(migration).into())
}

/// Why the database does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Written by a newer version of Ringway.
    #[error("{path} has format {found}, this version reads up to {FORMAT_VERSION}: use a newer ringway", path = path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// SQLite refused.
    #[error("{path}: {error}", path = path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: sqlx::Error,
    },
    /// The file system refused.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: std::io::Error,
    },
}

/// When messages were taken, by conversation and number.
pub(crate) type Times = HashMap<(String, u64), u64>;

/// What is asked of each device that comes back.
#[derive(Debug, Clone, Default)]
struct Gathers {
    groups: Arc<Gather<Uid, Vec<ConversationId>>>,
    places: Arc<Gather<PlacesOf, Vec<Place>>>,
    times: Arc<Gather<Vec<(String, u64)>, Times>>,
}

/// The open database. Clones share the connections.
#[derive(Debug, Clone)]
pub struct Database {
    writer: SqlitePool,
    readers: SqlitePool,
    gathers: Gathers,
    outbox_filled: Arc<Notify>,
}

impl Database {
    /// Opens `ringway.db` in `folder`, making it or bringing it up to date first.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.join(FILE_NAME);
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_millis(SQLITE_BUSY_MS))
            .pragma("wal_autocheckpoint", SQLITE_CHECKPOINT_PAGES.to_string())
            .pragma("temp_store", "memory")
            .pragma("cache_size", "-32768")
            .row_buffer_size(512);
        let pool = || {
            SqlitePoolOptions::new()
                .acquire_timeout(Duration::from_millis(SQLITE_ACQUIRE_MS))
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        // Two processes may meet a new file at once; one of them makes it.
        let lock = migration_lock(folder.join("ringway.db-open")).await?;
        let failed = |error| OpenError::Sqlite { path: path.clone(), error };
        let writer = connect_behind(pool().max_connections(1), options.clone()).await.map_err(failed)?;
        if let Some(found) = found_format(&writer).await.map_err(failed)?.filter(|found| *found > FORMAT_VERSION) {
            writer.close().await;
            return Err(OpenError::Newer { path, found });
        }
        migrations().run(&writer).await.map_err(|error| failed(error.into()))?;
        drop(lock);
        let readers = pool()
            .max_connections(SQLITE_READERS_MAX)
            .connect_with(options.create_if_missing(false).pragma("query_only", "on"))
            .await
            .map_err(failed)?;
        Ok(Self { writer, readers, gathers: Gathers::default(), outbox_filled: Arc::new(Notify::new()) })
    }

    /// Closes all connections; the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }
}

/// As `connect_with`, with the connection's thread behind those of the fast path: it has its priority from
/// the thread that makes it.
async fn connect_behind(pool: SqlitePoolOptions, options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let (connected, connection) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    let connect = move || {
        priority::stand_behind();
        // Whoever asked may be gone; then the connection closes.
        let _ = connected.send(runtime.block_on(pool.connect_with(options)));
    };
    std::thread::Builder::new().name("ringway-connect".into()).spawn(connect)?;
    connection.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

async fn migration_lock(path: PathBuf) -> Result<std::fs::File, OpenError> {
    let at = path.clone();
    let locked = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(path)?;
        file.lock().map(|()| file)
    })
    .await;
    locked.map_err(std::io::Error::other).flatten().map_err(|error| OpenError::Io { path: at, error })
}

async fn found_format(writer: &SqlitePool) -> Result<Option<u64>, sqlx::Error> {
    let exists: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'state'")
        .fetch_one(writer)
        .await?;
    if exists == 0 {
        return Ok(None);
    }
    let found: Option<i64> =
        sqlx::query_scalar("SELECT value FROM state WHERE name = 'format_version'").fetch_optional(writer).await?;
    Ok(found.map(unsigned))
}

fn failed(error: sqlx::Error) -> StoreError {
    StoreError::new("sqlite", error)
}

/// SQLite's integers end at 2^63; nothing counted or timed here gets there.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A list as the JSON text that `json_each` takes apart: one statement text whatever the length.
fn json_list<T: serde::Serialize>(list: &T) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| StoreError::new("sqlite", error))
}
