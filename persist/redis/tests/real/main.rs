//! The adapter over real Redis servers, with the SQLite store as the authority.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod access;
mod cluster;
mod conforms;
mod drift;
mod epochs;
mod faults;
mod harness;
mod history;
mod holes;
mod repeats;
mod routes;
