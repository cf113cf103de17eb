//! Consumes the event log: numbers, archives, keeps cursors, relays the outbox.
//!
//! ```text
//! event log ──read──► batch ──number (idempotent)──► archive, offset in one transaction
//!                                                         │
//!                              release the log ◄── tell the state
//! outbox of the directory ──signals, system messages──► gateways
//! ```
//!
//! In `ringway up` it runs on the process's tokio runtime; the same code serves a process of its own.
//! It knows the ports alone.

mod backoff;
mod batch;
mod consume;
mod daemon;
mod metrics;
mod relay;

pub use daemon::{Daemon, DaemonConfig, DaemonError, Ports, Recovered};
pub use metrics::Metrics;
