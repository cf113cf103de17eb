//! What a process asks of the machine before it starts, and the watchdog of its end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;

/// Threads without which a node is not whole: hubs, numbers and the log have one owner each.
const VITAL: [&str; 2] = ["ringway-shard", "ringway-uplink"];

/// How long a taken port is waited for. The kernel takes a killed process's rings apart, and closes the sockets
/// that were in them, some moments after the process is gone.
const PORT_WAIT: Duration = Duration::from_secs(2);
const PORT_POLL: Duration = Duration::from_millis(5);

/// What still runs on the runtime at the end is over: its parts have been stopped, or have failed.
const RUNTIME_END: Duration = Duration::from_millis(100);

/// Shards share their port among themselves, so the kernel would let another Ringway of this user join in
/// silently. Asked without sharing, it says whether somebody is there.
///
/// # Errors
/// Names the key and the address.
pub fn port_free(key: &str, address: SocketAddr) -> anyhow::Result<()> {
    if address.port() == 0 {
        return Ok(());
    }
    let deadline = Instant::now() + PORT_WAIT;
    loop {
        match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(PORT_POLL);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {address} ({key})")),
        }
    }
}

/// Raises the soft limit of file descriptors to the hard one. What that allows is `ringway doctor`'s to judge.
pub fn raise_descriptors() {
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
pub fn end_with_vital_threads(program: &'static str) {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        if thread.name().is_some_and(is_vital) {
            eprintln!("{program}: {} has panicked, the process ends", thread.name().unwrap_or_default());
            std::process::abort();
        }
    }));
}

fn is_vital(thread: &str) -> bool {
    thread == "journal" || VITAL.iter().any(|vital| thread.starts_with(vital))
}

/// Runs a future to its end on a runtime of `workers` threads.
///
/// # Errors
/// No runtime, or what the future says.
pub fn block_on<T>(workers: usize, future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime: Runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name("ringway-tokio")
        .enable_all()
        .build()
        .context("cannot start the tokio runtime")?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(RUNTIME_END);
    outcome
}

/// Ends the process with exit code 0 when its end takes longer than `limit`: some time before a promise is
/// broken. That loses nothing: what was acknowledged is in the event log.
pub fn start_watchdog(program: &'static str, limit: Duration) {
    let watch = move || {
        std::thread::sleep(limit);
        eprintln!("{program}: the drain took too long; the event log keeps everything for the next start");
        std::process::exit(0);
    };
    if let Err(error) = std::thread::Builder::new().name("ringway-watchdog".into()).spawn(watch) {
        tracing::warn!(%error, "no watchdog watches the drain");
    }
}

/// A listener on every address is reached from here by loopback.
#[must_use]
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// A number that tells this start from all others.
///
/// # Errors
/// The system has no randomness.
pub fn boot() -> anyhow::Result<u64> {
    getrandom::u64().map_err(|error| anyhow::anyhow!("no randomness: {error}"))
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
    fn a_listener_on_every_address_is_reached_by_loopback() {
        let check = |text: &str, expected: &str| {
            let address = reachable(text.parse().unwrap());
            assert_eq!(address.to_string(), expected);
        };
        check("0.0.0.0:1", "127.0.0.1:1");
        check("[::]:2", "[::1]:2");
        check("10.0.0.1:3", "10.0.0.1:3");
    }
}
