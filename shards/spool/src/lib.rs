//! The event log with a local journal before it, for the time that the queue is away.
//!
//! ```text
//!              ┌──────────── direct ────────────► remote log
//!   append ────┤                                     ▲
//!              └─ away, or late ─► journal ─forwarder┘
//! ```
//!
//! [`SpooledLog`] is an `EventLog` over another one. While that one answers, appends go to it; when one does not, they go to
//! the journal of this node, which is as durable as its disk, and one forwarder brings them to the remote log in
//! order. `README.md` says where to enter.
//!
//! Invariants:
//! - `Ok` means durable: in the remote log, or in the journal and on its way there.
//! - Records of one key reach the remote log in the order of the calls, whichever way they take. What is in it
//!   twice (an append that ended unknown, a crash between forward and release) follows its first copy's order.
//! - Nothing is let go from the journal before the remote log has said that it has it.

mod config;
mod entry;
mod forwarder;
mod gate;
pub mod limits;
mod order;
mod spooled_log;
mod stats;

pub use config::{OnUnavailable, SpoolConfig};
pub use spooled_log::{OpenError, SpooledLog};
pub use stats::SpoolStats;
