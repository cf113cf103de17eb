//! Free loopback ports that stay free until their server takes them, and while it is away.
//!
//! They lie below the range from which the kernel draws the ports of outgoing connections. Inside it, a client that
//! redials a killed server can be given the very port it dials, connect to itself and keep the server from returning.
//!
//! A reservation is a name in the kernel's table of abstract sockets: seen by every process that shares our network,
//! gone with its owner. Two runs at once never choose the same port.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::{Result, bail};

/// The lowest port handed out.
const FIRST: u16 = 20_000;
/// The end of the range where outgoing ports begin at the kernel's default or above it.
const END: u16 = 32_000;
/// How many ports are tried before giving up: when all of these are taken, something is wrong.
const TRIES_MAX: usize = 1_000;

/// A run of neighbouring ports that no other run of this crate takes while it lives.
#[derive(Debug)]
pub(crate) struct Reserved {
    /// The first of them.
    pub(crate) first: u16,
    _names: Vec<UnixListener>,
}

/// Reserves `count` neighbouring ports.
pub(crate) fn reserve(count: u16) -> Result<Reserved> {
    let end = END.min(outgoing_begin());
    let end = if end > FIRST + 100 { end } else { END };
    for _ in 0..TRIES_MAX {
        let random = RandomState::new().build_hasher().finish();
        let first = FIRST + u16::try_from(random % u64::from(end - FIRST - count))?;
        let names: Option<Vec<_>> = (first..first + count).map(take).collect();
        if let Some(names) = names {
            return Ok(Reserved { first, _names: names });
        }
    }
    bail!("no {count} free ports between {FIRST} and {end}")
}

fn take(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("ringway-port-{port}")).ok()?;
    let reserved = UnixListener::bind_addr(&name).ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(reserved)
}

/// Where the ports of outgoing connections begin.
fn outgoing_begin() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_out_twice() {
        let reserved = reserve(3).unwrap();
        for port in reserved.first..reserved.first + 3 {
            assert!(take(port).is_none());
        }
        let first = reserved.first;
        drop(reserved);
        assert!(take(first).is_some());
    }

    #[test]
    fn a_port_in_use_is_not_given_out() {
        let reserved = reserve(1).unwrap();
        let port = reserved.first;
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        drop(reserved);
        assert!(take(port).is_none());
    }
}
