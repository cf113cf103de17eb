//! The path as clients meet it: offline devices, transient traffic, membership, devices, repeats, hostile
//! input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "tests")]

mod devices;
mod hostile;
mod inside;
mod membership;
mod offline;
mod receipts;
mod repeats;
mod transient;
