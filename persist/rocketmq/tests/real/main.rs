//! The adapter against a real RocketMQ.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod access;
mod conforms;
mod faults;
mod harness;
mod history;
mod reading;
mod refusals;
mod tls;
