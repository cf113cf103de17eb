//! What all handlers share.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ringway_store::ports::{Archive, Directory, Gateways, SharedState};
use ringway_store::token::TokenKey;

use crate::config::ApiConfig;
use crate::limiter::Limiter;
use crate::passwords::Passwords;
use crate::replay::Replays;
use crate::revoked::Revoked;
use crate::stats::Stats;

/// What the API is built on.
#[derive(Clone)]
pub struct Parts {
    /// Accounts, sign-in sessions, groups.
    pub directory: Arc<dyn Directory>,
    /// Heads, pages and conversation lists.
    pub state: Arc<dyn SharedState>,
    /// Archived messages, for `trace`.
    pub archive: Arc<dyn Archive>,
    /// The gateways.
    pub gateways: Arc<dyn Gateways>,
    /// Signs and checks access tokens.
    pub tokens: Arc<TokenKey>,
    /// Load of this node from 0 (idle) to 1 (full), told by `/v1/locate`.
    pub load: Arc<dyn Fn() -> f64 + Send + Sync>,
    /// Why the node is not ready yet (not recovered, …), for `/readyz`; empty when nothing speaks against it.
    pub not_ready: Arc<dyn Fn() -> Vec<String> + Send + Sync>,
    /// Further Prometheus texts for `/metrics` (the daemon's, the journal's).
    pub metrics: Vec<Arc<dyn Fn() -> String + Send + Sync>>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// The API's own state, shared by its two routers.
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
    pub(crate) stats: Stats,
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
            stats: Stats::default(),
            parts,
            config,
        })
    }
}
