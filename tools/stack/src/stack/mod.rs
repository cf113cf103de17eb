//! All servers of a deployment in one folder, started by one command and ended by another.
//!
//! They are detached: what started them may end. The state file in the folder names them, so that any later
//! process can ask, kill, restart or end them. Two processes may change two servers of a stack at once; of one server,
//! one process at a time.

mod line;
mod plan;
mod state;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use self::plan::AnyPlan;
use self::state::{Entry, State};
use crate::cluster;
use crate::deployment::{self, Backends, Size};
use crate::mariadb::{MariaDb, MariaDbOptions};
use crate::ports::Reserved;
use crate::process::{Life, Process};
use crate::redis::{RedisOptions, RedisPlan, RedisServer};
use crate::replicated;
use crate::rocketmq::{self, RocketMqOptions};
use crate::sentinel;
use crate::server::{Plan as _, Server};

/// A process that was started shows itself within this time.
const STRAYS_SEEN: Duration = Duration::from_millis(100);

/// What a stack may have besides a name server, a broker, a Redis and a MariaDB server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// A replica of the Redis server, and three sentinels.
    Sentinel,
    /// A Redis cluster of three nodes of its own.
    Cluster,
    /// A replica of the MariaDB server.
    Replica,
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It answered a command.
    Serves,
    /// It runs and does not answer.
    Silent,
    /// It does not run.
    Away,
}

/// One server of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What [`Stack::kill`] and the others call it.
    pub name: String,
    /// Its process, unless it is away.
    pub pid: Option<u32>,
    /// How it is.
    pub condition: Condition,
}

/// The servers of one folder.
#[derive(Debug)]
pub struct Stack {
    folder: PathBuf,
    folder_is_ours: bool,
    life: Life,
    servers: Vec<Server<AnyPlan>>,
}

