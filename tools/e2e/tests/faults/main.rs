//! What the server survives: kills, a full disk, SIGTERM under load, a group whose members do not read; and
//! what the SDK makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod big_group;
mod disk_full;
mod drain;
mod kill_restart;
mod sdk;
