//! What a node asks of the machine before it starts.

use ringway_service::machine::port_free;

use crate::config::Config;

/// Checks that shards and journal can run here, and that the WebSocket port is free.
///
/// # Errors
/// What is missing and what to do about it.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    ringway_ring::runtime::check_support()?;
    ringway_journal::check_support(&config.data.folder.join("journal"))?;
    port_free("gateway.listen", config.gateway.listen)?;
    config.gateway.conformance_echo.map_or(Ok(()), |address| port_free("gateway.conformance_echo", address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_shards_share_counts_as_taken() {
        let taken = ringway_ring::listener::bind("127.0.0.1:0".parse().unwrap(), true, 1).unwrap();
        let address = taken.local_addr().unwrap();
        let error = format!("{:#}", port_free("gateway.listen", address).unwrap_err());
        assert!(error.starts_with(&format!("cannot listen on {address} (gateway.listen): ")), "{error}");
        drop(taken);
        port_free("gateway.listen", address).unwrap();
    }
}
