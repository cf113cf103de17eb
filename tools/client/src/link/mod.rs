//! The I/O: attempts, frames, and the task that drives the pure parts.

mod dial;
mod driver;
mod frame;

pub(crate) use driver::{Driver, Request, SendRequest};
