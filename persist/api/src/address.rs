//! Who is at the other end: the peer's address, or what a trusted proxy says it is.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::HeaderMap;
use thiserror::Error;

use crate::limits::FORWARDED_HOPS_MAX;

/// The other end of the socket; put into each request by [`crate::serve()`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The client's address, for limits and logs. IPv6 is cut to its /64, which one customer holds whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientAddress(pub(crate) IpAddr);

/// An address, or a network in CIDR form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

/// A text that is no address and no network.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is neither an address nor a network like 10.0.0.0/8")]
pub struct NetworkError(String);

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.unwrap_or(whole);
        if prefix_bits > whole {
            return Err(wrong());
        }
        Ok(Self { address, prefix_bits })
    }
}

impl Network {
    /// Whether the address lies in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let differing = (u32::from(net) ^ u32::from(address)).leading_zeros();
                differing >= self.prefix_bits
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let differing = (u128::from(net) ^ u128::from(address)).leading_zeros();
                differing >= self.prefix_bits
            }
            _ => false,
        }
    }
}

/// Whether one of the networks contains the address.
pub(crate) fn trusted(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The client behind a peer: each trusted hop vouches for the address before it in `X-Forwarded-For`,
/// read from its near end; the first one that is not trusted, or not an address, ends the walk.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, networks: &[Network]) -> ClientAddress {
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev().filter_map(|line| line.to_str().ok());
    for hop in lines.flat_map(|line| line.rsplit(',')).take(FORWARDED_HOPS_MAX) {
        if !trusted(networks, client) {
            break;
        }
        let Ok(before) = hop.trim().parse::<IpAddr>() else { break };
        client = before.to_canonical();
    }
    ClientAddress(match client {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        v4 => v4,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, forwarded: &[&str], expected: &str) {
        let networks: Vec<Network> = ["10.0.0.0/8", "127.0.0.1", "fd00::/16"].map(|net| net.parse().unwrap()).into();
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        let client = client_address(peer.parse().unwrap(), &headers, &networks);
        assert_eq!(client.0, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
    }

    #[test]
    fn only_trusted_peers_are_believed() {
        check("1.2.3.4", &["9.9.9.9"], "1.2.3.4");
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &["9.9.9.9"], "9.9.9.9");
        check("::ffff:10.1.1.1", &["9.9.9.9"], "9.9.9.9");
    }

    #[test]
    fn what_a_client_wrote_itself_is_not_believed() {
        check("10.0.0.1", &["6.6.6.6, 9.9.9.9"], "9.9.9.9");
        check("10.0.0.1", &["6.6.6.6", "9.9.9.9, 10.0.0.2"], "9.9.9.9");
        check("10.0.0.1", &["nonsense"], "10.0.0.1");
    }

    #[test]
    fn ipv6_clients_are_their_network() {
        check("2001:db8:1:2:3:4:5:6", &[], "2001:db8:1:2::");
        check("fd00::1", &["2001:db8::9"], "2001:db8::");
    }

    #[test]
    fn networks_that_are_none_are_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "host"] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("8.8.8.8".parse().unwrap()));
    }
}
