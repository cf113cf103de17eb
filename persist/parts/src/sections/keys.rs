//! The two keys that all processes of a deployment share.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use ringway_peer::PeerKey;
use ringway_service::keys;
use ringway_store::token::TokenKey;

/// Bytes of a token key.
const TOKEN_KEY_BYTES: usize = 32;

keys! {
    /// The section `peers`, where a process only opens links.
    pub Peers {
        key_file: PathBuf = PathBuf::from("/etc/ringway/peers.key"), "path", None, restart,
            "File with the key that all processes of a deployment prove to each other that they hold: at least 32 \
             random bytes, or a line of text as random, like `openssl rand -hex 32` prints.";
    }
}

keys! {
    /// The section `tokens`.
    pub Tokens {
        key_file: PathBuf = PathBuf::from("/etc/ringway/token.key"), "path", None, restart,
            "File with the key that signs access tokens, the same for all gateways and APIs of a deployment: 32 random \
             bytes, like `openssl rand 32` prints.";
    }
}

impl Peers {
    /// Reads the key.
    ///
    /// # Errors
    /// Names the key of the configuration and the file.
    pub fn key(&self) -> anyhow::Result<PeerKey> {
        PeerKey::load(&self.key_file).context("peers.key_file")
    }
}

impl Tokens {
    /// Reads the key. A missing one is not made: the other processes would not have it.
    ///
    /// # Errors
    /// Names the key of the configuration and the file.
    pub fn key(&self) -> anyhow::Result<TokenKey> {
        let path = self.key_file.display();
        let bytes = std::fs::read(&self.key_file).with_context(|| format!("tokens.key_file: cannot read {path}"))?;
        let Ok(bytes) = <[u8; TOKEN_KEY_BYTES]>::try_from(bytes.as_slice()) else {
            bail!("tokens.key_file: {path} holds {} bytes, not {TOKEN_KEY_BYTES}", bytes.len());
        };
        Ok(TokenKey::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_missing_or_of_another_length_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("key");
        let check = |expected: &str| {
            let tokens = format!("{:#}", Tokens { key_file: key_file.clone() }.key().unwrap_err());
            let peers = format!("{:#}", Peers { key_file: key_file.clone() }.key().unwrap_err());
            assert!(tokens.contains(expected) && tokens.starts_with("tokens.key_file"), "{tokens}");
            assert!(peers.starts_with("peers.key_file: "), "{peers}");
        };
        check("cannot read");
        std::fs::write(&key_file, "short").unwrap();
        check("holds 5 bytes, not 32");
        std::fs::write(&key_file, [7; 32]).unwrap();
        Tokens { key_file: key_file.clone() }.key().unwrap();
        Peers { key_file }.key().unwrap();
    }
}
