//! The process's TLS library: both halves of this crate find it by the same default.

use rustls::crypto::{CryptoProvider, ring};

/// Chooses `ring` for this process unless a choice was made already, which stays.
pub(crate) fn choose_provider() {
    if CryptoProvider::get_default().is_none() {
        // Fails only when another thread chose in this moment.
        let _ = ring::default_provider().install_default();
    }
}
