//! What every adapter of a port must do, as functions that panic where it does not.
//!
//! Each takes fresh, empty adapters; an adapter's own tests call them, so that the embedded and the
//! production adapters are held to the same words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a suite of assertions: a panic is its only answer"
)]

pub mod directory;

use ringway_engine::ids::{DeviceId, Uid};

/// A user id.
#[must_use]
pub fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

/// A device id.
#[must_use]
pub fn device(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}
