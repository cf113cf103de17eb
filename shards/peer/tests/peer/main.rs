//! Links and servers over real sockets. `raw` is a second implementation of the wire format, made from the README
//! alone: it plays older and newer peers, strangers, and those who tamper.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod harness;
mod hostile;
mod links;
mod raw;
mod remote;
mod slow;
mod versions;
