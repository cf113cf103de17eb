//! The `ringway` program as scripts meet it: real processes, ports of their own, temporary folders.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod configuration;
mod program;
mod reload;
mod start;
mod stop;
mod tools;
mod top;
