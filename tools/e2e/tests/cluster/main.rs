//! Gateways, persist daemons and an API over real servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod across;
mod clock;
mod deployment;
mod faults;
mod located;
mod readiness;
mod signs;
