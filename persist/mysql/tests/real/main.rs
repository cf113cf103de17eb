//! The adapters over real MariaDB servers.
//!
//! One server serves all tests that do not harm it, with a database for each; the others start their own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod access;
mod conforms;
mod consumers;
mod faults;
mod harness;
mod kills;
mod letters;
mod months;
mod replica;
mod schema;
