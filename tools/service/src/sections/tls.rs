//! The certificate of the WebSocket listener.

use std::path::PathBuf;

use anyhow::bail;

crate::keys! {
    /// The section `tls`.
    pub Tls {
        cert: Option<PathBuf> = None, "path", None, restart,
            "Certificate chain in PEM, the server's own first. Empty: no TLS. The file is read anew on SIGHUP.";
        key: Option<PathBuf> = None, "path", None, restart,
            "Private key of the certificate in PEM. The file is read anew on SIGHUP.";
    }
}

impl Tls {
    /// Checks that both are there, or none.
    ///
    /// # Errors
    /// One of them is empty.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.cert.is_some() != self.key.is_some() {
            bail!("tls.cert and tls.key belong together: one of them is empty");
        }
        Ok(())
    }

    /// Certificate and key, when there is TLS.
    #[must_use]
    pub fn files(&self) -> Option<(PathBuf, PathBuf)> {
        self.cert.clone().zip(self.key.clone())
    }
}
