//! [`RedisRoutes`]: the port `Routes` over Redis.
//!
//! Lives on tokio, shared by all callers of the process, and holds nothing itself but the connection. Each entry carries
//! its own expiry, in the time of the server that holds it, and the key ends with the last of its entries; so nothing
//! has to be swept. No epoch guards them: what a stale or emptied server tells is right again after one renewal.
//!
//! A call that is dropped half-way may or may not have taken place; all of them may be repeated.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use fred::types::Value;
use ringway_engine::ids::{ConversationId, ConversationKind, DeviceId, Uid};
use ringway_store::ports::{Node, NodeRun, Route, Routes, StoreError};

use crate::config::RedisConfig;
use crate::connection::Connection;
use crate::fence::text;
use crate::limits::ROUTE_MS_MAX;
use crate::reply::texts;
use crate::script::{ENTER, HOLDERS, LEAVE, LEAVE_NODE, LIST_NODE, NODES, READ_NODE, RENEW, RENEW_NODE, SEAT};
use crate::together::together;

/// Routes in Redis.
#[derive(Debug)]
pub struct RedisRoutes {
    connection: Arc<Connection>,
}

fn unexpected(what: &str) -> StoreError {
    StoreError::new("redis", format!("{what:?} is no route"))
}

/// `node boot`, of a run whose name fits.
fn run_text(run: &NodeRun) -> Result<String, StoreError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if run.node.is_empty() || !run.node.bytes().all(fits) {
        return Err(StoreError::new("redis", format!("{:?} is no name of a node", run.node)));
    }
    Ok(format!("{} {}", run.node, run.boot))
}

fn read_run(text: &str) -> Result<NodeRun, StoreError> {
    let (node, boot) = text.split_once(' ').ok_or_else(|| unexpected(text))?;
    Ok(NodeRun { node: node.to_owned(), boot: boot.parse().map_err(|_| unexpected(text))? })
}

/// `node boot session`.
fn session_text(route: &Route) -> Result<String, StoreError> {
    Ok(format!("{} {}", run_text(&route.run)?, route.session))
}

/// Reads `expiry node boot session opened class`.
fn read_route(uid: &Uid, device: &str, value: &str) -> Result<Route, StoreError> {
    let mut parts = value.splitn(6, ' ');
    let mut part = || parts.next().ok_or_else(|| unexpected(value));
    let (_expiry, node, boot) = (part()?, part()?.to_owned(), part()?);
    let (session, opened, class) = (part()?, part()?, part()?.to_owned());
    let number = |text: &str| text.parse::<u64>().map_err(|_| unexpected(value));
    Ok(Route {
        uid: uid.clone(),
        device: DeviceId::parse(device).map_err(|error| StoreError::new("redis", error))?,
        run: NodeRun { node, boot: number(boot)? },
        session: number(session)?,
        class,
        opened_ms: number(opened)?,
    })
}

fn told(route: &Route) -> Value {
    Value::from(format!("{} {}", route.opened_ms, route.class))
}

fn ttl(ttl_ms: u64) -> Value {
    text(ttl_ms.min(ROUTE_MS_MAX))
}

fn by_user(routes: &[Route]) -> BTreeMap<&str, Vec<&Route>> {
    let mut users: BTreeMap<&str, Vec<&Route>> = BTreeMap::new();
    for route in routes {
        users.entry(route.uid.as_str()).or_default().push(route);
    }
    users
}

impl RedisRoutes {
    /// Connects. Where there is a state, its [`routes`](crate::RedisState::routes) need no connection of their own.
    ///
    /// # Errors
    /// Redis cannot be reached or refuses the sign-in.
    pub async fn open(config: &RedisConfig) -> Result<Self, StoreError> {
        Ok(Self::on(Arc::new(Connection::open(config).await?)))
    }

