//! Who the client is when a balancer stands in front: PROXY protocol version 2 and `X-Forwarded-For`.
//!
//! Both are claims of the peer: believe them only from addresses in [`TrustedPeers`]. Pure functions.
//!
//! PROXY protocol version 2, as the HAProxy project specifies it (proxy-protocol.txt, section 2.2):
//!
//! ```text
//!  0               12       13      14        16
//! ┌────────────────┬────────┬───────┬─────────┬───────────────────────────┬──────────┐
//! │ signature      │ 2, cmd │ fam,  │ length  │ addresses and ports       │ TLVs     │
//! │ 12 bytes       │ 4+4 bit│ proto │ u16, BE │ 12 (IPv4), 36 (IPv6), 216 │ (passed  │
//! └────────────────┴────────┴───────┴─────────┴───────────────────────────┴─ over) ──┘
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const PREFIX_BYTES: usize = 16;
/// Longest header that is accepted, prefix included. Balancers send some hundred bytes; the format's
/// 64 KiB would let a stranger behind a trusted balancer's address hold memory.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;

/// Bytes that are no PROXY header we accept: close the connection without a word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The connection does not begin with the signature of version 2.
    #[error("not a PROXY protocol version 2 header")]
    Signature,
    /// The version is not 2.
    #[error("PROXY protocol version {0} is not supported")]
    Version(u8),
    /// The command is neither LOCAL nor PROXY.
    #[error("PROXY command {0} is unknown")]
    Command(u8),
    /// The address family or the transport is unknown, or the transport is not a stream.
    #[error("PROXY address family and transport {0:#04x} are not supported")]
    Family(u8),
    /// The header is longer than [`HEADER_BYTES_MAX`].
    #[error("a PROXY header of {0} bytes is too long")]
    TooLong(usize),
    /// The header is shorter than its addresses.
    #[error("a PROXY header of {0} bytes is too short for its addresses")]
    TooShort(usize),
}

/// What a PROXY header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address; `None` when the balancer speaks for itself (a health check) or does not
    /// know: then the peer's own address counts.
    pub source: Option<SocketAddr>,
}

/// Reads the header at the beginning of a connection: `None` while it is not whole, else the header and
/// how many bytes it took. Wrong bytes are refused as soon as they are seen.
///
/// # Errors
///
/// [`ProxyError`]: the connection is to be closed.
pub fn parse(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyError> {
    if !bytes.iter().zip(SIGNATURE).all(|(got, wanted)| *got == wanted) {
        return Err(ProxyError::Signature);
    }
    let Some(version_and_command) = bytes.get(12) else { return Ok(None) };
    if version_and_command >> 4 != 2 {
        return Err(ProxyError::Version(version_and_command >> 4));
    }
    let local = match version_and_command & 0x0f {
        0 => true,
        1 => false,
        command => return Err(ProxyError::Command(command)),
    };
    let Some([family, length @ ..]) = bytes.get(13..PREFIX_BYTES).and_then(|field| <[u8; 3]>::try_from(field).ok())
    else {
        return Ok(None);
    };
    let total = PREFIX_BYTES + usize::from(u16::from_be_bytes(length));
    if total > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong(total));
    }
    let Some(body) = bytes.get(PREFIX_BYTES..total) else { return Ok(None) };
    // The balancer's own connection: whatever addresses it carries do not count.
    let source = if local { None } else { source(family, body, total)? };
    Ok(Some((ProxyHeader { source }, total)))
}

fn source(family: u8, body: &[u8], total: usize) -> Result<Option<SocketAddr>, ProxyError> {
    let too_short = ProxyError::TooShort(total);
    match family {
        0x00 => Ok(None),
        0x11 => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *body.first_chunk::<12>().ok_or(too_short)?;
            Ok(Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into()))
        }
        0x21 => {
            let (addresses, ports) = body.split_first_chunk::<32>().ok_or_else(|| too_short.clone())?;
            let [high, low, _, _] = *ports.first_chunk::<4>().ok_or_else(|| too_short.clone())?;
            let address: [u8; 16] = *addresses.first_chunk().ok_or(too_short)?;
            Ok(Some((Ipv6Addr::from(address), u16::from_be_bytes([high, low])).into()))
        }
        // A Unix socket has no address that would tell one client from another.
        0x31 => body.first_chunk::<216>().map(|_| None).ok_or(too_short),
        _ => Err(ProxyError::Family(family)),
    }
}

/// An address or network in a list of trusted peers that is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a network like 10.0.0.0/8")]
pub struct TrustedPeersError(pub String);

/// The addresses and networks of our balancers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedPeers {
    /// Network address and prefix length, IPv4 as IPv4.
    networks: Vec<(IpAddr, u8)>,
}

impl TrustedPeers {
    /// Reads a list of addresses and networks in CIDR form. Bits behind the prefix are passed over.
    ///
    /// # Errors
    ///
    /// [`TrustedPeersError`] names the first entry that is neither.
    pub fn parse<'list>(list: impl IntoIterator<Item = &'list str>) -> Result<Self, TrustedPeersError> {
        let networks = list
            .into_iter()
            .map(|entry| network(entry.trim()).ok_or_else(|| TrustedPeersError(entry.to_owned())))
            .collect::<Result<_, _>>()?;
        Ok(Self { networks })
    }

    /// Whether this address is one of ours. An IPv4 address inside IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|(network, prefix)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(*prefix);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(*prefix);
                network.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        })
    }

    /// Whether nobody is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }
}

fn network(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match entry.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (entry, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        // Digits only: `u8::from_str` takes a plus sign.
        Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => prefix.parse().ok()?,
        Some(_) => return None,
        None => bits,
    };
    if prefix > bits {
        return None;
    }
    match (address, address.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(inner)) => Some((inner.into(), prefix.checked_sub(96)?)),
        _ => Some((address, prefix)),
    }
}

/// The client's address out of an `X-Forwarded-For` value (several lines joined by commas): the
/// right-most one that is not a balancer of ours. When all are ours, the left-most: a client inside.
///
/// Only to be asked when the connection's peer is trusted. Each entry was written by the hop to its
/// right, so what stands left of the first stranger may be invented and is not looked at.
///
/// `None` when an entry is met that is no address: then the peer's own address counts.
#[must_use]
pub fn client_address(header: &str, trusted: &TrustedPeers) -> Option<IpAddr> {
    let mut innermost = None;
    for entry in header.rsplit(',') {
        let address = forwarded_address(entry.trim())?;
        if !trusted.contains(address) {
            return Some(address);
        }
        innermost = Some(address);
    }
    innermost
}

/// An address, as balancers write it: bare, with a port, or in brackets.
fn forwarded_address(entry: &str) -> Option<IpAddr> {
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = match bare.parse::<IpAddr>() {
        Ok(address) => address,
        Err(_) => entry.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests;
