//! End-to-end tests with real processes: what they run, what they talk with, and what judges them.
//!
//! `server` runs one `ringway up`; `wire` and `peer` speak to it without the SDK, so that a mistake of
//! the SDK cannot hide one of the server; `http` and `people` make accounts and groups; `metrics` reads
//! what the server says of itself; `walker` is a device that never gives up, for tests that kill, and `load`
//! eight of them; `proxy` is a way to a server that can be cut; `checker` judges what all of them saw.

pub mod checker;
pub mod http;
pub mod load;
pub mod metrics;
pub mod peer;
pub mod people;
pub mod program;
pub mod proxy;
pub mod server;
pub mod walker;
pub mod wire;
