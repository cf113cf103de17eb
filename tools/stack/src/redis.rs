//! One Redis server: alone, or the replica of another.
//!
//! It listens on 127.0.0.1 only and knows no configuration file, so that nothing of the machine's own set-up comes in.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::ports::{self, Reserved};
use crate::process::Life;
use crate::programs;
use crate::resp::Connection;
use crate::server::{Plan, Server};

/// Debian's package with the program in it.
const PACKAGE: &str = "redis-tools";

/// What a test may choose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisOptions {
    /// Whether it keeps an append-only file, flushed every second. Without, it comes back empty.
    pub appendonly: bool,
    /// The password of the default user; `None`: nobody is asked.
    pub password: Option<String>,
    /// More arguments, after ours.
    pub arguments: Vec<String>,
}

/// How a Redis server is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RedisPlan {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// The port of the primary on loopback.
    pub(crate) replica_of: Option<u16>,
    /// The port on which it speaks to the other nodes of its cluster; `None`: it is in none.
    pub(crate) cluster_port: Option<u16>,
    pub(crate) options: RedisOptions,
}

/// A running Redis server.
pub type RedisServer = Server<RedisPlan>;

impl RedisServer {
    /// An empty server with its files in `folder`, without an append-only file.
    ///
    /// # Errors
    /// The program is missing, or does not serve; what it logged is part of the error.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, RedisOptions::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`RedisServer::start`].
    pub fn start_with(folder: &Path, options: RedisOptions) -> Result<Self> {
        let (plan, ports) = Self::plan_in(&std::path::absolute(folder)?, options)?;
        Self::start_planned(plan, Life::Owned, Some(ports))
    }

    /// The plan of a server that follows nobody, and its port.
    pub(crate) fn plan_in(folder: &Path, options: RedisOptions) -> Result<(RedisPlan, Reserved)> {
        let ports = ports::reserve(1)?;
        let plan = RedisPlan {
            name: "redis".to_owned(),
            folder: folder.join("redis"),
            port: ports.first,
            replica_of: None,
            cluster_port: None,
            options,
        };
        Ok((plan, ports))
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.plan().port
    }

    /// `redis://127.0.0.1:port`, with the password if it has one.
    #[must_use]
    pub fn url(&self) -> String {
        self.plan().url()
    }

    /// A connection to it, past the password.
    ///
    /// # Errors
    /// It does not answer.
    pub fn connect(&self) -> Result<Connection> {
        self.plan().connect()
    }

    /// The name that the server drew at its start: another one after every start.
    ///
    /// # Errors
    /// It does not answer.
    pub fn run_id(&self) -> Result<String> {
        self.connect()?.info("run_id")
    }
}

impl RedisPlan {
    pub(crate) fn url(&self) -> String {
        match &self.options.password {
            Some(password) => format!("redis://:{password}@127.0.0.1:{}", self.port),
            None => format!("redis://127.0.0.1:{}", self.port),
        }
    }

    pub(crate) fn connect(&self) -> Result<Connection> {
        let mut connection = Connection::open(self.port)?;
        if let Some(password) = &self.options.password {
            connection.command(&["AUTH", password])?;
        }
        Ok(connection)
    }
}

impl Plan for RedisPlan {
    fn name(&self) -> &str {
        &self.name
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn prepare(&self) -> Result<()> {
        Ok(())
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(program(&self.folder)?);
        command.current_dir(&self.folder);
        let port = self.port.to_string();
        let appendonly = if self.options.appendonly { "yes" } else { "no" };
        command.args(["--bind", "127.0.0.1", "--port", &port, "--daemonize", "no", "--save", ""]);
        command.args(["--appendonly", appendonly, "--appendfsync", "everysec"]);
        // What is stored is not to vanish quietly: writes past the bound are refused.
        command.args(["--maxmemory", "256mb", "--maxmemory-policy", "noeviction"]);
        command.args(["--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes"]);
        command.arg("--dir").arg(&self.folder);
        if let Some(primary) = self.replica_of {
            command.arg("--replicaof").arg(format!("127.0.0.1 {primary}"));
        }
        if let Some(port) = self.cluster_port {
            command.args(["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
            command.args(["--cluster-port", &port.to_string()]);
        }
        if let Some(password) = &self.options.password {
            command.args(["--requirepass", password, "--masterauth", password]);
        }
        command.args(&self.options.arguments);
        Ok(command)
    }

    fn ask(&self, pid: u32) -> Result<()> {
        let mut connection = self.connect()?;
        // While it still loads its file, it answers with an error.
        connection.command(&["PING"])?;
        let found = connection.info("process_id")?;
        if found != pid.to_string() {
            bail!("port {} is served by process {found}", self.port);
        }
        Ok(())
    }
}

/// `redis-server`. Debian has it in the package of the tools, under the name of one of them: it goes by the name that
/// it is called by, and the package with the real name would also start a service of the machine.
pub(crate) fn program(folder: &Path) -> Result<PathBuf> {
    let missing = match programs::find("redis-server", PACKAGE) {
        Ok(program) => return Ok(program),
        Err(missing) => missing,
    };
    let Ok(tool) = programs::find("redis-check-rdb", PACKAGE) else { return Err(missing) };
    let program = folder.join("redis-server");
    if !program.exists() {
        symlink(&tool, &program).with_context(|| format!("cannot link {}", program.display()))?;
    }
    Ok(program)
}
