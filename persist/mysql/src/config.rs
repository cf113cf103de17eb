//! Where the servers are, who we are to them, and how long we wait.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::{ConnectOptions as _, Error};

use crate::limits;

/// How far TLS is demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Never.
    Disabled,
    /// Where the server offers it; the certificate is not looked at.
    Preferred,
    /// Always; the certificate is not looked at.
    Required,
    /// Always, with a certificate that a known authority has signed.
    VerifyCa,
    /// As `VerifyCa`, and for the name of the host we connect to.
    VerifyIdentity,
}

impl FromStr for TlsMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "disabled" => Ok(Self::Disabled),
            "preferred" => Ok(Self::Preferred),
            "required" => Ok(Self::Required),
            "verify_ca" => Ok(Self::VerifyCa),
            "verify_identity" => Ok(Self::VerifyIdentity),
            _ => Err(format!("{text:?} is none of disabled, preferred, required, verify_ca, verify_identity")),
        }
    }
}

/// TLS to the servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// How far it is demanded.
    pub mode: TlsMode,
    /// PEM file with authorities to trust beside the public ones.
    pub ca: Option<PathBuf>,
    /// PEM files of our own certificate and its key, for servers that ask for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Settings of the adapters. The defaults are those of [`limits`].
#[derive(Clone)]
pub struct MySqlConfig {
    /// The primary: `mysql://user:password@host:port/database`, with `?ssl-mode=…&ssl-ca=…` or `?socket=…` where
    /// wanted.
    pub url: String,
    /// A replica that serves pages of history, in the same form.
    pub read_url: Option<String>,
    /// User instead of the URLs'.
    pub user: Option<String>,
    /// Password instead of the URLs', so that it need not stand in a URL.
    pub password: Option<String>,
    /// TLS instead of what the URLs say.
    pub tls: Option<Tls>,
    /// Connections to each server.
    pub connections_max: u32,
    /// How long a call waits for a connection.
    pub acquire_ms: u64,
    /// How long a statement may run.
    pub statement_ms: u64,
    /// How long a call may take.
    pub call_ms: u64,
    /// How long a statement waits for a row or a table; the server counts whole seconds, at least one.
    pub lock_wait_ms: u64,
    /// How long a page waits for the replica.
    pub replica_ms: u64,
    /// Whole months of messages kept beside the current one; `None` keeps all. Tables go only when
    /// [`crate::Database::keep_months`] is called.
    pub retention_months: Option<u32>,
}

impl MySqlConfig {
    /// The defaults, with this primary.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            read_url: None,
            user: None,
            password: None,
            tls: None,
            connections_max: limits::CONNECTIONS_MAX,
            acquire_ms: limits::ACQUIRE_MS,
            statement_ms: limits::STATEMENT_MS,
            call_ms: limits::CALL_MS,
            lock_wait_ms: limits::LOCK_WAIT_MS,
            replica_ms: limits::REPLICA_MS,
            retention_months: None,
        }
    }

    /// What the driver needs for one of the URLs.
    pub(crate) fn options(&self, url: &str) -> Result<MySqlConnectOptions, Error> {
        // Statements are not logged: what goes wrong is, where it is handled.
        let mut options: MySqlConnectOptions = MySqlConnectOptions::from_str(url)?.disable_statement_logging();
        if options.get_database().is_none() {
            return Err(Error::Configuration("the URL names no database".into()));
        }
        if let Some(user) = &self.user {
            options = options.username(user);
        }
        if let Some(password) = &self.password {
            options = options.password(password);
        }
        if let Some(tls) = &self.tls {
            options = options.ssl_mode(match tls.mode {
                TlsMode::Disabled => MySqlSslMode::Disabled,
                TlsMode::Preferred => MySqlSslMode::Preferred,
                TlsMode::Required => MySqlSslMode::Required,
                TlsMode::VerifyCa => MySqlSslMode::VerifyCa,
                TlsMode::VerifyIdentity => MySqlSslMode::VerifyIdentity,
            });
            if let Some(ca) = &tls.ca {
                options = options.ssl_ca(ca);
            }
            if let Some((certificate, key)) = &tls.client {
                options = options.ssl_client_cert(certificate).ssl_client_key(key);
            }
        }
        Ok(options.pipes_as_concat(false).statement_cache_capacity(limits::STATEMENTS_PREPARED_MAX))
    }
}

/// A URL without user and password.
fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(no URL)".to_owned() };
    // The last one: what stands before any of them may be part of a password.
    format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, after)| after))
}

impl fmt::Debug for MySqlConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlConfig")
            .field("url", &shown(&self.url))
            .field("read_url", &self.read_url.as_deref().map(shown))
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("tls", &self.tls)
            .field("connections_max", &self.connections_max)
            .field("acquire_ms", &self.acquire_ms)
            .field("statement_ms", &self.statement_ms)
            .field("call_ms", &self.call_ms)
            .field("lock_wait_ms", &self.lock_wait_ms)
            .field("replica_ms", &self.replica_ms)
            .field("retention_months", &self.retention_months)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        for (url, expected) in [
            ("mysql://me:s3cret@db:3306/ringway?ssl-mode=REQUIRED", "mysql://db:3306/ringway?ssl-mode=REQUIRED"),
            ("mysql://db/ringway", "mysql://db/ringway"),
            ("mysql://me:s3cret/@s3cret@db", "mysql://db"),
            ("s3cret", "(no URL)"),
        ] {
            let mut config = MySqlConfig::new(url);
            config.password = Some("s3cret".to_owned());
            let printed = format!("{config:?}");
            assert!(printed.contains(expected) && !printed.contains("s3cret"), "{printed}");
        }
    }

    #[test]
    fn a_url_without_a_database_is_refused() {
        assert!(MySqlConfig::new("mysql://db").options("mysql://db").is_err());
        assert!(MySqlConfig::new("").options("no url").is_err());
    }
}
