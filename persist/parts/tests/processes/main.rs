//! The three programs as operators meet them: real processes, real servers, ports and folders of their own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod arguments;
#[path = "../otlp/collector.rs"]
#[allow(dead_code, reason = "the tests of the export use more of it")]
mod collector;
mod deployment;
mod drifted;
mod exported;
mod holed;
mod kept;
mod listener;
mod poisoned;
mod program;
mod reminded;
mod replayed;
mod together;
mod trouble;
mod vendor;
