//! Redis: numbers, cursors and routes.

use std::path::PathBuf;

use anyhow::Context as _;
use ringway_engine::limits::DEDUP_MS;
use ringway_redis::{RedisConfig, TlsFiles, Topology, limits};
use ringway_service::keys;
use ringway_service::sections::LARGEST;

use super::{given, pair, secret};

keys! {
    /// The section `redis`.
    pub Redis {
        url: String = "redis://127.0.0.1:6379".to_owned(), "URL", None, restart,
            "`redis://user@host:port`, `redis-cluster://host:port?node=host:port`, or \
             `redis-sentinel://host:port?node=host:port&sentinelServiceName=NAME`. `rediss…` instead: TLS. The servers \
             must evict nothing.";
        user: String = String::new(), "", None, restart, "User instead of the one in the URL.";
        password_file: Option<PathBuf> = None, "path", None, restart,
            "File with the password, so that it need not stand in the URL.";
        sentinel_password_file: Option<PathBuf> = None, "path", None, restart,
            "The same, of the sentinels.";
        tls_ca: Option<PathBuf> = None, "path", None, restart,
            "PEM file of the authorities to trust. Empty: those of the system. Needs a `rediss…` URL.";
        tls_cert: Option<PathBuf> = None, "path", None, restart,
            "PEM file of our own certificate, for servers that ask for one. Needs a `rediss…` URL.";
        tls_key: Option<PathBuf> = None, "path", None, restart, "PEM file of its key.";
        prefix: String = "im:".to_owned(), "", None, restart,
            "First part of every key, so that one server can serve several deployments.";
        command_timeout_ms: u64 = limits::COMMAND_TIMEOUT_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long a call may take. Past it it fails as temporary.";
        connect_timeout_ms: u64 = limits::CONNECT_TIMEOUT_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long connecting may take, TLS and sign-in included.";
        dedup_s: u64 = limits::DEDUP_DEFAULT_S, "seconds", Some((1, LARGEST)), restart,
            "How long ids of messages are remembered once the message is archived. An older one is found when the \
             client marks its send as a repeat.";
    }
}

impl Redis {
    /// Checks what the values of single keys cannot say.
    ///
    /// # Errors
    /// Names the keys.
    pub fn check(&self) -> anyhow::Result<()> {
        let config = self.without_secrets()?;
        let least = (DEDUP_MS + limits::CLOCK_SKEW_MS) / 1_000;
        anyhow::ensure!(
            self.dedup_s > least,
            "redis.dedup_s must be above {least}, the window in which an id is a repeat"
        );
        let sentinel = matches!(config.topology, Topology::Sentinel { .. });
        anyhow::ensure!(
            sentinel || self.sentinel_password_file.is_none(),
            "redis.sentinel_password_file needs a redis-sentinel:// URL"
        );
        Ok(())
    }

    fn without_secrets(&self) -> anyhow::Result<RedisConfig> {
        let mut config = RedisConfig::from_url(&self.url).context("redis.url")?;
        let client = pair("redis.tls_cert and redis.tls_key", self.tls_cert.as_ref(), self.tls_key.as_ref())?;
        if client.is_some() || self.tls_ca.is_some() {
            anyhow::ensure!(config.tls.is_some(), "redis.tls_ca and redis.tls_cert need a rediss URL");
            config.tls = Some(TlsFiles { authorities: self.tls_ca.clone(), client });
        }
        config.user = given(&self.user).or(config.user);
        config.prefix.clone_from(&self.prefix);
        config.command_timeout_ms = self.command_timeout_ms;
        config.connect_timeout_ms = self.connect_timeout_ms;
        config.dedup_s = self.dedup_s;
        Ok(config)
    }

    /// For the adapter.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn config(&self) -> anyhow::Result<RedisConfig> {
        let mut config = self.without_secrets()?;
        config.password = secret("redis.password_file", self.password_file.as_ref())?.or(config.password);
        if let Topology::Sentinel { password, .. } = &mut config.topology
            && let Some(given) = secret("redis.sentinel_password_file", self.sentinel_password_file.as_ref())?
        {
            *password = Some(given);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_come_from_their_files_and_win_over_the_url() {
        let folder = tempfile::tempdir().unwrap();
        let (file, of_sentinel) = (folder.path().join("password"), folder.path().join("sentinel"));
        std::fs::write(&file, "new\n").unwrap();
        std::fs::write(&of_sentinel, "watch").unwrap();
        let keys = Redis {
            url: "redis-sentinel://me:old@a:1?sentinelServiceName=im".to_owned(),
            password_file: Some(file),
            sentinel_password_file: Some(of_sentinel),
            ..Redis::default()
        };
        keys.check().unwrap();
        let config = keys.config().unwrap();
        assert_eq!((config.user.as_deref(), config.password.as_deref()), (Some("me"), Some("new")));
        let Topology::Sentinel { password, .. } = config.topology else { panic!("sentinels") };
        assert_eq!(password.as_deref(), Some("watch"));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let check = |keys: Redis, expected: &str| {
            let error = format!("{:#}", keys.check().unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(Redis { url: "http://x".into(), ..Redis::default() }, "redis.url");
        check(Redis { tls_cert: Some("a".into()), ..Redis::default() }, "belong together");
        check(Redis { tls_ca: Some("a".into()), ..Redis::default() }, "need a rediss URL");
        check(Redis { dedup_s: 1, ..Redis::default() }, "redis.dedup_s must be above");
        check(Redis { sentinel_password_file: Some("a".into()), ..Redis::default() }, "redis-sentinel://");
    }
}