    pub(crate) fn on(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// Closes the connection in good order, also for a state that shares it.
    pub async fn close(&self) {
        self.connection.close().await;
    }

    async fn holding(&self, key: String) -> Result<Vec<NodeRun>, StoreError> {
        let runs = texts(self.connection.call(&HOLDERS, vec![key], Vec::new()).await?)?;
        runs.iter().map(|run| read_run(run)).collect()
    }

    /// What tells who is to see a conversation: the routes of the users that it names, or the seats of a group.
    fn tellers(&self, conv: &ConversationId) -> Vec<String> {
        let keys = &self.connection.keys;
        match conv.kind() {
            ConversationKind::P2p(low, high) if low == high => vec![keys.routes(low)],
            ConversationKind::P2p(low, high) => vec![keys.routes(low), keys.routes(high)],
            ConversationKind::System(uid) => vec![keys.routes(uid)],
            ConversationKind::Group(_) => vec![keys.seats(conv.as_str())],
        }
    }

    async fn node(&self, name: String) -> Result<Option<Node>, StoreError> {
        let found = texts(self.connection.call(&READ_NODE, vec![self.connection.keys.node(&name)], Vec::new()).await?)?;
        // It left, or has run out.
        let Some((healthy, pairs)) = found.split_first() else { return Ok(None) };
        let pair = |pair: &[String]| match pair {
            [field, value] => Some((field.clone(), value.clone())),
            _ => None,
        };
        let mut fields: HashMap<String, String> = pairs.chunks(2).filter_map(pair).collect();
        let mut field = |what: &str| fields.remove(what).ok_or_else(|| unexpected(what));
        let number = |text: String| text.parse::<u64>().map_err(|_| unexpected(&text));
        Ok(Some(Node {
            run: NodeRun { node: name, boot: number(field("boot")?)? },
            peer: field("peer")?,
            ws: field("ws")?,
            version: field("version")?,
            sessions: number(field("sessions")?)?,
            open: field("open")? == "1",
            healthy: healthy == "1",
        }))
    }
}

#[async_trait]
impl Routes for RedisRoutes {
    async fn enter(&self, route: &Route, ttl_ms: u64) -> Result<Vec<Route>, StoreError> {
        let key = self.connection.keys.routes(route.uid.as_str());
        let session = Value::from(session_text(route)?);
        let arguments = vec![Value::from(route.device.as_str()), session, told(route), ttl(ttl_ms)];
        let others = texts(self.connection.call(&ENTER, vec![key], arguments).await?)?;
        let others = others.chunks_exact(2).map(|pair| match pair {
            [device, value] => read_route(&route.uid, device, value),
            _ => Err(unexpected("half an answer")),
        });
        others.collect()
    }

    async fn renew(&self, routes: &[Route], ttl_ms: u64) -> Result<(), StoreError> {
        let mut calls = Vec::new();
        for (uid, routes) in by_user(routes) {
            let mut arguments = vec![ttl(ttl_ms)];
            for route in routes {
                arguments.extend([Value::from(route.device.as_str()), session_text(route)?.into(), told(route)]);
            }
            calls.push(self.connection.call(&RENEW, vec![self.connection.keys.routes(uid)], arguments));
        }
        together(calls).await.map(drop)
    }

    async fn leave(&self, routes: &[Route]) -> Result<(), StoreError> {
        let mut calls = Vec::new();
        for (uid, routes) in by_user(routes) {
            let mut arguments = Vec::new();
            for route in routes {
                arguments.extend([Value::from(route.device.as_str()), session_text(route)?.into()]);
            }
            calls.push(self.connection.call(&LEAVE, vec![self.connection.keys.routes(uid)], arguments));
        }
        together(calls).await.map(drop)
    }

    async fn seat(&self, run: &NodeRun, groups: &[ConversationId], ttl_ms: u64) -> Result<(), StoreError> {
        let run = run_text(run)?;
        let seat = |group: &ConversationId| {
            let arguments = vec![Value::from(run.as_str()), ttl(ttl_ms)];
            self.connection.call(&SEAT, vec![self.connection.keys.seats(group.as_str())], arguments)
        };
        together(groups.iter().map(seat).collect()).await.map(drop)
    }

