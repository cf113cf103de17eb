//! The ports to durable and shared state, and their embedded adapters.
//!
//! `ports/` holds one trait a noun; gateway, daemon and API know these alone. `sqlite/` and
//! `embedded/` are the adapters that `ringway up` runs on; `token` signs and checks access tokens;
//! `conformance/` is what every adapter of a port must pass; `listing` and `offline` are what all shared states have in
//! common.

pub mod conformance;
pub mod embedded;
pub mod limits;
pub mod listing;
pub mod offline;
pub mod ports;
pub mod priority;
pub mod sqlite;
pub mod token;

mod hmac;
