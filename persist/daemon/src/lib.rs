//! Consumes the event log: numbers, archives, keeps cursors, relays the outbox.
//!
//! ```text
//! event log ──read──► batch ──number (idempotent)──► archive, offset in one transaction
//!                                                         │
//!                              release the log ◄── tell the state
//! outbox of the directory ──signals, system messages──► gateways
//! ```
//!
//! In `ringway up` one [`Daemon`] runs on the process's tokio runtime; processes that share several queues run
//! [`Workers`]. It knows the ports alone.

mod backoff;
mod batch;
mod config;
mod consumer;
mod daemon;
mod drift;
mod duty;
mod holes;
pub mod limits;
mod metrics;
mod poison;
mod recall;
mod relay;
mod replay;
mod share;
mod trace;
mod upkeep;
mod workers;

pub use config::{DaemonConfig, WorkersConfig};
pub use consumer::Watcher;
pub use daemon::{Daemon, DaemonError, Ports, Recovered};
pub use drift::{DriftCheck, DriftConfig, DriftMetrics, check_drift};
pub use holes::{HoleConfig, HolePorts, HoleWatch};
pub use metrics::{LeaseMetrics, ProcessMetrics, QueueMetrics, Rate};
pub use replay::{ReplayError, replay_from};
pub use workers::{Takeover, WorkerPorts, Workers};
