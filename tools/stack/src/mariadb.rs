//! One MariaDB server.
//!
//! It listens on 127.0.0.1 and on a socket in its folder, knows no option files, and flushes as a real deployment
//! does: the log at each commit. The system tables are made once a machine and version and copied into each new
//! folder, which takes a tenth of a second instead of three.
//!
//! Accounts: `ringway` with the password `ringway`, from 127.0.0.1 only, who may do anything; and the machine's user
//! who started it, on the socket without a password.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cache;
use crate::ports::{self, Reserved};
use crate::process::Life;
use crate::programs;
use crate::server::{Plan, Server};

/// Debian's packages with the programs in them; the ones without `core` would also start a service of the machine.
const SERVER_PACKAGE: &str = "mariadb-server-core";
const CLIENT_PACKAGE: &str = "mariadb-client-core";
/// The account, its password and its database are called the same.
const ACCOUNT: &str = "ringway";
/// The socket, relative to the data folder, where the server runs: a full path may be longer than a socket's may be.
const SOCKET: &str = "mariadb.sock";
/// Of the redo log; small, so that a new folder is copied quickly.
const REDO_LOG: &str = "--innodb-log-file-size=16M";

/// What a test may choose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MariaDbOptions {
    /// More arguments, after ours: certificates for TLS, for instance.
    pub arguments: Vec<String>,
}

/// How a MariaDB server is started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MariaDbPlan {
    pub(crate) name: String,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) role: Role,
    pub(crate) options: MariaDbOptions,
}

/// What a server is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Nothing: it keeps no log of changes.
    Alone,
    /// It keeps a log of changes, which replicas read.
    Primary,
    /// It follows the primary on this port, and takes no changes of its own.
    Replica(u16),
}

/// A running MariaDB server.
pub type MariaDb = Server<MariaDbPlan>;

impl MariaDb {
    /// A server with its files in `folder` and an empty database.
    ///
    /// # Errors
    /// A program is missing, or the server does not serve; what it logged is part of the error.
    pub fn start(folder: &Path) -> Result<Self> {
        Self::start_with(folder, MariaDbOptions::default())
    }

    /// The same, with options.
    ///
    /// # Errors
    /// As [`MariaDb::start`].
    pub fn start_with(folder: &Path, options: MariaDbOptions) -> Result<Self> {
        let (plan, ports) = Self::plan_in(&std::path::absolute(folder)?, options)?;
        Self::start_planned(plan, Life::Owned, Some(ports))
    }

    /// The plan of a server that has no replica, and its port.
    pub(crate) fn plan_in(folder: &Path, options: MariaDbOptions) -> Result<(MariaDbPlan, Reserved)> {
        let ports = ports::reserve(1)?;
        let plan = MariaDbPlan {
            name: "mysql".to_owned(),
            folder: folder.join("mysql"),
            port: ports.first,
            role: Role::Alone,
            options,
        };
        Ok((plan, ports))
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.plan().port
    }

    /// `mysql://ringway:ringway@127.0.0.1:port/ringway`: an account that may make databases, and an empty one.
    #[must_use]
    pub fn url(&self) -> String {
        self.plan().own_url()
    }

    /// The same, for a database of another name.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        self.plan().url(database)
    }

    /// Runs statements, each closed by a semicolon, and returns what they found: a line a row, tabs between columns.
    ///
    /// # Errors
    /// It refused one, or does not answer.
    pub fn sql(&self, statements: &str) -> Result<String> {
        self.plan().sql(statements)
    }

    /// Makes an empty database, one for each test for instance, and returns its URL.
    ///
    /// # Errors
    /// There is one of the name, or the server does not answer.
    pub fn create_database(&self, name: &str) -> Result<String> {
        self.sql(&format!("CREATE DATABASE `{name}`;"))?;
        Ok(self.url_of(name))
    }
}

impl MariaDbPlan {
    pub(crate) fn url(&self, database: &str) -> String {
        format!("mysql://{ACCOUNT}:{ACCOUNT}@127.0.0.1:{}/{database}", self.port)
    }

