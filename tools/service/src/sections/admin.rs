//! Where operators and their tools ask.

use std::net::SocketAddr;

use super::loopback;

crate::keys! {
    /// The section `admin`.
    pub Admin {
        listen: SocketAddr = loopback(7481), "address:port", None, restart,
            "Where health, readiness, metrics and traces are served: keep it away from the public. Port 0 takes a free \
             one.";
    }
}

impl Admin {
    /// On a port of loopback.
    #[must_use]
    pub fn on(port: u16) -> Self {
        Self { listen: loopback(port) }
    }
}
