//! The key that all nodes of a cluster share, and what is derived from it.
//!
//! The key itself signs nothing that travels: proofs and the keys of a session are each made under a label of their
//! own, so that none of them can be taken for another.

use std::path::Path;

use ring::hmac;

use crate::error::KeyError;
use crate::limits::KEY_BYTES;

const OPENER_PROOF: &[u8] = b"ringway peer proof of the opener";
const ACCEPTOR_PROOF: &[u8] = b"ringway peer proof of the acceptor";
const OPENER_FRAMES: &[u8] = b"ringway peer frames of the opener";
const ACCEPTOR_FRAMES: &[u8] = b"ringway peer frames of the acceptor";

/// Bytes of a proof: a whole HMAC-SHA-256.
pub(crate) const PROOF_BYTES: usize = 32;

/// Which end of a connection: what one says is never taken for what the other says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Has opened the connection.
    Opener,
    /// Has accepted it.
    Acceptor,
}

impl Side {
    /// The other end.
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Opener => Self::Acceptor,
            Self::Acceptor => Self::Opener,
        }
    }
}

/// A shared key. It is never shown: not in a log, not by `Debug`.
#[derive(Clone)]
pub struct PeerKey(hmac::Key);

impl std::fmt::Debug for PeerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerKey")
    }
}

impl PeerKey {
    /// A key from its bytes, of which there must be at least 32, and random ones.
    ///
    /// # Errors
    /// [`KeyError::Length`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        if !KEY_BYTES.contains(&bytes.len()) {
            return Err(KeyError::Length(bytes.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Reads a key file. White space at the end of a text is no part of the key, so that it may be a line.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let bytes = std::fs::read(path).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        // A text ends with its last line; the last byte of a random key is part of it, whatever it looks like.
        let text = bytes.trim_ascii_end();
        Self::from_bytes(if text.iter().all(u8::is_ascii_graphic) { text } else { &bytes })
    }

    /// What the side shows to prove that it holds the key, in this conversation and no other.
    pub(crate) fn proof(&self, side: Side, transcript: &Transcript) -> [u8; PROOF_BYTES] {
        self.derive(proof_label(side), transcript)
    }

    /// Whether the side has shown it; takes as long whatever is shown.
    pub(crate) fn is_proof(&self, side: Side, transcript: &Transcript, shown: &[u8]) -> bool {
        let parts: [&[u8]; 3] = [proof_label(side), &[0], &transcript.0];
        hmac::verify(&self.0, &parts.concat(), shown).is_ok()
    }

    /// The key of the frames that the side sends.
    pub(crate) fn frames(&self, side: Side, transcript: &Transcript) -> hmac::Key {
        let label = match side {
            Side::Opener => OPENER_FRAMES,
            Side::Acceptor => ACCEPTOR_FRAMES,
        };
        hmac::Key::new(hmac::HMAC_SHA256, &self.derive(label, transcript))
    }

    fn derive(&self, label: &[u8], transcript: &Transcript) -> [u8; PROOF_BYTES] {
        let parts: [&[u8]; 3] = [label, &[0], &transcript.0];
        let tag = hmac::sign(&self.0, &parts.concat());
        // HMAC-SHA-256 has 32 bytes.
        <[u8; PROOF_BYTES]>::try_from(tag.as_ref()).unwrap_or_default()
    }
}

fn proof_label(side: Side) -> &'static [u8] {
    match side {
        Side::Opener => OPENER_PROOF,
        Side::Acceptor => ACCEPTOR_PROOF,
    }
}

/// Everything both sides have said in plain text, each part behind its length: the version that follows from the
/// two hellos, and the hellos with their nonces, names and version ranges.
pub(crate) struct Transcript(Vec<u8>);

impl Transcript {
    /// `opener` and `acceptor` are the bodies of their hellos as they travelled.
    pub(crate) fn new(version: u8, opener: &[u8], acceptor: &[u8]) -> Self {
        let mut bytes = vec![version];
        for hello in [opener, acceptor] {
            bytes.extend_from_slice(&(hello.len() as u32).to_le_bytes());
            bytes.extend_from_slice(hello);
        }
        Self(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PeerKey {
        PeerKey::from_bytes(&[byte; 32]).unwrap()
    }

    #[test]
    fn a_short_key_is_refused_and_a_line_of_text_is_a_key() {
        assert!(matches!(PeerKey::from_bytes(&[1; 31]), Err(KeyError::Length(31))));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(PeerKey::load(&path), Err(KeyError::File { .. })));
        let said = Transcript::new(1, b"a", b"b");
        std::fs::write(&path, format!("{}\n", "k".repeat(32))).unwrap();
        let loaded = PeerKey::load(&path).unwrap();
        assert!(key(b'k').is_proof(Side::Opener, &said, &loaded.proof(Side::Opener, &said)));
        std::fs::write(&path, format!("{}\n\n", "k".repeat(31))).unwrap();
        assert!(PeerKey::load(&path).is_err());
        assert_eq!(format!("{loaded:?}"), "PeerKey");
    }

    #[test]
    fn a_random_key_may_end_as_a_line_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peers.key");
        let random = [&[0x80_u8; 31][..], b"\n"].concat();
        std::fs::write(&file, &random).unwrap();
        let said = Transcript::new(1, b"a", b"b");
        let proof = PeerKey::load(&file).unwrap().proof(Side::Opener, &said);
        assert!(PeerKey::from_bytes(&random).unwrap().is_proof(Side::Opener, &said, &proof));
    }

    #[test]
    fn a_proof_serves_one_side_one_conversation_and_one_key() {
        let said = Transcript::new(1, b"a", b"b");
        let proof = key(1).proof(Side::Opener, &said);
        assert!(key(1).is_proof(Side::Opener, &said, &proof));
        assert!(!key(1).is_proof(Side::Acceptor, &said, &proof));
        assert!(!key(2).is_proof(Side::Opener, &said, &proof));
        assert!(!key(1).is_proof(Side::Opener, &said, &proof[..16]));
        for other in [Transcript::new(2, b"a", b"b"), Transcript::new(1, b"ab", b""), Transcript::new(1, b"", b"ab")] {
            assert!(!key(1).is_proof(Side::Opener, &other, &proof));
        }
    }
}
