//! Redis with a replica, and three sentinels that promote it when the primary is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::ports::{self, Reserved};
use crate::process::Life;
use crate::redis::{self, RedisOptions, RedisPlan, RedisServer};
use crate::resp::{Connection, Reply};
use crate::server::{Plan, Server};
use crate::wait;

/// What the sentinels call the primary.
pub const SENTINEL_SERVICE: &str = "ringway";
/// How many there are, and how many must agree.
pub(crate) const SENTINELS: usize = 3;
const QUORUM: usize = 2;
/// How long they may take to find each other and the replica.
const MEET_LIMIT: Duration = Duration::from_secs(30);
/// How long the primary does not answer until a sentinel counts it as dead.
const DOWN_AFTER: Duration = Duration::from_secs(1);
/// The same while a replica is promoted that is far behind.
const PATIENT: Duration = Duration::from_secs(3600);
/// How long a failover may take: [`DOWN_AFTER`], and the vote.
const FAILOVER_LIMIT: Duration = Duration::from_secs(60);

/// How a sentinel is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SentinelPlan {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// The port of the primary at the beginning.
    pub(crate) primary: u16,
}

impl Plan for SentinelPlan {
    fn name(&self) -> &str {
        &self.name
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn prepare(&self) -> Result<()> {
        // It keeps what it learns in the file, so that one from before stays.
        let file = self.file();
        if file.exists() {
            return Ok(());
        }
        let Self { port, primary, folder, .. } = self;
        let (service, down_after) = (SENTINEL_SERVICE, DOWN_AFTER.as_millis());
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir \"{}\"\n\
             sentinel monitor {service} 127.0.0.1 {primary} {QUORUM}\n\
             sentinel down-after-milliseconds {service} {down_after}\n\
             sentinel failover-timeout {service} 5000\n\
             sentinel parallel-syncs {service} 1\n",
            folder.display()
        );
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(redis::program(&self.folder)?);
        command.arg(self.file()).arg("--sentinel").current_dir(&self.folder);
        Ok(command)
    }

    fn ask(&self, pid: u32) -> Result<()> {
        let found = Connection::open(self.port)?.info("process_id")?;
        if found != pid.to_string() {
            bail!("port {} is served by process {found}", self.port);
        }
        Ok(())
    }
}

impl SentinelPlan {
    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn file(&self) -> PathBuf {
        self.folder.join("sentinel.conf")
    }

    /// The port of the primary as this sentinel sees it.
    pub(crate) fn primary_port(&self) -> Result<u16> {
        let reply = Connection::open(self.port)?.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SENTINEL_SERVICE])?;
        let Reply::Array(address) = reply else { bail!("no address: {reply:?}") };
        match address.as_slice() {
            [_, Reply::Text(port)] => Ok(port.parse()?),
            other => bail!("no address: {other:?}"),
        }
    }

    /// Fails unless it knows the replica and all the other sentinels.
    pub(crate) fn knows_all(&self) -> Result<()> {
        let reply = Connection::open(self.port)?.command(&["SENTINEL", "MASTER", SENTINEL_SERVICE])?;
        let Reply::Array(fields) = reply else { bail!("no primary: {reply:?}") };
        for (field, wanted) in [("num-slaves", 1), ("num-other-sentinels", SENTINELS - 1)] {
            let pair = fields.chunks_exact(2).find(|pair| pair.first() == Some(&Reply::Text(field.to_owned())));
            if pair.and_then(|pair| pair.get(1)) != Some(&Reply::Text(wanted.to_string())) {
                bail!("{} does not know all yet: {field} is not {wanted}", self.name);
            }
        }
        Ok(())
    }
}

/// A running primary with its replica and sentinels.
#[derive(Debug)]
pub struct SentinelRedis {
    /// The primary at the beginning.
    pub primary: RedisServer,
    /// The replica at the beginning.
    pub replica: RedisServer,
    /// Who decides which is which.
    pub sentinels: Vec<Server<SentinelPlan>>,
}

impl SentinelRedis {
    /// All of them with their files in `folder`.
    ///
    /// # Errors
    /// The program is missing, or one does not serve; what it logged is part of the error.
    pub fn start(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let primary = RedisServer::start(&folder)?;
        let (plan, ports) = replica(&folder.join("redis-replica"), primary.plan())?;
        let replica = Server::start_planned(plan, Life::Owned, Some(ports))?;
        wait_until_followed(replica.plan())?;
        let mut sentinels = Vec::new();
        for number in 1..=SENTINELS {
            let (plan, ports) = sentinel(&folder.join(format!("sentinel-{number}")), number, primary.plan())?;
            sentinels.push(Server::start_planned(plan, Life::Owned, Some(ports))?);
        }
        let all = Self { primary, replica, sentinels };
        wait_until_met(all.sentinels.iter().map(Server::plan))?;
        Ok(all)
    }

    /// `redis-sentinel://…`, with all sentinels and the service's name.
    #[must_use]
    pub fn url(&self) -> String {
        let ports: Vec<u16> = self.sentinels.iter().map(|sentinel| sentinel.plan().port).collect();
        url(&ports)
    }

