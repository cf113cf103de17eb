//! MySQL or MariaDB: the archive and the directory.

use std::path::PathBuf;

use anyhow::Context as _;
use ringway_mysql::{MySqlConfig, Tls, TlsMode, limits};
use ringway_service::config::{Setting, Value};
use ringway_service::keys;
use ringway_service::sections::{LARGEST, to_u32};

use super::{given, pair, secret};

/// Connections to one server.
const CONNECTIONS_MAX: u64 = 65_535;

keys! {
    /// The section `mysql`.
    pub MySql {
        url: String = "mysql://127.0.0.1:3306/ringway".to_owned(), "URL", None, restart,
            "The primary, `mysql://user@host:port/database`. The database must be there; its tables are made.";
        read_url: String = String::new(), "URL", None, restart,
            "A replica that serves pages of history, in the same form. Empty: the primary serves them.";
        user: String = String::new(), "", None, restart, "User instead of the one in the URLs.";
        password_file: Option<PathBuf> = None, "path", None, restart,
            "File with the password, so that it need not stand in a URL.";
        tls: Demand = Demand(None), "", None, restart,
            "How far TLS is demanded: disabled, preferred, required, verify_ca, verify_identity. Empty: as the URLs say.";
        tls_ca: Option<PathBuf> = None, "path", None, restart,
            "PEM file with authorities to trust beside the public ones. Needs mysql.tls.";
        tls_cert: Option<PathBuf> = None, "path", None, restart,
            "PEM file of our own certificate, for servers that ask for one. Needs mysql.tls.";
        tls_key: Option<PathBuf> = None, "path", None, restart, "PEM file of its key.";
        connections_max: u64 = limits::CONNECTIONS_MAX as u64, "connections", Some((1, CONNECTIONS_MAX)), restart,
            "Connections to each server. Past it calls wait for one.";
        acquire_ms: u64 = limits::ACQUIRE_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long a call waits for a connection. Past it it fails as temporary.";
        statement_ms: u64 = limits::STATEMENT_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long a statement may run. Past it the server ends it.";
        call_ms: u64 = limits::CALL_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long a call may take in all. Past it it fails as temporary.";
        lock_wait_ms: u64 = limits::LOCK_WAIT_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long a statement waits for a row; servers count whole seconds.";
        replica_ms: u64 = limits::REPLICA_MS, "milliseconds", Some((1, LARGEST)), restart,
            "How long a page waits for the replica. Past it the primary is asked.";
    }
}

/// How far TLS is demanded, when that is said beside the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand(Option<TlsMode>);

impl Setting for Demand {
    fn from_toml(value: &Value) -> Result<Self, String> {
        value.as_str().ok_or_else(|| format!("expects a text, not {value}")).and_then(Self::from_text)
    }

    fn from_text(text: &str) -> Result<Self, String> {
        let mode = (!text.is_empty()).then(|| text.parse()).transpose();
        mode.map(Self).map_err(|error: String| format!("does not know the mode: {error}"))
    }

    fn to_toml(&self) -> Value {
        Value::String(match self.0 {
            None => String::new(),
            Some(TlsMode::Disabled) => "disabled".to_owned(),
            Some(TlsMode::Preferred) => "preferred".to_owned(),
            Some(TlsMode::Required) => "required".to_owned(),
            Some(TlsMode::VerifyCa) => "verify_ca".to_owned(),
            Some(TlsMode::VerifyIdentity) => "verify_identity".to_owned(),
        })
    }
}

impl MySql {
    /// Checks what the values of single keys cannot say.
    ///
    /// # Errors
    /// Names the keys.
    pub fn check(&self) -> anyhow::Result<()> {
        for (key, url) in [("mysql.url", &self.url), ("mysql.read_url", &self.read_url)] {
            let optional = key == "mysql.read_url" && url.is_empty();
            anyhow::ensure!(optional || url.starts_with("mysql://"), "{key} must begin with mysql://");
        }
        self.tls().map(|_| ())
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let client = pair("mysql.tls_cert and mysql.tls_key", self.tls_cert.as_ref(), self.tls_key.as_ref())?;
        let Some(mode) = self.tls.0 else {
            anyhow::ensure!(
                client.is_none() && self.tls_ca.is_none(),
                "mysql.tls_ca and mysql.tls_cert need mysql.tls: nothing says how far TLS is demanded"
            );
            return Ok(None);
        };
        Ok(Some(Tls { mode, ca: self.tls_ca.clone(), client }))
    }

    /// For the adapter.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn config(&self) -> anyhow::Result<MySqlConfig> {
        Ok(MySqlConfig {
            read_url: given(&self.read_url),
            user: given(&self.user),
            password: secret("mysql.password_file", self.password_file.as_ref())?,
            tls: self.tls().context("mysql")?,
            connections_max: to_u32(self.connections_max),
            acquire_ms: self.acquire_ms,
            statement_ms: self.statement_ms,
            call_ms: self.call_ms,
            lock_wait_ms: self.lock_wait_ms,
            replica_ms: self.replica_ms,
            ..MySqlConfig::new(&self.url)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_comes_from_its_file_and_tls_from_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "s3cret\n").unwrap();
        let tls = Demand::from_text("verify_ca").unwrap();
        let keys = MySql { password_file: Some(file), tls, tls_ca: Some("ca.pem".into()), ..MySql::default() };
        keys.check().unwrap();
        let config = keys.config().unwrap();
        assert_eq!(config.password.as_deref(), Some("s3cret"));
        assert_eq!(config.tls.unwrap().mode, TlsMode::VerifyCa);
        assert_eq!((config.read_url, config.user), (None, None));
        let gone = MySql { password_file: Some(folder.path().join("gone")), ..MySql::default() };
        assert!(format!("{:#}", gone.config().unwrap_err()).starts_with("mysql.password_file: cannot read "));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        let check = |keys: MySql, expected: &str| {
            let error = format!("{:#}", keys.check().unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(MySql { url: "postgres://x".into(), ..MySql::default() }, "mysql.url must begin with mysql://");
        check(MySql { tls_cert: Some("a".into()), ..MySql::default() }, "belong together");
        check(MySql { tls_ca: Some("a".into()), ..MySql::default() }, "need mysql.tls");
    }

    #[test]
    fn every_mode_of_tls_survives_text_and_toml() {
        for text in ["", "disabled", "preferred", "required", "verify_ca", "verify_identity"] {
            let demand = Demand::from_text(text).unwrap();
            assert_eq!(Demand::from_toml(&demand.to_toml()).unwrap(), demand, "{text}");
        }
        assert!(Demand::from_text("some").unwrap_err().contains("none of disabled"));
    }
}
