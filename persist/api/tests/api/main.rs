//! The API over real HTTP on loopback, with the embedded stores.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod accounts;
mod groups;
mod harness;
mod hostile;
mod surroundings;
