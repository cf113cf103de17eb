//! What a stack tells those who use it: addresses and process ids, a group a backend.

use serde_json::{Map, Value, json};

use super::plan::AnyPlan;
use crate::cluster;
use crate::deployment::{Backends, NodeKind};
use crate::mariadb::Role;
use crate::redis::RedisPlan;
use crate::sentinel::{self, SENTINEL_SERVICE};
use crate::server::Server;

/// One group's servers.
#[derive(Default)]
struct Group {
    pids: Vec<u32>,
    ports: Vec<u16>,
    url: String,
}

impl Group {
    fn add(&mut self, server: &Server<AnyPlan>, port: u16, url: String) {
        self.pids.extend(server.pid().ok());
        self.ports.push(port);
        if self.url.is_empty() {
            self.url = url;
        }
    }

    fn addresses(&self) -> Vec<String> {
        self.ports.iter().map(|port| address(*port)).collect()
    }
}

/// Where Ringway's own processes are: `{"gateways":[…],"persists":[…],"api":{…}}`.
pub(super) fn nodes(servers: &[Server<AnyPlan>]) -> Value {
    let (mut gateways, mut persists, mut api) = (Vec::new(), Vec::new(), Value::Null);
    for server in servers {
        let Some(plan) = server.plan().as_node() else { continue };
        let (address, admin, pid) = (plan.address(), format!("http://{}", plan.admin()), server.pid().ok());
        match plan.kind() {
            NodeKind::Gateway => {
                gateways.push(json!({"ws": format!("ws://{address}/v1/ws"), "admin": admin, "pid": pid}));
            }
            NodeKind::Persist => persists.push(json!({"admin": admin, "pid": pid})),
            NodeKind::Api => api = json!({"url": format!("http://{address}"), "pid": pid}),
        }
    }
    json!({"gateways": gateways, "persists": persists, "api": api})
}

/// Where the servers are that Ringway's own processes run on.
pub(super) fn backends(servers: &[Server<AnyPlan>]) -> Backends {
    let groups = addresses(servers);
    let text = |group: &str, key: &str| -> String {
        groups.get(group).and_then(|group| group.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    // With sentinels, they say who the primary is.
    let sentinel = text("redis_sentinel", "url");
    let redis = if sentinel.is_empty() { text("redis", "url") } else { sentinel };
    let broker = servers.iter().find_map(|server| match server.plan() {
        AnyPlan::Broker(plan) => Some(address(plan.port)),
        _ => None,
    });
    let broker = broker.unwrap_or_default();
    Backends { namesrv: text("rocketmq", "namesrv"), broker, redis, mysql: text("mysql", "url") }
}

/// The groups that have servers; the three that every stack has come first.
pub(super) fn addresses(servers: &[Server<AnyPlan>]) -> Value {
    let mut groups = Map::new();
    let mut queue: Vec<u32> = Vec::new();
    let (mut redis, mut sql) = (Group::default(), Group::default());
    let (mut replicas, mut sentinels, mut nodes) = (Group::default(), Group::default(), Group::default());
    let mut sql_replicas = Group::default();
    let mut namesrv = String::new();
    for server in servers {
        match server.plan() {
            AnyPlan::NameServer(plan) => {
                namesrv = address(plan.port);
                queue.extend(server.pid().ok());
            }
            AnyPlan::Broker(_) => queue.extend(server.pid().ok()),
            AnyPlan::Redis(plan @ RedisPlan { cluster_port: Some(_), .. }) => nodes.add(server, plan.port, plan.url()),
            AnyPlan::Redis(plan @ RedisPlan { replica_of: Some(_), .. }) => replicas.add(server, plan.port, plan.url()),
            AnyPlan::Redis(plan) => redis.add(server, plan.port, plan.url()),
            AnyPlan::Sentinel(plan) => sentinels.add(server, plan.port, String::new()),
            AnyPlan::Node(_) => {}
            AnyPlan::MariaDb(plan) => {
                let group = if matches!(plan.role, Role::Replica(_)) { &mut sql_replicas } else { &mut sql };
                group.add(server, plan.port, plan.own_url());
            }
        }
    }
    groups.insert("rocketmq".into(), json!({"namesrv": namesrv, "pids": queue}));
    groups.insert("redis".into(), json!({"url": redis.url, "pids": redis.pids}));
    groups.insert("mysql".into(), json!({"url": sql.url, "pids": sql.pids}));
    if !sentinels.ports.is_empty() {
        let pids: Vec<u32> = replicas.pids.iter().chain(&sentinels.pids).copied().collect();
        let value = json!({
            "url": sentinel::url(&sentinels.ports), "service": SENTINEL_SERVICE, "replica": replicas.url,
            "sentinels": sentinels.addresses(), "pids": pids,
        });
        groups.insert("redis_sentinel".into(), value);
    }
    if !nodes.ports.is_empty() {
        let value = json!({"url": cluster::url(&nodes.ports), "nodes": nodes.addresses(), "pids": nodes.pids});
        groups.insert("redis_cluster".into(), value);
    }
    if !sql_replicas.ports.is_empty() {
        groups.insert("mysql_replica".into(), json!({"url": sql_replicas.url, "pids": sql_replicas.pids}));
    }
    Value::Object(groups)
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}
