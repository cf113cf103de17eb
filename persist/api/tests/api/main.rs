//! The API over real HTTP on loopback, with the SQLite directory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod accounts;
mod groups;
mod harness;
mod hostile;
mod ledger;
mod surroundings;
