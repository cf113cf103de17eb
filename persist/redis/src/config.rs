//! Where Redis is and how to sign in.

use std::fmt;
use std::path::PathBuf;

use fred::types::config::{Config, Server, ServerConfig};
use ringway_store::ports::StoreError;

use crate::connection::failed;
use crate::limits::{COMMAND_TIMEOUT_MS, CONNECT_TIMEOUT_MS, DEDUP_DEFAULT_S, DRIFT_SETTLE_MS, REPAIR_MS};

/// Which servers there are.
#[derive(Clone, PartialEq, Eq)]
pub enum Topology {
    /// One server (or an address that always leads to the master): host and port.
    Single(String, u16),
    /// Sentinels, asked in turn for the master of a service.
    Sentinel {
        /// Host and port of each.
        sentinels: Vec<(String, u16)>,
        /// Name of the service, as the sentinels know it.
        service: String,
        /// User at the sentinels, if they want one.
        user: Option<String>,
        /// Password at the sentinels.
        password: Option<String>,
    },
    /// Nodes of a cluster; the others are learnt from any of them.
    Cluster(Vec<(String, u16)>),
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(host, port) => f.debug_tuple("Single").field(host).field(port).finish(),
            Self::Cluster(nodes) => f.debug_tuple("Cluster").field(nodes).finish(),
            Self::Sentinel { sentinels, service, user, .. } => f
                .debug_struct("Sentinel")
                .field("sentinels", sentinels)
                .field("service", service)
                .field("user", user)
                .finish_non_exhaustive(),
        }
    }
}

/// TLS towards all servers, sentinels included.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file of the authorities to trust; none: those of the system.
    pub authorities: Option<PathBuf>,
    /// PEM files of a client certificate with its chain, and of its key, if the servers ask for one.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Settings of the adapter.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// The servers.
    pub topology: Topology,
    /// ACL user; none: `default`.
    pub user: Option<String>,
    /// Its password; none: no sign-in.
    pub password: Option<String>,
    /// TLS; none: plain TCP.
    pub tls: Option<TlsFiles>,
    /// First part of every key (default `im:`), so that one server can serve several deployments.
    pub prefix: String,
    /// How long a call may take before it fails as temporary (default 1,000 ms).
    pub command_timeout_ms: u64,
    /// How long connecting may take, TLS and sign-in included (default 2,000 ms).
    pub connect_timeout_ms: u64,
    /// How long client message ids are remembered once their message is archived (default 900 s). A send that
    /// repeats an older one is found when it is marked `retry`.
    pub dedup_s: u64,
    /// A message that is held as unarchived for this long is looked up in the archive (default 30,000 ms): whoever
    /// archived it may have died before it could tell.
    pub repair_ms: u64,
    /// What the drift check suspects is looked at again after this long (default 10,000 ms).
    pub drift_settle_ms: u64,
    /// Whether what this process numbers is numbered even where the server's memory is full (default false): for whoever
    /// brings it into the archive, and so makes room.
    pub makes_room: bool,
}

impl RedisConfig {
    /// Defaults for these servers.
    #[must_use]
    pub fn new(topology: Topology) -> Self {
        Self {
            topology,
            user: None,
            password: None,
            tls: None,
            prefix: "im:".to_owned(),
            command_timeout_ms: COMMAND_TIMEOUT_MS,
            connect_timeout_ms: CONNECT_TIMEOUT_MS,
            dedup_s: DEDUP_DEFAULT_S,
            repair_ms: REPAIR_MS,
            drift_settle_ms: DRIFT_SETTLE_MS,
            makes_room: false,
        }
    }

    /// One server.
    #[must_use]
    pub fn single(host: &str, port: u16) -> Self {
        Self::new(Topology::Single(host.to_owned(), port))
    }

