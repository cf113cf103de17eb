//! The HTTP API: accounts, groups, conversations, history, the chat page, and the admin listener.
//!
//! [`Api::new`] takes the ports and the configuration, [`router`] gives the public axum router, [`admin_router`] that
//! of any process's [`Admin`], and [`serve()`] runs one on a listener with the bounds of the public port. The library
//! knows ports only; a binary wires adapters to it. Everything runs on tokio threads; passwords are
//! hashed on the blocking pool. `README.md` is the map.

mod address;
mod admin;
mod auth;
mod body;
mod clock;
mod config;
mod limiter;
pub mod limits;
mod page;
mod passwords;
mod problem;
mod replay;
mod revoked;
mod routes;
mod serve;
mod shell;
mod state;
mod stats;
mod table;
mod watch;
mod write_timeout;

pub use address::{Network, NetworkError};
pub use admin::{Admin, Later, admin_router};
pub use config::{ApiConfig, ServeLimits};
pub use routes::{OPENAPI, router};
pub use serve::serve;
pub use state::{Api, Nodes, Parts};
pub use stats::RequestStats;
pub use watch::{Answered, RequestWatcher};
