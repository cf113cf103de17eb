//! Where operators and their tools ask.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::loopback;

crate::keys! {
    /// The section `admin`.
    pub Admin {
        listen: SocketAddr = loopback(7481), "address:port", None, restart,
            "Where health, readiness, metrics and traces are served: keep it away from the public. Port 0 takes a free \
             one.";
        secret_file: Option<PathBuf> = None, "path", None, restart,
            "File with the secret that /admin/… wants as a bearer token. Empty: none is wanted. Health, readiness and \
             metrics are for everybody who reaches the listener.";
    }
}

impl Admin {
    /// On a port of loopback.
    #[must_use]
    pub fn on(port: u16) -> Self {
        Self { listen: loopback(port), secret_file: None }
    }
}
