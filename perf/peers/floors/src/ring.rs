//! The io_uring floor: multishot accept and receive, provided buffers, direct descriptors, one send a connection and
//! turn, one system call a turn.
//!
//! The ring is that of `ringway-perf-ring`, which the load generator uses too.

use std::io::{Error, Result};
use std::net::TcpListener;

use ringway_perf_ring::{Ring, Service, Settings};
use rustix::process::{Resource, getrlimit};

use crate::relay::Relay;

/// Direct descriptors at most.
const CONNECTIONS_MAX: u64 = 65_536;

#[derive(Default)]
struct Floor {
    relay: Relay,
    /// Connections that had to wait and may send again.
    again: Vec<usize>,
}

impl Service for Floor {
    fn entered(&mut self, at: usize) {
        self.relay.enter(at);
    }

    fn received(&mut self, at: usize, bytes: &mut [u8]) -> bool {
        let goes_on = self.relay.input(at, bytes);
        if !goes_on {
            self.relay.leave(at);
        }
        goes_on
    }

    fn sent(&mut self, at: usize) {
        self.again.push(at);
    }

    fn ended(&mut self, at: usize, _error: Option<Error>) {
        self.relay.leave(at);
    }
}

/// Relays until the kernel refuses.
///
/// # Errors
/// The kernel refuses.
pub fn run(listener: TcpListener) -> Result<()> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(CONNECTIONS_MAX).min(CONNECTIONS_MAX);
    let mut ring = Ring::new(&Settings {
        submissions: 4_096,
        completions: 16_384,
        buffers: 2_048,
        buffer_bytes: 2_048,
        connections_max: limit as u32,
    })?;
    ring.listen(listener);
    let mut floor = Floor::default();
    let mut dirty = Vec::new();
    loop {
        ring.wait(None)?;
        ring.handle(usize::MAX, &mut floor)?;
        floor.relay.take_dirty(&mut dirty);
        dirty.append(&mut floor.again);
        for at in &dirty {
            match floor.relay.output(*at) {
                Ok(None) => {}
                Ok(Some(out)) => {
                    ring.send(*at, out);
                }
                Err(_) => {
                    floor.relay.leave(*at);
                    ring.end(*at);
                }
            }
        }
    }
}
