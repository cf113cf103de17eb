//! TCP connections over one io_uring on one thread: multishot accept and receive, provided buffers, direct descriptors,
//! sends handed over together.
//!
//! [`Ring`] owns the ring and all memory that the kernel reads or writes while an operation is under way. A [`Service`]
//! is told what came. All unsafe code of the floor and of the load generator is here; the interface is safe.
//!
//! ```text
//! loop {
//!     ring.send(…);                      // as often as wanted: nothing is handed over yet
//!     ring.submit()?;                    // one system call; or none, and the next does it
//!     ring.wait(…)? or ring.gather()?;   // one system call; completions are kept
//!     ring.handle(max, &mut service)?;   // the service is told, a bounded number of times
//! }
//! ```

#![allow(unsafe_code, reason = "io_uring cannot be had without; what the kernel holds is owned here")]

mod buffers;
mod connection;
mod ring;
mod source;

use std::io::Error;

pub use ring::Ring;
pub use source::choose_port_late;

/// Bounds of a ring.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Entries of the submission queue; what is more is handed over by a further system call.
    pub submissions: u32,
    /// Entries of the completion queue; what is more waits in the kernel, at a cost.
    pub completions: u32,
    /// Buffers to receive into: a power of two. When all are full, receiving waits until some are given back.
    pub buffers: u16,
    /// Bytes of each.
    pub buffer_bytes: usize,
    /// Connections at a time, at most; and no more than the process may have descriptors.
    pub connections_max: u32,
}

/// Who is told what came. A connection is named by its place in the ring; the place may be another's once the
/// connection is over.
pub trait Service {
    /// A connection came to the listener.
    fn entered(&mut self, _at: usize) {}

    /// Bytes came, which may be changed where they lie. `false`: the connection is to end, of which there will be no
    /// further word.
    fn received(&mut self, at: usize, bytes: &mut [u8]) -> bool;

    /// What had to wait for room is gone: more may be sent.
    fn sent(&mut self, at: usize);

    /// The connection is over: closed by the other side, or broken. Not called for one that [`Ring::end`] or
    /// [`Service::received`] ended.
    fn ended(&mut self, at: usize, error: Option<Error>);
}
