//! A segmented, group-committed journal on O_DIRECT files.
//!
//! Records get dense ordinals from 0 and are acknowledged once they are on disk. One thread of its own
//! (glommio, io_uring) does all file work; the rest of the process holds a [`Journal`], whose methods may
//! be awaited on any runtime. `README.md` says where to enter.
//!
//! Invariants:
//! - An acknowledged record survives a crash; one that was never acknowledged may or may not.
//! - An append is on disk as a whole or not at all, and ordinals have no holes.
//! - Bytes that are not what was written are never returned as records: a torn tail, which nobody was
//!   told of, is cut at start, anything else stops the start or the read.

mod cache;
pub mod codec;
mod config;
mod error;
mod folder;
mod handle;
mod keeper;
mod reader;
mod recover;
mod state;
mod stats;
mod support;
mod thread;
mod writer;

pub use config::{JournalConfig, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN};
pub use error::{AppendError, Closed, OpenError, ReadError};
pub use handle::Journal;
pub use recover::Recovery;
pub use stats::{JournalStats, RECORD_BUCKETS, TIME_BUCKETS};
pub use support::{Unsupported, check_support};
