//! A port that is known before the gateway listens on it: nodes tell where they are reached when they start.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::net::sockopt::set_socket_reuseport;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

/// Keeps a free port of the address from everybody but the shards, who share it. It takes no connections, so none is
/// lost when it is dropped.
pub(crate) struct KeptPort {
    /// The address with its port.
    pub(crate) address: SocketAddr,
    _socket: Option<OwnedFd>,
}

impl KeptPort {
    /// Keeps one when the address leaves it open.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn of(address: SocketAddr) -> io::Result<Self> {
        if address.port() != 0 {
            return Ok(Self { address, _socket: None });
        }
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, None)?;
        set_socket_reuseport(&socket, true)?;
        bind(&socket, &address)?;
        let address = SocketAddr::try_from(getsockname(&socket)?).map_err(io::Error::other)?;
        Ok(Self { address, _socket: Some(socket) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_kept_port_is_the_shards_alone_and_loses_no_connection() {
        let kept = KeptPort::of("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(kept.address.port(), 0);
        assert!(std::net::TcpListener::bind(kept.address).is_err(), "somebody else could take it");
        assert!(TcpStream::connect(kept.address).is_err(), "it takes connections");
        let listeners = ringway_ring::listener::bind_all(kept.address, 2, 64).unwrap();
        for _ in 0..16 {
            TcpStream::connect(kept.address).unwrap();
        }
        assert_eq!(listeners[0].local_addr().unwrap(), kept.address);
        let named = "127.0.0.1:7400".parse().unwrap();
        assert_eq!(KeptPort::of(named).unwrap().address, named);
    }
}
