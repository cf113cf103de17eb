//! The configuration of the API process: its table of keys, and how they go together.

use anyhow::Context as _;
use ringway_api::{ApiConfig, Network, ServeLimits};
use ringway_parts::sections::{MySql, Otlp, Peers, Redis, Tokens};
use ringway_service::sections::{Admin, Api, Log, to_u32};
use ringway_service::{keys, settings};

settings! {
    Config of "ringway-api" by "ringway-api config", checked by check {
        /// The HTTP API. It has no TLS of its own: put it behind a balancer that has.
        api {
            api: Api = Api::default();
            balanced: Balanced = Balanced::default();
        }

        /// Links to the gateways.
        peers { peers: Peers = Peers::default(); }

        /// Access tokens.
        tokens { tokens: Tokens = Tokens::default(); }

        /// Redis: numbers, cursors and routes.
        redis { redis: Redis = Redis::default(); }

        /// MySQL or MariaDB: accounts, groups and the archive.
        mysql { mysql: MySql = MySql::default(); }

        /// OpenTelemetry: traces of a few requests, exported to a collector.
        otlp { otlp: Otlp = Otlp::default(); }

        /// The admin listener.
        admin { admin: Admin = Admin::on(7483); }

        /// Logs, on standard error.
        log { log: Log = Log::json(); }
    }
}

keys! {
    /// What a process of its own has in `api`.
    pub(crate) Balanced {
        trusted_peers: Vec<String> = Vec::new(), "addresses or networks", None, restart,
            "Balancers whose X-Forwarded-For is believed, like \"10.0.0.0/8\".";
    }
}

fn check(config: &Config) -> anyhow::Result<()> {
    networks(config)?;
    config.api.check()?;
    config.redis.check()?;
    config.mysql.check()?;
    config.otlp.check()?;
    config.log.check()
}

fn networks(config: &Config) -> anyhow::Result<Vec<Network>> {
    let parse = |peer: &String| peer.trim().parse::<Network>().context("api.trusted_peers");
    config.balanced.trusted_peers.iter().map(parse).collect()
}

/// For the API. Where clients connect is told by the nodes themselves.
///
/// # Errors
/// A list of peers that the configuration's check would have refused.
pub(crate) fn api(config: &Config) -> anyhow::Result<ApiConfig> {
    let api = &config.api;
    Ok(ApiConfig {
        access_ttl_ms: api.access_token_ttl_s.saturating_mul(1_000),
        refresh_ttl_ms: api.refresh_token_ttl_s.saturating_mul(1_000),
        failed_logins_per_minute_max: to_u32(api.failed_logins_per_minute_max),
        registrations_per_minute_max: to_u32(api.registrations_per_minute_max),
        trusted_peers: networks(config)?,
        allowed_origins: api.cors_origins.clone(),
        ..ApiConfig::new("")
    })
}

/// Bounds of its listener.
///
/// # Errors
/// As [`api`].
pub(crate) fn serve_limits(config: &Config) -> anyhow::Result<ServeLimits> {
    Ok(ServeLimits { trusted_peers: networks(config)?, ..ServeLimits::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_service::testing;

    #[test]
    fn every_key_is_explained_and_the_example_in_deploy_holds_the_defaults() {
        testing::check_table::<Config>(include_str!("../../../../deploy/config/api.toml"));
    }

    #[test]
    fn the_files_of_the_deployments_are_configurations() {
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../deploy");
        for file in ["compose/ringway/api.toml", "k8s/config/api.toml"] {
            testing::check_file::<Config>(&format!("{deploy}/{file}"));
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        fn check_refused(change: impl FnOnce(&mut Config), expected: &str) {
            testing::check_refused(change, expected);
        }
        check_refused(|config| config.balanced.trusted_peers = vec!["host".into()], "api.trusted_peers");
        check_refused(|config| config.api.cors_origins = vec!["*".into()], "api.cors_origins");
        check_refused(|config| config.redis.url = "x".into(), "redis.url");
        check_refused(|config| config.mysql.url = "x".into(), "mysql.url");
        check_refused(|config| config.otlp.endpoint = "x".into(), "otlp.endpoint");
        check_refused(|config| config.log.level = "inof".into(), "log.level");
    }
}