    pub(crate) fn own_url(&self) -> String {
        self.url(ACCOUNT)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// On the socket, as the machine's user: whoever answers there is the server of this folder.
    pub(crate) fn sql(&self, statements: &str) -> Result<String> {
        let mut client = Command::new(programs::find("mariadb", CLIENT_PACKAGE)?);
        client.args(["--no-defaults", "--batch", "--skip-column-names", "--connect-timeout=5"]);
        client.arg(format!("--socket={SOCKET}")).current_dir(self.data());
        client.arg(format!("--user={}", user()?)).arg(format!("--execute={statements}"));
        programs::output(&mut client)
    }

    fn make_account(&self) -> Result<()> {
        let statements = format!(
            "CREATE DATABASE IF NOT EXISTS {ACCOUNT};
             CREATE USER IF NOT EXISTS {ACCOUNT}@'127.0.0.1' IDENTIFIED BY '{ACCOUNT}';
             GRANT ALL PRIVILEGES ON *.* TO {ACCOUNT}@'127.0.0.1' WITH GRANT OPTION;"
        );
        self.sql(&statements).map(drop)
    }

    /// Follows the primary from the first change on, which brings database and account with it. A server that did so
    /// before goes on by itself.
    fn follow(&self, primary: u16) -> Result<()> {
        if self.sql("SHOW REPLICA STATUS;")?.is_empty() {
            self.sql(&format!(
                "CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary}, MASTER_USER='{ACCOUNT}',
                 MASTER_PASSWORD='{ACCOUNT}', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1;
                 START REPLICA;"
            ))?;
        }
        Ok(())
    }

    /// Over TCP, as the account of the URL.
    fn ask_over_tcp(&self) -> Result<String> {
        let mut client = Command::new(programs::find("mariadb", CLIENT_PACKAGE)?);
        client.args(["--no-defaults", "--batch", "--skip-column-names", "--connect-timeout=5"]);
        client.args(["--protocol=TCP", "--host=127.0.0.1"]).arg(format!("--port={}", self.port));
        client.arg(format!("--user={ACCOUNT}")).arg(format!("--password={ACCOUNT}"));
        client.args(["--execute=SELECT @@datadir", ACCOUNT]);
        programs::output(&mut client)
    }
}

impl Plan for MariaDbPlan {
    fn name(&self) -> &str {
        &self.name
    }

    fn folder(&self) -> &Path {
        &self.folder
    }

    fn prepare(&self) -> Result<()> {
        let data = self.data();
        if data.is_dir() {
            return Ok(());
        }
        cache::copy(&system_tables()?, &data)
    }

    fn command(&self) -> Result<Command> {
        let mut command = Command::new(programs::find("mariadbd", SERVER_PACKAGE)?);
        command.arg("--no-defaults").arg(format!("--datadir={}", self.data().display()));
        command.args(["--bind-address=127.0.0.1", "--skip-name-resolve"]);
        command.arg(format!("--port={}", self.port)).arg(format!("--socket={SOCKET}")).arg("--pid-file=mariadb.pid");
        command.args(["--innodb-flush-log-at-trx-commit=1", "--sync-binlog=1", REDO_LOG]);
        command.args(["--innodb-buffer-pool-size=64M", "--key-buffer-size=4M", "--aria-pagecache-buffer-size=4M"]);
        command.args(["--performance-schema=OFF", "--table-open-cache=400", "--max-connections=300"]);
        command.args(["--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci"]);
        match self.role {
            Role::Alone => command.arg("--skip-log-bin"),
            Role::Primary => command.args(["--log-bin=changes", "--server-id=1"]),
            Role::Replica(_) => {
                command.args(["--skip-log-bin", "--server-id=2", "--read-only", "--slave-net-timeout=5"])
            }
        };
        if user()? == "root" {
            // It refuses to serve as root by mistake. Another user of its own would take the parent-death signal away.
            command.arg("--user=root");
        }
        command.args(&self.options.arguments);
        Ok(command)
    }

    fn ask(&self, _pid: u32) -> Result<()> {
        match self.role {
            Role::Alone | Role::Primary => self.make_account()?,
            Role::Replica(primary) => self.follow(primary)?,
        }
        let served = self.ask_over_tcp()?;
        // It shows its folder with links resolved.
        if Path::new(served.trim()) != self.data().canonicalize()? {
            bail!("port {} serves {}", self.port, served.trim());
        }
        Ok(())
    }
}

/// The system tables of a new server, in the cache.
pub(crate) fn system_tables() -> Result<PathBuf> {
    let server = programs::find("mariadbd", SERVER_PACKAGE)?;
    let installer = programs::find("mariadb-install-db", SERVER_PACKAGE)?;
    let printed = programs::output(Command::new(server).args(["--no-defaults", "--version"]))?;
    // "mariadbd  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)"
    let version = printed.split_whitespace().skip_while(|word| *word != "Ver").nth(1);
    let version = version.with_context(|| format!("no version in {printed:?}"))?;
    let name: String = version
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' })
        .collect();
    let user = user()?;
    cache::entry(&format!("mariadb-{name}-{user}"), |folder| {
        let mut install = Command::new(installer);
        install.args(["--no-defaults", "--skip-test-db", "--skip-name-resolve", REDO_LOG]);
        install.args(["--auth-root-authentication-method=socket", &format!("--auth-root-socket-user={user}")]);
        install.arg(format!("--user={user}")).arg(format!("--datadir={}", folder.display()));
        programs::output(&mut install).map(drop)
    })
}

/// The name of the machine's user that we are.
fn user() -> Result<String> {
    let name = programs::output(Command::new("id").arg("-un"))?;
    Ok(name.trim().to_owned())
}