impl Stack {
    /// Starts all servers and waits until each serves. When one does not, none stays.
    ///
    /// # Errors
    /// The folder has a stack already, a program is missing, or a server does not serve.
    pub fn up(folder: &Path, extras: &[Extra]) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let life = Life::Detached(folder.clone());
        Self::up_for(folder, extras, life)
    }

    /// The same for a test: the servers end with the handle, or with the test's process.
    ///
    /// # Errors
    /// As [`Stack::up`].
    pub fn up_owned(folder: &Path, extras: &[Extra]) -> Result<Self> {
        Self::up_for(std::path::absolute(folder)?, extras, Life::Owned)
    }

    fn up_for(folder: PathBuf, extras: &[Extra], life: Life) -> Result<Self> {
        // What is fetched and made once a machine comes first: it may take a minute, and nothing runs yet.
        let plans = Plans::make(&folder, extras)?;
        let (State { folder_is_ours, .. }, _lock) = State::claim(&folder)?;
        let mut stack = Self { folder, folder_is_ours, life, servers: Vec::new() };
        if let Err(error) = stack.start_all(plans, extras) {
            return match stack.down() {
                Ok(()) => Err(error),
                Err(left) => Err(error.context(format!("and what was started does not end: {left:#}"))),
            };
        }
        Ok(stack)
    }

    fn start_all(&mut self, plans: Plans, extras: &[Extra]) -> Result<()> {
        for (plan, ports) in plans.0 {
            self.servers.push(Server::planned(plan, self.life.clone(), Some(ports)));
        }
        self.start_from(0)?;
        let redis: Vec<_> = self.servers.iter().filter_map(|server| server.plan().as_redis()).collect();
        if extras.contains(&Extra::Sentinel) {
            for replica in redis.iter().filter(|plan| plan.replica_of.is_some()) {
                sentinel::wait_until_followed(replica)?;
            }
            sentinel::wait_until_met(self.servers.iter().filter_map(|server| server.plan().as_sentinel()))?;
        }
        if extras.contains(&Extra::Cluster) {
            let nodes: Vec<_> = redis.into_iter().filter(|plan| plan.cluster_port.is_some()).collect();
            cluster::join(&nodes)?;
        }
        Ok(())
    }

    /// Starts the servers from this one on, together, and waits until each serves.
    fn start_from(&mut self, first: usize) -> Result<()> {
        // Before there is anything of theirs: what is killed between a start and its note is known by its folder then.
        self.save()?;
        for index in first..self.servers.len() {
            if let Some(server) = self.servers.get_mut(index) {
                server.begin()?;
            }
            self.save()?;
        }
        self.servers.iter_mut().skip(first).try_for_each(Server::wait_until_serves)
    }

    /// Starts Ringway's own processes on the servers of this stack, the programs being in `programs`, and waits until
    /// all are ready. From then on they are servers of the stack: `gateway-1`, `persist-1`, …, and `api`.
    ///
    /// # Errors
    /// There are some already, a program is missing, or a process is not ready; then none of them stays, and what that
    /// one logged is part of the error.
    pub fn add_nodes(&mut self, size: Size, programs: &Path) -> Result<()> {
        self.add_nodes_by(size, programs, &|_, servers| servers)
    }

    /// The same with another way to the servers for some: `way` is given a process's name and where the servers are,
    /// and answers where that process is to look for them.
    ///
    /// # Errors
    /// As [`Stack::add_nodes`].
    pub fn add_nodes_by(
        &mut self,
        size: Size,
        programs: &Path,
        way: &dyn Fn(&str, Backends) -> Backends,
    ) -> Result<()> {
        // Who looks for the stack meanwhile waits, and finds all of it.
        let _lock = State::lock(&self.folder)?;
        if self.servers.iter().any(|server| server.plan().as_node().is_some()) {
            bail!("{} has Ringway's processes already", self.folder.display());
        }
        let first = self.servers.len();
        let servers = line::backends(&self.servers);
        let way = |name: &str| way(name, servers.clone());
        let plans = deployment::plans(&self.folder, size, &way, &programs.canonicalize()?)?;
        for (plan, ports) in plans {
            self.servers.push(Server::planned(AnyPlan::Node(plan), self.life.clone(), Some(ports)));
        }
        let Err(error) = self.start_from(first) else { return Ok(()) };
        match self.remove_from(first) {
            Ok(()) => Err(error),
            Err(left) => Err(error.context(format!("and what was started does not end: {left:#}"))),
        }
    }

    /// Ends the servers from this one on and forgets them; what they wrote goes.
    fn remove_from(&mut self, first: usize) -> Result<()> {
        for server in self.servers.iter_mut().skip(first) {
            server.end()?;
            state::remove_folder(server.plan().folder())?;
        }
        self.servers.truncate(first);
        self.save()
    }

    /// Where the servers are that Ringway's own processes run on.
    #[must_use]
    pub fn backends(&self) -> Backends {
        line::backends(&self.servers)
    }

    /// Ringway's own processes: `{"gateways":[…],"persists":[…],"api":{…}}`.
    #[must_use]
    pub fn nodes(&self) -> Value {
        line::nodes(&self.servers)
    }

    /// The end of what a server logged.
    ///
    /// # Errors
    /// There is none of the name.
    pub fn logged(&mut self, name: &str) -> Result<String> {
        Ok(self.server(name)?.logged())
    }

    /// SIGTERM to one server, and waits for its end.
    ///
    /// # Errors
    /// There is none of the name, it does not run, or does not end within a minute.
    pub fn terminate(&mut self, name: &str) -> Result<()> {
        self.server(name)?.terminate()?;
        self.save_process(name)
    }

    /// The stack that an earlier process started in a folder.
    ///
    /// # Errors
    /// There is none.
    pub fn find(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let State { folder_is_ours, servers } = State::load(&folder)?;
        let found = |Entry { plan, process }| Server::found(plan, process.map(Process::adopt), &folder);
        let servers = servers.into_iter().map(found).collect();
        let life = Life::Detached(folder.clone());
        Ok(Self { folder, folder_is_ours, life, servers })
    }

    /// Asks each server.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let of = |server: &Server<AnyPlan>| {
            let pid = server.pid().ok();
            let condition = match pid {
                None => Condition::Away,
                Some(_) if server.ask().is_ok() => Condition::Serves,
                Some(_) => Condition::Silent,
            };
            Status { name: server.plan().name().to_owned(), pid, condition }
        };
        self.servers.iter().map(of).collect()
    }

    /// `kill -9` to one server, and waits for its end.
    ///
    /// # Errors
    /// There is none of the name, or it does not run.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        self.server(name)?.kill()?;
        self.save_process(name)
    }

    /// Starts a server that was killed on its old ports and with its files, and waits until it serves.
    ///
    /// # Errors
    /// There is none of the name, it runs, or it does not serve; then what it logged is part of the error.
    pub fn start(&mut self, name: &str) -> Result<()> {
        self.start_again(name, false)
    }

    /// The same with nothing that it knew before.
    ///
    /// # Errors
    /// As [`Stack::start`].
    pub fn start_empty(&mut self, name: &str) -> Result<()> {
        self.start_again(name, true)
    }

    fn start_again(&mut self, name: &str, empty: bool) -> Result<()> {
        let server = self.server(name)?;
        if server.is_running() {
            bail!("{name} runs already");
        }
        if empty {
            server.empty()?;
        }
        server.begin()?;
        self.save_process(name)?;
        let served = self.server(name)?.wait_until_serves();
        self.save_process(name)?;
        served
    }

    /// SIGSTOP to one server: it keeps its connections and answers nothing.
    ///
    /// # Errors
    /// There is none of the name, or it does not run.
    pub fn pause(&mut self, name: &str) -> Result<()> {
        self.server(name)?.pause()
    }

    /// SIGCONT, after [`Stack::pause`].
    ///
    /// # Errors
    /// There is none of the name, or it does not run.
    pub fn resume(&mut self, name: &str) -> Result<()> {
        self.server(name)?.resume()
    }

    /// Cuts the Redis replica off, as [`SentinelRedis::hold_replica_back`](crate::SentinelRedis::hold_replica_back).
    ///
    /// # Errors
    /// The stack was started without [`Extra::Sentinel`], or the replica does not answer.
    pub fn hold_replica_back(&self) -> Result<()> {
        sentinel::hold_back(self.redis_replica()?)
    }

    /// Lets the sentinels promote it, as [`SentinelRedis::promote_replica`](crate::SentinelRedis::promote_replica).
    ///
    /// # Errors
    /// The stack was started without [`Extra::Sentinel`], or they do not.
    pub fn promote_replica(&self) -> Result<()> {
        let running = self.servers.iter().filter(|server| server.is_running());
        let sentinels: Vec<_> = running.filter_map(|server| server.plan().as_sentinel()).collect();
        sentinel::promote(&sentinels, self.redis_replica()?)
    }

    fn redis_replica(&self) -> Result<&RedisPlan> {
        let mut redis = self.servers.iter().filter_map(|server| server.plan().as_redis());
        redis.find(|plan| plan.replica_of.is_some()).context("this stack has no replica of Redis")
    }

    /// Ends all servers at once and removes what they wrote; a folder that was made for the stack goes too.
    ///
    /// # Errors
    /// A process does not end, or a file cannot be removed. It can be called again then, through [`Stack::find`].
    pub fn down(mut self) -> Result<()> {
        let ended: Vec<Result<()>> = self.servers.iter_mut().map(Server::end).collect();
        ended.into_iter().collect::<Result<()>>()?;
        // Started by an `up` that was killed before it could write that down.
        // One that is just becoming another program shows no mark, and one may start another before it is met: so they
        // are looked for until none was seen for a while.
        let mut looked = Instant::now();
        while looked.elapsed() < STRAYS_SEEN {
            for mut stray in Process::marked(&self.folder)? {
                stray.kill()?;
                looked = Instant::now();
            }
            thread::sleep(STRAYS_SEEN / 10);
        }
        self.state().remove(&self.folder)
    }

    /// What clients need to know: `{"rocketmq":{…},"redis":{…},"mysql":{…},…}`.
    #[must_use]
    pub fn addresses(&self) -> Value {
        line::addresses(&self.servers)
    }

    fn server(&mut self, name: &str) -> Result<&mut Server<AnyPlan>> {
        let names: Vec<&str> = self.servers.iter().map(|server| server.plan().name()).collect();
        let unknown = format!("no server is called {name}; there are {}", names.join(", "));
        self.servers.iter_mut().find(|server| server.plan().name() == name).context(unknown)
    }

    fn state(&self) -> State {
        let entry = |server: &Server<AnyPlan>| Entry { plan: server.plan().clone(), process: server.process_id() };
        State { folder_is_ours: self.folder_is_ours, servers: self.servers.iter().map(entry).collect() }
    }

    fn save(&self) -> Result<()> {
        self.state().save(&self.folder)
    }

    /// Writes down which process a server is now, and leaves the others as another command may have changed them since.
    fn save_process(&mut self, name: &str) -> Result<()> {
        let process = self.server(name)?.process_id();
        State::save_process(&self.folder, name, process)
    }
}

