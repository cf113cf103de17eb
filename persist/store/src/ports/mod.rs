//! The ports: what Ringway asks of durable and shared state, one trait a noun.
//!
//! Every call is a batch or a page with a bound. All are async and run on tokio threads, never on
//! a shard. Implementations are shared (`Arc<dyn …>`), and any call may be dropped half-way: what a
//! dropped call leaves behind is said at the method where it matters.

mod archive;
mod directory;
mod drift;
mod epochs;
mod event_log;
mod gateways;
mod holes;
mod leases;
mod nudges;
mod records;
mod routes;
mod shared_state;
mod upkeep;
mod vendor_push;

pub use archive::{Archive, ArchiveBatch, ArchivedMessage, CommitError, DeadLetter, NumberedMessage, PageFrom};
pub use directory::{
    Account, Directory, DirectoryError, Group, LoginSession, Member, Membership, NewSession, OutboxEntry, Role,
};
pub use drift::{Drift, DriftKind, DriftRound, Drifted};
pub use epochs::{Advanced, Epoch, Epochs, Start};
pub use event_log::{AppendError, EventLog, LogOffset, LogQueue, LogReadError, LogRecord, NewRecord};
pub use gateways::{Gateways, ServerMessage, Signal, SubmitError};
pub use holes::{Hole, Holes};
pub use leases::Leases;
pub use nudges::{Nudge, Nudges};
pub use records::{Cursor, HeldNumber, ListRow, Place, Records};
pub use routes::{Node, NodeRun, Route, Routes};
pub use shared_state::{CursorUpdate, DevicePoint, Numbered, Page, SharedState};
pub use upkeep::Upkeep;
pub use vendor_push::{PushError, PushNotice, VendorPush};

use thiserror::Error;

/// A store could not answer. Always temporary from the caller's view: the same call may succeed later.
#[derive(Debug, Clone, Error)]
#[error("{store}: {message}")]
pub struct StoreError {
    /// Which store, for the log.
    pub store: &'static str,
    /// What it said.
    pub message: String,
}

impl StoreError {
    /// Wraps what a store said.
    pub fn new(store: &'static str, error: impl std::fmt::Display) -> Self {
        Self { store, message: error.to_string() }
    }
}
