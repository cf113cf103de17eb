//! The archive, the directory, the authority on epochs and the leases over MySQL and MariaDB.
//!
//! [`Database`] is the connections; [`MySqlArchive`] and [`MySqlDirectory`] are the ports over it, and it is itself
//! [`Epochs`](ringway_store::ports::Epochs), [`Records`](ringway_store::ports::Records),
//! [`Leases`](ringway_store::ports::Leases) and [`Holes`](ringway_store::ports::Holes). Everything runs on tokio, never
//! on a shard. A call that fails or is dropped has written nothing, or, when its commit was under way, perhaps all of it:
//! the ports say where a repeat is harmless.

mod archive;
mod config;
mod database;
mod directory;
mod epochs;
mod fault;
mod floors;
mod holes;
mod leases;
pub mod limits;
mod lists;
mod migrate;
mod months;
mod records;
mod spans;
mod text;

pub use archive::{KeptLetter, MySqlArchive};
pub use config::{MySqlConfig, Tls, TlsMode};
pub use database::{Database, OpenError};
pub use directory::MySqlDirectory;
pub use migrate::FORMAT_VERSION;
pub use months::{KeptMonths, Month};
