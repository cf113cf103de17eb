//! What all handlers share.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ringway_store::ports::{Directory, Gateways, Routes, SharedState};
use ringway_store::token::TokenKey;

use crate::config::ApiConfig;
use crate::limiter::Limiter;
use crate::passwords::Passwords;
use crate::replay::Replays;
use crate::revoked::Revoked;
use crate::routes::NodeList;
use crate::stats::RequestStats;
use crate::watch::{RequestWatcher, Watch};

/// What the API is built on.
#[derive(Clone)]
pub struct Parts {
    /// Accounts, sign-in sessions, groups.
    pub directory: Arc<dyn Directory>,
    /// Heads, pages and conversation lists.
    pub state: Arc<dyn SharedState>,
    /// The gateways.
    pub gateways: Arc<dyn Gateways>,
    /// Signs and checks access tokens.
    pub tokens: Arc<TokenKey>,
    /// Where `/v1/locate` sends clients.
    pub nodes: Nodes,
    /// Counts what is answered; the admin listener shows it.
    pub requests: Arc<RequestStats>,
}

/// Which gateways clients may try.
#[derive(Clone)]
pub enum Nodes {
    /// The one of this process, whose load lies between 0 (idle) and 1 (full).
    Own(Arc<dyn Fn() -> f64 + Send + Sync>),
    /// All that say of themselves that they take sessions.
    Listed(Arc<dyn Routes>),
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// The API's own state.
#[derive(Debug)]
pub struct Api {
    pub(crate) parts: Parts,
    pub(crate) config: ApiConfig,
    pub(crate) passwords: Passwords,
    pub(crate) failed_logins_by_address: Limiter<IpAddr>,
    pub(crate) failed_logins_by_account: Limiter<String>,
    pub(crate) registrations: Limiter<IpAddr>,
    pub(crate) revoked: Revoked,
    pub(crate) replays: Replays,
    pub(crate) node_list: NodeList,
    pub(crate) watch: Watch,
}

impl Api {
    /// Builds the state; opens nothing.
    #[must_use]
    pub fn new(parts: Parts, config: ApiConfig) -> Arc<Self> {
        Arc::new(Self {
            passwords: Passwords::new(config.hashes_concurrent_max, config.hashes_waiting_max),
            failed_logins_by_address: Limiter::new(config.failed_logins_per_minute_max),
            failed_logins_by_account: Limiter::new(config.failed_logins_per_minute_max),
            registrations: Limiter::new(config.registrations_per_minute_max),
            revoked: Revoked::default(),
            replays: Replays::default(),
            node_list: NodeList::default(),
            watch: Watch::default(),
            parts,
            config,
        })
    }

    /// Has a watcher told of each request that the public router answers from here on. The first one stays.
    pub fn watch_requests(&self, watcher: RequestWatcher) {
        self.watch.begin(watcher);
    }
}
