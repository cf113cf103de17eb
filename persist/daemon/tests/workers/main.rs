//! Workers of several processes over queues that fail on demand, an archive in a real database, and leases in memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod drift;
mod holes;
mod leases;
mod parts;
mod poison;
mod replay;
mod sharing;
