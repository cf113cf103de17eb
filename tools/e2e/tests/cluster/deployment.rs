//! A whole deployment for a test: its servers and processes end with it.

use std::net::SocketAddr;

use ringway_e2e::http;
use ringway_e2e::load::{Site, USERS};
use ringway_e2e::program;
use ringway_stack::{Extra, Folder, Size, Stack};
use serde_json::Value;

/// Servers, processes, and where clients find them. Fields end in this order.
pub(crate) struct Deployment {
    _stack: Stack,
    pub(crate) gateways: Vec<SocketAddr>,
    pub(crate) admins: Vec<SocketAddr>,
    pub(crate) api: SocketAddr,
    _folder: Folder,
}

impl Deployment {
    /// Starts all of it; blocks until everything is ready.
    pub(crate) fn start(gateways: usize, persists: usize, extras: &[Extra]) -> Self {
        let folder = Folder::new().unwrap();
        let mut stack = Stack::up_owned(&folder.path().join("d"), extras).unwrap();
        stack.add_nodes(Size { gateways, persists }, &program::production().unwrap()).unwrap();
        let nodes = stack.nodes();
        let list = |name: &str| nodes[name].as_array().unwrap().clone();
        let of = |node: &Value, key: &str| address(node[key].as_str().unwrap());
        let admins = list("gateways").iter().chain(&list("persists")).map(|node| of(node, "admin")).collect();
        let gateways = list("gateways").iter().map(|node| of(node, "ws")).collect();
        let api = of(&nodes["api"], "url");
        Self { _stack: stack, gateways, admins, api, _folder: folder }
    }

    /// Accounts for a load, made by the API.
    pub(crate) async fn site(&self) -> Site {
        let mut tokens = Vec::new();
        for user in USERS {
            tokens.push(http::register(self.api, user).await.unwrap().access);
        }
        Site { ws: self.gateways.clone(), api: self.api, tokens }
    }
}

fn address(url: &str) -> SocketAddr {
    let authority = url.split("://").nth(1).unwrap();
    authority.split('/').next().unwrap().parse().unwrap()
}
