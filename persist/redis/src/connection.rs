//! The connection: one client that carries all calls of this process, made anew whenever it breaks.
//!
//! Calls made at the same time share a socket (one a node in a cluster) and go out together. `generation`
//! counts connections: what was learnt of a server on one of them is to be checked on the next. A call that
//! is dropped may still be carried out.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::error::ErrorKind;
use fred::interfaces::{ClientLike as _, ClusterInterface as _, EventInterface as _, LuaInterface as _};
use fred::types::config::{
    Config, ConnectionConfig, PerformanceConfig, ReconnectPolicy, Server, ServerConfig, UnresponsiveConfig,
};
use fred::types::scripts::Script;
use fred::types::{ClusterHash, CustomCommand, Key, Value};
use fred::util::redis_keyslot;
use ringway_store::ports::StoreError;
use tokio::task::JoinHandle;

use crate::config::{RedisConfig, Topology};
use crate::keys::Keys;
use crate::limits::{CALLS_WAITING_MAX, RECONNECT_MS_MAX, UNRESPONSIVE_MS};
use crate::tls;

/// A master and who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Master {
    /// Its address in a cluster; none for the one server there is otherwise.
    pub(crate) server: Option<Server>,
    /// Replication id: drawn anew at every start and every promotion.
    pub(crate) replication_id: String,
    /// `run_id` of the process and the replication id, as they are recorded for the epoch.
    pub(crate) identity: String,
}

/// The client and the tasks that belong to it.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    pub(crate) keys: Keys,
    generation: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

pub(crate) fn failed(error: fred::error::Error) -> StoreError {
    StoreError::new("redis", error)
}

impl Connection {
    /// Connects.
    pub(crate) async fn open(config: &RedisConfig) -> Result<Self, StoreError> {
        let clustered = matches!(config.topology, Topology::Cluster(_));
        let client = Client::new(
            fred_config(config)?,
            Some(performance(config)),
            Some(connection(config)),
            Some(ReconnectPolicy::new_exponential(0, 20, RECONNECT_MS_MAX, 2)),
        );
        let generation = Arc::new(AtomicU64::new(1));
        let mut connects = client.reconnect_rx();
        let mut changes = client.cluster_change_rx();
        let counted = Arc::clone(&generation);
        let watch = tokio::spawn(async move {
            use tokio::sync::broadcast::error::RecvError::Closed;
            loop {
                // A receiver that lags has missed some of many: one count stands for all.
                let closed = tokio::select! {
                    connected = connects.recv() => matches!(connected, Err(Closed)),
                    changed = changes.recv() => matches!(changed, Err(Closed)),
                };
                if closed {
                    return;
                }
                counted.fetch_add(1, Ordering::AcqRel);
            }
        });
        let connection = Self { client, keys: Keys::new(&config.prefix, clustered), generation, tasks: vec![watch] };
        connection.client.init().await.map_err(failed)?;
        Ok(connection)
    }

    /// Counts up with every connection made.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Calls a script, by its hash; a server that does not know it yet is sent the text.
    pub(crate) async fn call(
        &self,
        script: &Script,
        keys: Vec<String>,
        arguments: Vec<Value>,
    ) -> Result<Value, StoreError> {
        let keys: Vec<Key> = keys.into_iter().map(Key::from).collect();
        let answer = match self.client.evalsha(script.sha1().clone(), keys.clone(), arguments.clone()).await {
            // This very server gets it: the others of a cluster may be away.
            Err(error) if error.details().starts_with("NOSCRIPT") => match script.lua() {
                Some(text) => self.client.eval(text.clone(), keys, arguments).await,
                None => Err(error),
            },
            answer => answer,
        };
        self.checked(answer).await
    }

    /// Sends one command on one key.
    pub(crate) async fn command(
        &self,
        name: &'static str,
        key: String,
        arguments: Vec<Value>,
    ) -> Result<Value, StoreError> {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        let mut all = Vec::with_capacity(arguments.len() + 1);
        all.push(Value::from(key));
        all.extend(arguments);
        let answer = self.client.custom(command, all).await;
        self.checked(answer).await
    }

    async fn checked(&self, answer: Result<Value, fred::error::Error>) -> Result<Value, StoreError> {
        if let Err(error) = &answer
            && error.details().starts_with("READONLY")
        {
            // The master was made a replica under this connection: the next one leads to the new master.
            self.client.force_reconnection().await.map_err(failed)?;
        }
        answer.map_err(failed)
    }

