//! Shared state in Redis: numbers, dedup, the unarchived part of each conversation, cursors and read marks; and the
//! routes, which say what node holds whom.
//!
//! [`RedisState`] is the `SharedState` port (and its `Upkeep`) over one server, a sentinel's master or a
//! cluster. SQL is the authority on the epoch and tells where a conversation's numbers start; this crate
//! knows it through the ports `Epochs`, `Records` and `Archive`. [`RedisRoutes`] is the port `Routes`, on a
//! connection of its own or on that of a state.

mod archived;
mod config;
mod connection;
mod cursors;
mod drift;
mod fence;
mod held;
mod keys;
pub mod limits;
mod lists;
mod mending;
mod numbering;
mod points;
mod reading;
mod reply;
mod routes;
mod script;
mod standing;
mod state;
mod tls;
mod together;
mod unsettled;
mod watch;

pub use config::{RedisConfig, TlsFiles, Topology};
pub use routes::RedisRoutes;
pub use state::{RedisState, StateCounts, Stores};
