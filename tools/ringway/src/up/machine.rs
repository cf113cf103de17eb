//! What the process asks of the machine before it starts.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;

/// Threads without which a node is not whole: hubs, numbers and the log have one owner each.
const VITAL: [&str; 2] = ["ringway-shard", "ringway-uplink"];

/// How long a taken port is waited for. The kernel takes a killed process's rings apart, and closes the sockets
/// that were in them, some moments after the process is gone.
const PORT_WAIT: Duration = Duration::from_secs(2);
const PORT_POLL: Duration = Duration::from_millis(5);

/// Checks that shards and journal can run here, and that the WebSocket port is free.
///
/// # Errors
/// What is missing and what to do about it.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    ringway_ring::runtime::check_support()?;
    ringway_journal::check_support(&config.data.folder.join("journal"))?;
    port_free("gateway.listen", config.gateway.listen)?;
    config.gateway.conformance_echo.map_or(Ok(()), |address| port_free("gateway.conformance_echo", address))
}

/// Shards share their port among themselves, so the kernel would let another ringway of this user join in
/// silently. Asked without sharing, it says whether somebody is there.
///
/// # Errors
/// Names the key and the address.
fn port_free(key: &str, address: SocketAddr) -> anyhow::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let deadline = Instant::now() + PORT_WAIT;
    loop {
        match ringway_ring::listener::bind(address, false, 1) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(PORT_POLL);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {address} ({key})")),
        }
    }
}

/// Raises the soft limit of file descriptors to the hard one. What that allows is `doctor`'s to judge.
pub(super) fn raise_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of file descriptors cannot be raised");
        }
    }
}

/// Ends the process when a vital thread panics: half a node would hold its conversations and never answer.
/// Everything acknowledged is in the event log; a supervisor starts the process anew.
pub(super) fn end_with_vital_threads() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        if thread.name().is_some_and(is_vital) {
            eprintln!("ringway: {} has panicked, the process ends", thread.name().unwrap_or_default());
            std::process::abort();
        }
    }));
}

fn is_vital(thread: &str) -> bool {
    thread == "journal" || VITAL.iter().any(|vital| thread.starts_with(vital))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_uplink_and_journal_are_vital_and_checks_and_workers_are_not() {
        for thread in ["ringway-shard-0", "ringway-shard12", "ringway-uplink", "journal"] {
            assert!(is_vital(thread), "{thread}");
        }
        for thread in ["journal-check", "ringway-tokio", "main"] {
            assert!(!is_vital(thread), "{thread}");
        }
    }

    #[test]
    fn a_port_that_shards_share_counts_as_taken() {
        let taken = ringway_ring::listener::bind("127.0.0.1:0".parse().unwrap(), true, 1).unwrap();
        let address = taken.local_addr().unwrap();
        let error = format!("{:#}", port_free("gateway.listen", address).unwrap_err());
        assert!(error.starts_with(&format!("cannot listen on {address} (gateway.listen): ")), "{error}");
        drop(taken);
        port_free("gateway.listen", address).unwrap();
    }
}
