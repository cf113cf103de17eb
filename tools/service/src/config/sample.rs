//! A configuration for this crate's tests: shared tables, and a section of two.

use crate::sections::{Api, Gateway, Log, Tls};

crate::keys! {
    /// The number of a node.
    pub(crate) Numbering {
        node: u64 = 0, "", Some((0, 63)), restart, "Number of this node.";
    }
}

crate::settings! {
    Config of "A sample" by "sample config", checked by check {
        /// The gateway.
        gateway {
            gateway: Gateway = Gateway::default();
            numbering: Numbering = Numbering::default();
        }
        /// TLS.
        tls { tls: Tls = Tls::default(); }
        /// The API.
        api { api: Api = Api::default(); }
        /// Logs.
        log { log: Log = Log::default(); }
    }
}

fn check(config: &Config) -> anyhow::Result<()> {
    config.log.check()
}