    /// The masters that can be reached, and who they are.
    ///
    /// A master that cannot be reached answers nobody; should it come back, its calls are fenced.
    pub(crate) async fn masters(&self) -> Result<Vec<Master>, StoreError> {
        let Some(routing) = self.client.cached_cluster_state() else {
            return Ok(vec![self.master(None).await?]);
        };
        let asked = routing.unique_primary_nodes().into_iter().map(|server| self.master(Some(server)));
        let (mut masters, mut last) = (Vec::new(), None);
        for answer in futures_util::future::join_all(asked).await {
            match answer {
                Ok(master) => masters.push(master),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if masters.is_empty() => Err(error),
            _ => Ok(masters),
        }
    }

    /// The servers to scan: the masters of a cluster, else one without a name.
    pub(crate) fn servers(&self) -> Vec<Option<Server>> {
        let Some(routing) = self.client.cached_cluster_state() else { return vec![None] };
        routing.unique_primary_nodes().into_iter().map(Some).collect()
    }

    /// A step of a scan through the names of a server: where it goes on (`0`: at its end), and some that match.
    pub(crate) async fn scan(
        &self,
        server: Option<&Server>,
        cursor: &str,
        pattern: &str,
        keys: u64,
    ) -> Result<(String, Vec<String>), StoreError> {
        let command = CustomCommand::new_static("SCAN", ClusterHash::Random, false);
        let words = ["MATCH", pattern, "COUNT"].map(Value::from);
        let all: Vec<Value> =
            [Value::from(cursor)].into_iter().chain(words).chain([Value::from(keys.to_string())]).collect();
        let answer = match server {
            Some(server) => self.client.with_cluster_node(server.clone()).custom(command, all).await,
            None => self.client.custom(command, all).await,
        };
        self.checked(answer).await?.convert().map_err(failed)
    }

    /// One marker on each of the servers that hold what belongs to these conversations or users.
    pub(crate) fn markers<'a>(&self, of: impl Iterator<Item = &'a str>) -> Vec<String> {
        let Some(routing) = self.client.cached_cluster_state() else { return vec![self.keys.server_marker()] };
        let slots = of.map(|name| redis_keyslot(name.as_bytes()));
        let markers = slots.map(|slot| (routing.get_server(slot).cloned(), self.keys.slot_marker(slot)));
        markers.collect::<HashMap<_, _>>().into_values().collect()
    }

    /// The master of each slot of a cluster.
    pub(crate) fn slots(&self) -> Vec<(u16, Server)> {
        let Some(routing) = self.client.cached_cluster_state() else { return Vec::new() };
        let ranges = routing.slots().iter();
        ranges.flat_map(|range| (range.start..=range.end).map(|slot| (slot, range.primary.clone()))).collect()
    }

    async fn master(&self, server: Option<Server>) -> Result<Master, StoreError> {
        let command = CustomCommand::new_static("INFO", ClusterHash::Random, false);
        let answer = match &server {
            Some(server) => self.client.with_cluster_node(server.clone()).custom(command, Vec::<Value>::new()).await,
            None => self.client.custom(command, Vec::<Value>::new()).await,
        };
        let info = self.checked(answer).await?.convert::<String>().map_err(failed)?;
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        let missing = |what: &str| StoreError::new("redis", format!("INFO does not tell the server's {what}"));
        let run_id = field("run_id").ok_or_else(|| missing("run_id"))?;
        let replication_id = field("master_replid").ok_or_else(|| missing("master_replid"))?;
        if field("role").as_deref() != Some("master") {
            self.client.force_reconnection().await.map_err(failed)?;
            return Err(StoreError::new("redis", "the server is no master"));
        }
        let bounded = field("maxmemory").is_some_and(|bytes| bytes != "0");
        let policy = field("maxmemory_policy").unwrap_or_default();
        if bounded && policy != "noeviction" {
            let why = format!(
                "maxmemory-policy is {policy}: a server that may evict keys gives numbers twice; set noeviction"
            );
            return Err(StoreError::new("redis", why));
        }
        let identity = format!("{run_id}/{replication_id}");
        Ok(Master { server, replication_id, identity })
    }

    /// Ends the connection and its tasks.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.client.quit().await
            && *error.kind() != ErrorKind::Canceled
        {
            tracing::debug!(%error, "redis connection was not closed in good order");
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn performance(config: &RedisConfig) -> PerformanceConfig {
    PerformanceConfig {
        default_command_timeout: Duration::from_millis(config.command_timeout_ms.max(1)),
        ..PerformanceConfig::default()
    }
}

fn connection(config: &RedisConfig) -> ConnectionConfig {
    let connect_timeout = Duration::from_millis(config.connect_timeout_ms.max(1));
    ConnectionConfig {
        connection_timeout: connect_timeout,
        internal_command_timeout: connect_timeout,
        // The caller knows better whether to repeat a call, and under which epoch.
        max_command_attempts: 1,
        max_command_buffer_len: CALLS_WAITING_MAX,
        unresponsive: UnresponsiveConfig {
            max_timeout: Some(Duration::from_millis(UNRESPONSIVE_MS)),
            interval: Duration::from_millis(UNRESPONSIVE_MS / 4),
        },
        ..ConnectionConfig::default()
    }
}

fn fred_config(config: &RedisConfig) -> Result<Config, StoreError> {
    let server = match &config.topology {
        Topology::Single(host, port) => ServerConfig::new_centralized(host, *port),
        Topology::Cluster(nodes) => ServerConfig::new_clustered(nodes.clone()),
        Topology::Sentinel { sentinels, service, user, password } => ServerConfig::Sentinel {
            hosts: sentinels.iter().map(|(host, port)| Server::new(host.as_str(), *port)).collect(),
            service_name: service.clone(),
            username: user.clone(),
            password: password.clone(),
        },
    };
    let tls = config.tls.as_ref().map(tls::config).transpose()?;
    Ok(Config { server, username: config.user.clone(), password: config.password.clone(), tls, ..Config::default() })
}