    async fn unseat(&self, run: &NodeRun, groups: &[ConversationId]) -> Result<(), StoreError> {
        let run = run_text(run)?;
        let unseat = |group: &ConversationId| {
            let key = self.connection.keys.seats(group.as_str());
            self.connection.command("HDEL", key, vec![Value::from(run.as_str())])
        };
        together(groups.iter().map(unseat).collect()).await.map(drop)
    }

    async fn holders(&self, convs: &[&ConversationId]) -> Result<Vec<Vec<NodeRun>>, StoreError> {
        let tellers: Vec<Vec<String>> = convs.iter().map(|conv| self.tellers(conv)).collect();
        let asked: Vec<&String> = tellers.iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
        let answers = together(asked.iter().map(|key| self.holding((*key).clone())).collect()).await?;
        let told: HashMap<&String, Vec<NodeRun>> = asked.into_iter().zip(answers).collect();
        let of = |keys: &Vec<String>| -> Vec<NodeRun> {
            let runs: BTreeSet<&NodeRun> = keys.iter().filter_map(|key| told.get(key)).flatten().collect();
            runs.into_iter().cloned().collect()
        };
        Ok(tellers.iter().map(of).collect())
    }

    async fn renew_node(&self, node: &Node, ttl_ms: u64, healthy_ms: u64) -> Result<(), StoreError> {
        let (keys, name) = (&self.connection.keys, node.run.node.as_str());
        run_text(&node.run)?;
        let open = if node.open { "1" } else { "0" };
        let healthy_ms = if node.healthy { healthy_ms } else { 0 };
        let mut arguments = vec![text(node.run.boot), ttl(ttl_ms), ttl(healthy_ms)];
        arguments.extend([Value::from("peer"), Value::from(node.peer.as_str())]);
        arguments.extend([Value::from("ws"), Value::from(node.ws.as_str())]);
        arguments.extend([Value::from("version"), Value::from(node.version.as_str())]);
        arguments.extend([Value::from("sessions"), text(node.sessions), Value::from("open"), Value::from(open)]);
        let heard = self.connection.call(&RENEW_NODE, vec![keys.node(name)], arguments).await?;
        if heard.as_u64() != Some(1) {
            return Ok(());
        }
        self.connection.call(&LIST_NODE, vec![keys.nodes()], vec![Value::from(name), ttl(ttl_ms)]).await.map(drop)
    }

    async fn leave_node(&self, run: &NodeRun) -> Result<(), StoreError> {
        // Its place in the list runs out: taking it out might take out that of a run that came just now.
        let key = self.connection.keys.node(&run.node);
        self.connection.call(&LEAVE_NODE, vec![key], vec![text(run.boot)]).await.map(drop)
    }

    async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let mut names = texts(self.connection.call(&NODES, vec![self.connection.keys.nodes()], Vec::new()).await?)?;
        names.sort_unstable();
        let found = together(names.into_iter().map(|name| self.node(name)).collect()).await?;
        Ok(found.into_iter().flatten().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let run = |node: &str| NodeRun { node: node.to_owned(), boot: u64::MAX };
        assert_eq!(read_run(&run_text(&run("gateway-1")).unwrap()).unwrap(), run("gateway-1"));
        for node in ["", "a b", "A", "a\n", "a}"] {
            assert!(run_text(&run(node)).is_err(), "{node:?}");
        }
        assert!(read_run("gateway-1").is_err() && read_run("gateway-1 x").is_err());
    }

    #[test]
    fn a_route_is_read_whole_or_not_at_all() {
        let uid = Uid::parse("a").unwrap();
        let route = read_route(&uid, "phone", "99 gateway-1 7 8 9 mobile phone").unwrap();
        assert_eq!((route.run.boot, route.session, route.opened_ms, route.class.as_str()), (7, 8, 9, "mobile phone"));
        assert_eq!(read_route(&uid, "phone", "99 gateway-1 7 8 9 ").unwrap().class, "");
        for value in ["", "99 gateway-1 7 8 9", "99 gateway-1 x 8 9 c", "99 gateway-1 7 8 -9 c"] {
            assert!(read_route(&uid, "phone", value).is_err(), "{value:?}");
        }
    }
}
