//! The three programs as operators meet them: real processes, real servers, ports and folders of their own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod arguments;
mod deployment;
mod listener;
mod program;
mod reminded;
mod together;
mod trouble;
mod vendor;
