//! What every server is checked for.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The process is gone and its ports are free.
pub(crate) fn gone(pid: u32, ports: &[u16]) {
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
    for port in ports {
        TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).expect("the port is free again");
    }
}

/// What the process does, by the letter that the kernel shows: `T` when it is stopped.
pub(crate) fn state(pid: u32) -> char {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    text.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

/// The process listens on these ports of 127.0.0.1, and on nothing else.
pub(crate) fn only_on_loopback(pid: u32, ports: &[u16]) {
    let loopback = u32::from_ne_bytes(Ipv4Addr::LOCALHOST.octets());
    let mut wanted: Vec<String> = ports.iter().map(|port| format!("{loopback:08X}:{port:04X}")).collect();
    wanted.sort_unstable();
    assert_eq!(listening(pid), wanted, "addresses and ports in hexadecimal, as the kernel shows them");
}

fn listening(pid: u32) -> Vec<String> {
    let sockets: HashSet<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|target| target.strip_prefix("socket:[").map(|inode| inode.trim_end_matches(']').to_owned()))
        .collect();
    let mut found = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // Local address, state (0A: it listens), inode.
            if fields[3] == "0A" && sockets.contains(fields[9]) {
                found.push(fields[1].to_owned());
            }
        }
    }
    found.sort_unstable();
    found
}

/// How long another process may take. Sentinels alone ask a server every 10 s what it is, and watch the answer for 8 s
/// more before they make it follow.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for something that another process does.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
