//! The embedded adapters: everything `ringway up` needs, in one process and one folder.
//!
//! ```text
//! data folder (0700)
//!   lock          held by the process that serves the folder; holds its process id
//!   token.key     signs access tokens
//!   ringway.db    archive and directory (SQLite)
//!   journal/      the event log
//! ```
//!
//! [`open_embedded`] is the way in for the process that serves; [`open_directory`] is for tools that write
//! accounts or tokens beside it.

mod dedup;
mod folder;
mod journal_log;
mod lists;
mod marks;
mod numbering;
mod points;
mod reading;
mod state;
mod tails;

use std::path::Path;
use std::sync::Arc;

use ringway_journal::{Journal, JournalConfig, JournalStats, Recovery};
use thiserror::Error;

use crate::ports::{Archive, StoreError};
use crate::sqlite::{self, Database, SqliteArchive, SqliteDirectory};
use crate::token::TokenKey;

pub use folder::{FolderError, FolderLock};
pub use journal_log::JournalLog;
pub use state::EmbeddedState;

/// The only generation of the embedded sequencer: its numbers are rebuilt from the log, never lost.
pub const EPOCH: u64 = 1;

/// Why the data folder cannot be served.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder itself.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The database.
    #[error(transparent)]
    Database(#[from] sqlite::OpenError),
    /// The database opened and then failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event log.
    #[error(transparent)]
    Journal(#[from] ringway_journal::OpenError),
    /// Journal and archive are not of one piece: a folder was restored or removed by half.
    #[error(
        "the journal holds records {first}..{end}, but the archive goes on at {consumed}: they do not belong together"
    )]
    Mismatch {
        /// First record of the journal.
        first: u64,
        /// One past its last.
        end: u64,
        /// Where the archive wants to go on.
        consumed: u64,
    },
}

/// The open parts of a data folder.
#[derive(Debug)]
pub struct Embedded {
    /// The event log.
    pub log: Arc<JournalLog>,
    /// Numbers, dedup, cursors.
    pub state: Arc<EmbeddedState>,
    /// Messages for good.
    pub archive: Arc<SqliteArchive>,
    /// Accounts and groups.
    pub directory: Arc<SqliteDirectory>,
    /// Signs access tokens.
    pub token_key: Arc<TokenKey>,
    /// What the journal found at start.
    pub recovery: Recovery,
    database: Database,
    lock: FolderLock,
}

impl Embedded {
    /// Counters of the journal.
    #[must_use]
    pub fn journal_stats(&self) -> JournalStats {
        self.log.stats()
    }

    /// Closes journal and database and lets the folder go. Whatever is not archived is numbered again at
    /// the next start.
    pub async fn close(&self) {
        self.log.close().await;
        self.database.close().await;
        self.lock.release();
    }
}

/// Opens all parts in `data_dir`, which is made when it is missing. The daemon's `recover` has to run
/// before anything is sent.
///
/// # Errors
/// See [`OpenError`].
pub async fn open_embedded(data_dir: &Path) -> Result<Embedded, OpenError> {
    open_embedded_with(data_dir, JournalConfig::new(data_dir.join("journal"))).await
}

/// As [`open_embedded`], with settings for the journal.
///
/// # Errors
/// See [`OpenError`].
pub async fn open_embedded_with(data_dir: &Path, journal: JournalConfig) -> Result<Embedded, OpenError> {
    let lock = FolderLock::take(data_dir)?;
    let key_file = data_dir.join("token.key");
    let token_key = TokenKey::load_or_create(&key_file).map_err(|error| FolderError::io(&key_file, error))?;
    let database = Database::open(data_dir).await?;
    let opened = tokio::task::spawn_blocking(move || Journal::open(journal)).await;
    let (journal, recovery) = opened.map_err(|error| StoreError::new("journal", error))??;
    let archive = SqliteArchive::new(database.clone());
    let consumed = archive.consumed_offset().await?.0;
    if consumed > recovery.end || consumed < recovery.first {
        journal.close().await;
        return Err(OpenError::Mismatch { first: recovery.first, end: recovery.end, consumed });
    }
    Ok(Embedded {
        log: Arc::new(JournalLog::new(journal)),
        state: Arc::new(EmbeddedState::open(database.clone()).await?),
        archive: Arc::new(archive),
        directory: Arc::new(SqliteDirectory::new(database.clone())),
        token_key: Arc::new(token_key),
        recovery,
        database,
        lock,
    })
}

/// Opens only accounts and the token key, beside a process that may be serving the folder.
///
/// # Errors
/// See [`OpenError`].
pub async fn open_directory(data_dir: &Path) -> Result<(SqliteDirectory, TokenKey), OpenError> {
    folder::make(data_dir)?;
    let key_file = data_dir.join("token.key");
    let token_key = TokenKey::load_or_create(&key_file).map_err(|error| FolderError::io(&key_file, error))?;
    Ok((SqliteDirectory::new(Database::open(data_dir).await?), token_key))
}
