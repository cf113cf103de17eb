//! Redis as a cluster of three primaries that share the slots.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::ports::{self, Reserved};
use crate::process::Life;
use crate::redis::{RedisOptions, RedisPlan, RedisServer};
use crate::server::Server;
use crate::wait;

/// The fewest that make a cluster.
pub(crate) const NODES: u16 = 3;
/// Slots of a cluster, by its protocol.
const SLOTS: u16 = 16_384;
/// How long the nodes may take to agree.
const MEET_LIMIT: Duration = Duration::from_secs(60);
/// When they are introduced again: past the time-out of [`RedisPlan`]'s nodes.
const MEET_AGAIN: Duration = Duration::from_secs(5);

/// Running nodes of a cluster.
#[derive(Debug)]
pub struct ClusterRedis {
    /// Its nodes, in the order of their slots. One that is restarted finds the others again; one that is restarted
    /// empty has left the cluster.
    pub nodes: Vec<RedisServer>,
}

impl ClusterRedis {
    /// All nodes with their files in `folder`.
    ///
    /// # Errors
    /// The program is missing, or a node does not serve; what it logged is part of the error.
    pub fn start(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let mut nodes = Vec::new();
        for number in 1..=NODES {
            let (plan, ports) = node(&folder.join(format!("redis-cluster-{number}")), number)?;
            nodes.push(Server::start_planned(plan, Life::Owned, Some(ports))?);
        }
        let cluster = Self { nodes };
        join(&cluster.plans())?;
        Ok(cluster)
    }

    /// `redis-cluster://…`, with all nodes.
    #[must_use]
    pub fn url(&self) -> String {
        let ports: Vec<u16> = self.nodes.iter().map(RedisServer::port).collect();
        url(&ports)
    }

    /// Waits until every node finds the cluster whole, after one came back for instance.
    ///
    /// # Errors
    /// It does not become whole.
    pub fn wait_until_whole(&self) -> Result<()> {
        wait_until_whole(&self.plans(), MEET_LIMIT)
    }

    fn plans(&self) -> Vec<&RedisPlan> {
        self.nodes.iter().map(Server::plan).collect()
    }
}

/// The URL of a cluster.
pub(crate) fn url(ports: &[u16]) -> String {
    let mut addresses = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let first = addresses.next().unwrap_or_default();
    let others: Vec<String> = addresses.map(|address| format!("node={address}")).collect();
    format!("redis-cluster://{first}?{}", others.join("&"))
}

/// The plan of one node, and its ports.
pub(crate) fn node(folder: &Path, number: u16) -> Result<(RedisPlan, Reserved)> {
    let ports = ports::reserve(2)?;
    let plan = RedisPlan {
        name: format!("redis-cluster-{number}"),
        folder: folder.to_owned(),
        port: ports.first,
        replica_of: None,
        cluster_port: Some(ports.first + 1),
        options: RedisOptions { appendonly: true, ..RedisOptions::default() },
    };
    Ok((plan, ports))
}

/// Makes one cluster of nodes that have just been started, and waits until it is whole.
pub(crate) fn join(nodes: &[&RedisPlan]) -> Result<()> {
    let share = SLOTS.div_ceil(NODES);
    let mut first: u16 = 0;
    for (number, node) in nodes.iter().enumerate() {
        let mut connection = node.connect()?;
        let last = (first + share).min(SLOTS) - 1;
        connection.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()])?;
        // Distinct from the beginning: two nodes of one epoch would settle it between them, which takes a while.
        connection.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        first = last + 1;
    }
    let deadline = Instant::now() + MEET_LIMIT;
    loop {
        for node in nodes {
            introduce(node, nodes)?;
        }
        // A node that does not answer within the nodes' time-out is forgotten, and has to be introduced again.
        match wait_until_whole(nodes, MEET_AGAIN) {
            Err(_) if Instant::now() < deadline => {}
            met => return met,
        }
    }
}

/// Tells a node of those that it does not know.
fn introduce(node: &RedisPlan, nodes: &[&RedisPlan]) -> Result<()> {
    let mut connection = node.connect()?;
    let known = connection.text(&["CLUSTER", "NODES"])?;
    for other in nodes.iter().filter(|other| other.port != node.port) {
        if !known.contains(&format!("127.0.0.1:{}@", other.port)) {
            let (port, bus) = (other.port.to_string(), other.cluster_port.unwrap_or_default().to_string());
            connection.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
    }
    Ok(())
}

fn wait_until_whole(nodes: &[&RedisPlan], limit: Duration) -> Result<()> {
    wait::until(limit, || {
        for node in nodes {
            let state = node.connect()?.text(&["CLUSTER", "INFO"])?;
            let all = [format!("cluster_known_nodes:{NODES}"), format!("cluster_size:{NODES}")];
            let whole = state.lines().any(|line| line == "cluster_state:ok");
            if !whole || all.iter().any(|wanted| !state.lines().any(|line| line == wanted)) {
                let nodes = node.connect()?.text(&["CLUSTER", "NODES"])?;
                bail!("{} does not find the cluster whole:\n{state}\n{nodes}", node.name);
            }
        }
        Ok(())
    })
}