    /// Defaults for the servers of a URL, with what it says of user and password:
    ///
    /// - `redis://user:password@host:port`
    /// - `redis-cluster://host:port?node=host:port&…`
    /// - `redis-sentinel://host:port?node=host:port&…&sentinelServiceName=…`, and `sentinelUsername=`,
    ///   `sentinelPassword=` where the sentinels want them
    ///
    /// With `rediss` instead of `redis`: TLS, with the authorities of the system.
    ///
    /// # Errors
    /// It is none of them, or names a numbered database: all keys are in the first.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        // TLS is ours to set up.
        let (url, tls) = match url.strip_prefix("rediss") {
            Some(rest) => (format!("redis{rest}"), true),
            None => (url.to_owned(), false),
        };
        let unknown = || StoreError::new("redis", "a URL begins with redis://, redis-cluster:// or redis-sentinel://");
        let (scheme, _) = url.split_once("://").ok_or_else(unknown)?;
        if !["redis", "redis-cluster", "redis-sentinel"].contains(&scheme) {
            return Err(unknown());
        }
        let read = Config::from_url(&url).map_err(failed)?;
        if read.database.is_some_and(|database| database != 0) {
            return Err(StoreError::new("redis", "all keys are in database 0: the URL may name no other"));
        }
        let pair = |server: Server| (server.host.to_string(), server.port);
        let topology = match read.server {
            ServerConfig::Centralized { server } => Topology::Single(server.host.to_string(), server.port),
            ServerConfig::Clustered { hosts, .. } => Topology::Cluster(hosts.into_iter().map(pair).collect()),
            ServerConfig::Sentinel { hosts, service_name, username, password } => Topology::Sentinel {
                sentinels: hosts.into_iter().map(pair).collect(),
                service: service_name,
                user: username,
                password,
            },
        };
        let tls = tls.then(TlsFiles::default);
        Ok(Self { user: read.username, password: read.password, tls, ..Self::new(topology) })
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("topology", &self.topology)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "…"))
            .field("tls", &self.tls)
            .field("prefix", &self.prefix)
            .field("command_timeout_ms", &self.command_timeout_ms)
            .field("connect_timeout_ms", &self.connect_timeout_ms)
            .field("dedup_s", &self.dedup_s)
            .field("repair_ms", &self.repair_ms)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_servers() {
        let config = RedisConfig::from_url("redis://me:s3cret@db:7000").unwrap();
        assert_eq!(config.topology, Topology::Single("db".to_owned(), 7000));
        assert_eq!((config.user.as_deref(), config.password.as_deref()), (Some("me"), Some("s3cret")));
        assert_eq!((config.tls, config.prefix.as_str()), (None, "im:"));

        let config = RedisConfig::from_url("rediss-cluster://a:1?node=b:2&node=c:3").unwrap();
        let Topology::Cluster(mut nodes) = config.topology else { panic!("a cluster") };
        nodes.sort();
        assert_eq!(nodes, [("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 3)]);
        assert_eq!((config.tls, config.password), (Some(TlsFiles::default()), None));

        let url = "redis-sentinel://:s3cret@a:1?node=b:2&sentinelServiceName=im&sentinelPassword=s3cret";
        let config = RedisConfig::from_url(url).unwrap();
        let Topology::Sentinel { sentinels, service, password, .. } = &config.topology else { panic!("sentinels") };
        assert_eq!((sentinels.len(), service.as_str(), password.as_deref()), (2, "im", Some("s3cret")));
        assert_eq!(config.password.as_deref(), Some("s3cret"));
    }

    #[test]
    fn what_is_no_such_url_is_refused() {
        for url in ["", "db:6379", "http://db", "redis://", "redis://db/3", "redis-sentinel://db", "redis+unix:///a"] {
            assert!(RedisConfig::from_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let url = "redis-sentinel://me:s3cret@a:1?sentinelServiceName=im&sentinelPassword=s3cret";
        let printed = format!("{:?}", RedisConfig::from_url(url).unwrap());
        assert!(printed.contains("\"im\"") && !printed.contains("s3cret"), "{printed}");
    }
}