/// What is to be started, in order, with the ports that are kept for it.
struct Plans(Vec<(AnyPlan, Reserved)>);

impl Plans {
    fn make(folder: &Path, extras: &[Extra]) -> Result<Self> {
        crate::install::prepare()?;
        let mut plans = Vec::new();
        let ((name_server, ports), (broker, broker_ports)) =
            rocketmq::plans(folder, rocketmq::archive()?, RocketMqOptions::default())?;
        plans.push((AnyPlan::NameServer(name_server), ports));
        plans.push((AnyPlan::Broker(broker), broker_ports));

        let options = RedisOptions { appendonly: true, ..RedisOptions::default() };
        let (redis, ports) = RedisServer::plan_in(folder, options)?;
        plans.push((AnyPlan::Redis(redis.clone()), ports));
        if extras.contains(&Extra::Sentinel) {
            let (replica, ports) = sentinel::replica(&folder.join("redis-replica"), &redis)?;
            plans.push((AnyPlan::Redis(replica), ports));
            for number in 1..=sentinel::SENTINELS {
                let (plan, ports) = sentinel::sentinel(&folder.join(format!("sentinel-{number}")), number, &redis)?;
                plans.push((AnyPlan::Sentinel(plan), ports));
            }
        }
        if extras.contains(&Extra::Cluster) {
            for number in 1..=cluster::NODES {
                let (plan, ports) = cluster::node(&folder.join(format!("redis-cluster-{number}")), number)?;
                plans.push((AnyPlan::Redis(plan), ports));
            }
        }

        if extras.contains(&Extra::Replica) {
            let (primary, ports) = replicated::primary(&folder.join("mysql"))?;
            let (replica, replica_ports) = replicated::replica(&folder.join("mysql-replica"), primary.port)?;
            plans.push((AnyPlan::MariaDb(primary), ports));
            plans.push((AnyPlan::MariaDb(replica), replica_ports));
        } else {
            let (plan, ports) = MariaDb::plan_in(folder, MariaDbOptions::default())?;
            plans.push((AnyPlan::MariaDb(plan), ports));
        }
        Ok(Self(plans))
    }
}
