//! Real servers: they serve once started, die on command, come back on their ports, and leave nothing behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod check;
mod groups;
mod mariadb;
mod owner;
mod redis;
mod rocketmq;
