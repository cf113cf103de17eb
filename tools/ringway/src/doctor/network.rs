//! The ports: free, or held by the node that serves this very data folder.

use std::net::SocketAddr;

use ringway_service::machine::reachable;

use super::finding::Finding;
use crate::address_file::{AddressFile, Addresses};
use crate::config::Config;

pub(super) fn ports(config: &Config) -> Vec<Finding> {
    let running = AddressFile::of_running(&config.data.folder);
    let wanted = [
        ("port gateway.listen", config.gateway.listen),
        ("port api.listen", config.api.listen),
        ("port api.admin_listen", config.reached.admin_listen),
    ];
    wanted.into_iter().map(|(name, address)| port(name, address, running.as_ref())).collect()
}

fn port(name: &'static str, address: SocketAddr, running: Option<&AddressFile>) -> Finding {
    if address.port() == 0 {
        return Finding::ok(name, format!("{address}: a free one is taken at start"));
    }
    // Not shared: the kernel would let another ringway of this user join in.
    match ringway_ring::listener::bind(address, false, 1) {
        Ok(_) => Finding::ok(name, format!("{address} is free")),
        Err(error) => match running.filter(|file| listens(&file.ready, address)) {
            Some(file) => Finding::ok(name, format!("{address} is served by process {} on this data folder", file.pid)),
            None => Finding::fail(name, format!("{address}: {error}: end what listens there, or choose another")),
        },
    }
}

fn listens(addresses: &Addresses, address: SocketAddr) -> bool {
    let host = reachable(address).to_string();
    [&addresses.ws, &addresses.api, &addresses.admin]
        .into_iter()
        .any(|url| url.split_once("://").is_some_and(|(_, rest)| rest.split('/').next() == Some(host.as_str())))
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn a_port_is_free_ours_or_somebody_elses() {
        let taken = ringway_ring::listener::bind("127.0.0.1:0".parse().unwrap(), true, 1).unwrap();
        let address = taken.local_addr().unwrap();
        let ready = Addresses {
            ws: format!("ws://{address}/v1/ws"),
            api: "http://127.0.0.1:1".into(),
            admin: "http://127.0.0.1:2".into(),
            page: "http://127.0.0.1:1/".into(),
            conformance_echo: None,
        };
        let running = AddressFile { pid: 7, ready };
        let check = |running, level| assert_eq!(port("port", address, running).level, level, "{running:?}");
        check(None, Level::Fail);
        check(Some(&running), Level::Ok);
        drop(taken);
        check(None, Level::Ok);
        assert_eq!(port("port", "127.0.0.1:0".parse().unwrap(), None).level, Level::Ok);
    }
}
