//! Why the journal does not open, take or give records.

use std::path::PathBuf;

use thiserror::Error;

use crate::support::Unsupported;

/// Why a journal was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The settings contradict each other.
    #[error("journal settings: {0}")]
    Config(String),
    /// Another process, or another `Journal` of this one, has the folder open.
    #[error("journal folder {0} is in use by another process")]
    Locked(PathBuf),
    /// What is on disk is not what was written, and it is not just an unacknowledged tail. Nothing was
    /// changed. Someone has to decide: restore the file, or move the folder away and lose what it holds.
    #[error("journal is damaged: {file} at byte {offset}: {what}")]
    Damaged {
        /// The file that does not hold what it should.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What was expected and is not there.
        what: String,
    },
    /// The folder was written by a newer version of this program. Nothing was changed.
    #[error("{file} has format version {found}, this program reads up to {known}: run the version that wrote it")]
    NewerVersion {
        /// The file that says so.
        file: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version this program reads.
        known: u16,
    },
    /// The machine or the file system lacks what the journal needs.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A file operation failed.
    #[error("journal: {what} {path}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The journal thread could not be started or ended early.
    #[error("journal thread: {0}")]
    Thread(String),
}

/// Why nothing of an append may be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AppendError {
    /// No room: disk full, journal's byte bound reached, or too much waiting. Nothing was written; it
    /// recovers by itself.
    #[error("journal is full: {0}")]
    Full(String),
    /// One append brings more than fits a commit. Nothing was written; it never will be.
    #[error("append of {bytes} bytes exceeds {bytes_max}")]
    TooLarge {
        /// What it brings, with the four bytes in front of each record.
        bytes: usize,
        /// What one may bring.
        bytes_max: usize,
    },
    /// A write or flush failed: what is on disk is unknown, so the journal takes nothing more until it is
    /// opened anew.
    #[error("journal has failed: {0}")]
    Failed(String),
    /// The journal is closed.
    #[error("journal is closed")]
    Closed,
}

/// Why a read gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The ordinal is below what was released; the first that is still there.
    #[error("journal records before {0} are released")]
    Released(u64),
    /// The disk gave other bytes than were written, or none.
    #[error("journal is damaged: {0}")]
    Damaged(String),
    /// The journal is closed.
    #[error("journal is closed")]
    Closed,
}

/// The journal closed before what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("journal is closed")]
pub struct Closed;