    /// Cuts the replica off: what is written from here on is lost when it is promoted.
    ///
    /// Sentinels pass over a replica that was cut off for more than 10 s when the primary dies; past that, use
    /// [`SentinelRedis::promote_replica`].
    ///
    /// # Errors
    /// It does not answer.
    pub fn hold_replica_back(&self) -> Result<()> {
        hold_back(self.replica.plan())
    }

    /// Lets the sentinels promote the replica however far behind it is, whether or not the primary still runs, and
    /// waits until they have.
    ///
    /// # Errors
    /// They do not.
    pub fn promote_replica(&self) -> Result<()> {
        promote(&self.running(), self.replica.plan())
    }

    /// Waits until every sentinel that runs names the replica as the primary, and it takes writes.
    ///
    /// # Errors
    /// They do not.
    pub fn wait_for_failover(&self) -> Result<()> {
        wait_for_failover(&self.running(), self.replica.plan())
    }

    fn running(&self) -> Vec<&SentinelPlan> {
        self.sentinels.iter().filter(|sentinel| sentinel.is_running()).map(Server::plan).collect()
    }
}

/// Cuts a replica off from its primary.
pub(crate) fn hold_back(replica: &RedisPlan) -> Result<()> {
    let mut connection = replica.connect()?;
    // It comes back to its primary as a user that there is none.
    connection.command(&["CONFIG", "SET", "masteruser", "nobody", "masterauth", "nothing"])?;
    connection.command(&["CLIENT", "KILL", "TYPE", "master"])?;
    wait::until(MEET_LIMIT, || match connection.info("master_link_status")?.as_str() {
        "down" => Ok(()),
        other => bail!("its link is {other}"),
    })
}

/// Has the sentinels promote a replica.
pub(crate) fn promote(sentinels: &[&SentinelPlan], replica: &RedisPlan) -> Result<()> {
    let first = sentinels.first().context("no sentinel runs")?;
    // How far behind a replica may be is counted in multiples of this.
    let set_limit = |limit: Duration| -> Result<()> {
        let limit = limit.as_millis().to_string();
        let command = ["SENTINEL", "SET", SENTINEL_SERVICE, "down-after-milliseconds", &limit];
        Connection::open(first.port)?.command(&command).map(drop)
    };
    set_limit(PATIENT)?;
    wait::until(FAILOVER_LIMIT, || Connection::open(first.port)?.command(&["SENTINEL", "FAILOVER", SENTINEL_SERVICE]))?;
    let promoted = wait_for_failover(sentinels, replica);
    set_limit(DOWN_AFTER)?;
    promoted
}

/// Waits until all of these sentinels name a replica as the primary, and it takes writes.
pub(crate) fn wait_for_failover(sentinels: &[&SentinelPlan], replica: &RedisPlan) -> Result<()> {
    wait::until(FAILOVER_LIMIT, || {
        for sentinel in sentinels {
            let port = sentinel.primary_port()?;
            if port != replica.port {
                bail!("{} still names port {port}", sentinel.name);
            }
        }
        match replica.connect()?.info("role")?.as_str() {
            "master" => Ok(()),
            other => bail!("the replica is a {other}"),
        }
    })?;
    // One that was held back follows like any other, should it have to.
    let password = replica.options.password.as_deref().unwrap_or_default();
    let own = ["CONFIG", "SET", "masteruser", "", "masterauth", password];
    replica.connect()?.command(&own).map(drop)
}

/// The URL of a primary that is found through sentinels.
pub(crate) fn url(ports: &[u16]) -> String {
    let mut addresses = ports.iter().map(|port| format!("127.0.0.1:{port}"));
    let first = addresses.next().unwrap_or_default();
    let others: String = addresses.map(|address| format!("node={address}&")).collect();
    format!("redis-sentinel://{first}?{others}sentinelServiceName={SENTINEL_SERVICE}")
}

/// The plan of a replica, and its port.
pub(crate) fn replica(folder: &Path, primary: &RedisPlan) -> Result<(RedisPlan, Reserved)> {
    let ports = ports::reserve(1)?;
    let plan = RedisPlan {
        name: "redis-replica".to_owned(),
        folder: folder.to_owned(),
        port: ports.first,
        replica_of: Some(primary.port),
        cluster_port: None,
        options: RedisOptions { arguments: Vec::new(), ..primary.options.clone() },
    };
    Ok((plan, ports))
}

/// The plan of one sentinel, and its port.
pub(crate) fn sentinel(folder: &Path, number: usize, primary: &RedisPlan) -> Result<(SentinelPlan, Reserved)> {
    let ports = ports::reserve(1)?;
    let (name, folder) = (format!("sentinel-{number}"), folder.to_owned());
    Ok((SentinelPlan { name, folder, port: ports.first, primary: primary.port }, ports))
}

/// Waits until a replica has all that its primary has.
pub(crate) fn wait_until_followed(replica: &RedisPlan) -> Result<()> {
    wait::until(MEET_LIMIT, || match replica.connect()?.info("master_link_status")?.as_str() {
        "up" => Ok(()),
        other => bail!("the replica's link is {other}"),
    })
}

/// Waits until sentinels know the replica and each other.
pub(crate) fn wait_until_met<'a>(sentinels: impl Iterator<Item = &'a SentinelPlan>) -> Result<()> {
    for plan in sentinels {
        wait::until(MEET_LIMIT, || plan.knows_all())?;
    }
    Ok(())
}
