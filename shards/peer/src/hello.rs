//! The first frame of each side: who it is, which versions it speaks, and its nonce. Pure.
//!
//! ```text
//!  0        1        2           10       42           43
//! +--------+--------+-----------+--------+------------+------+------------------------------+
//! | lowest | highest| boot      | nonce  | bytes of   | name | of later versions: not read, |
//! | version| version| u64 LE    | 32 B   | name, u8   |      | but covered by the proofs    |
//! +--------+--------+-----------+--------+------------+------+------------------------------+
//! ```
//!
//! ```text
//!   opener ──hello──────────────► acceptor      the highest version that both speak, else closed
//!          ◄──────────────hello──
//!          ──proof──────────────►               HMAC over version and both hellos, under the opener's label
//!          ◄──────────────proof──               the same under the acceptor's
//!          ══ frames with tags ══►◄══
//! ```
//!
//! The opener proves itself first: a stranger who connects learns a name and a version, nothing made with the key.

use bytes::{Buf, BufMut};

use crate::limits::NODE_NAME_BYTES_MAX;

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 32;

/// A range of protocol versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) lowest: u8,
    pub(crate) highest: u8,
}

/// What this program speaks. A release that drops a version comes after one that speaks both.
pub(crate) const OURS: Versions = Versions { lowest: 1, highest: 1 };

impl Versions {
    /// The highest version in both ranges.
    pub(crate) fn common(self, other: Self) -> Option<u8> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.lowest, self.highest)
    }
}

/// See the module's layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) versions: Versions,
    /// The run of the node that says it.
    pub(crate) node: String,
    pub(crate) boot: u64,
    pub(crate) nonce: [u8; NONCE_BYTES],
}

impl Hello {
    /// The body of the frame.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.versions.lowest, self.versions.highest];
        out.put_u64_le(self.boot);
        out.put_slice(&self.nonce);
        let name = self.node.as_bytes();
        out.put_u8(name.len() as u8);
        out.put_slice(name);
        out
    }

    /// `None` when it is cut short, speaks no version or has no name that a node can have.
    pub(crate) fn decode(mut body: &[u8]) -> Option<Self> {
        let versions = Versions { lowest: body.try_get_u8().ok()?, highest: body.try_get_u8().ok()? };
        let boot = body.try_get_u64_le().ok()?;
        let (nonce, rest) = body.split_first_chunk::<NONCE_BYTES>()?;
        body = rest;
        let length = usize::from(body.try_get_u8().ok()?);
        let name = std::str::from_utf8(body.get(..length)?).ok()?;
        if versions.lowest == 0 || versions.lowest > versions.highest || !is_node_name(name) {
            return None;
        }
        Some(Self { versions, node: name.to_owned(), boot, nonce: *nonce })
    }
}

/// `[a-z0-9-]{1,32}`.
pub(crate) fn is_node_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    !name.is_empty() && name.len() <= NODE_NAME_BYTES_MAX && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(lowest: u8, highest: u8) -> Versions {
        Versions { lowest, highest }
    }

    fn hello(node: &str) -> Hello {
        Hello { versions: versions(1, 3), node: node.into(), boot: 7, nonce: [9; NONCE_BYTES] }
    }

    #[test]
    fn the_higher_common_version_is_used() {
        for (ours, theirs, common) in [
            ((1, 1), (1, 1), Some(1)),
            ((1, 1), (1, 4), Some(1)),
            ((1, 3), (2, 5), Some(3)),
            ((1, 5), (2, 3), Some(3)),
            ((1, 1), (2, 3), None),
            ((4, 5), (2, 3), None),
        ] {
            let (ours, theirs) = (versions(ours.0, ours.1), versions(theirs.0, theirs.1));
            assert_eq!((ours.common(theirs), theirs.common(ours)), (common, common));
        }
    }

    #[test]
    fn a_hello_survives_its_encoding_and_what_a_later_version_adds() {
        let mut body = hello("gateway-1").encode();
        assert_eq!(Hello::decode(&body), Some(hello("gateway-1")));
        body.extend_from_slice(b"more");
        assert_eq!(Hello::decode(&body), Some(hello("gateway-1")));
    }

    #[test]
    fn a_hello_that_is_cut_or_names_no_node_is_refused() {
        let body = hello("gateway-1").encode();
        for cut in 0..body.len() {
            assert_eq!(Hello::decode(&body[..cut]), None);
        }
        for name in ["", "Gateway", "a b", "a\n", &"a".repeat(33)] {
            assert_eq!(Hello::decode(&hello(name).encode()), None, "{name:?}");
        }
        for range in [versions(0, 1), versions(2, 1)] {
            assert_eq!(Hello::decode(&Hello { versions: range, ..hello("a") }.encode()), None);
        }
    }
}
