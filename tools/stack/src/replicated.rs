//! MariaDB as a primary and a replica that follows it.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::mariadb::{MariaDb, MariaDbOptions, MariaDbPlan, Role};
use crate::ports::{self, Reserved};
use crate::process::Life;
use crate::server::Server;
use crate::wait;

/// How long the replica may take to have what the primary has.
const FOLLOW_LIMIT: Duration = Duration::from_secs(30);

/// A running primary and its replica.
#[derive(Debug)]
pub struct ReplicatedMariaDb {
    /// Takes changes.
    pub primary: MariaDb,
    /// Has them a little later, and refuses those of accounts that may not override it.
    pub replica: MariaDb,
}

impl ReplicatedMariaDb {
    /// Both with their files in `folder`.
    ///
    /// # Errors
    /// A program is missing, or one does not serve; what it logged is part of the error.
    pub fn start(folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder)?;
        let (plan, ports) = primary(&folder.join("mysql"))?;
        let port = plan.port;
        let primary = Server::start_planned(plan, Life::Owned, Some(ports))?;
        let (plan, ports) = replica(&folder.join("mysql-replica"), port)?;
        let replica = Server::start_planned(plan, Life::Owned, Some(ports))?;
        let both = Self { primary, replica };
        both.wait_until_equal()?;
        Ok(both)
    }

    /// Waits until the replica has every change that the primary had when this was called.
    ///
    /// # Errors
    /// It does not follow.
    pub fn wait_until_equal(&self) -> Result<()> {
        let goal = self.primary.sql("SELECT @@gtid_binlog_pos;")?;
        let asked = format!("SELECT MASTER_GTID_WAIT('{}', 1);", goal.trim());
        wait::until(FOLLOW_LIMIT, || match self.replica.sql(&asked)?.trim() {
            "0" => Ok(()),
            other => bail!("the replica is behind {} ({other})", goal.trim()),
        })
    }
}

/// The plan of a primary, and its port.
pub(crate) fn primary(folder: &Path) -> Result<(MariaDbPlan, Reserved)> {
    plan("mysql", folder, Role::Primary)
}

/// The plan of a replica of the server on a port.
pub(crate) fn replica(folder: &Path, primary: u16) -> Result<(MariaDbPlan, Reserved)> {
    plan("mysql-replica", folder, Role::Replica(primary))
}

fn plan(name: &str, folder: &Path, role: Role) -> Result<(MariaDbPlan, Reserved)> {
    let ports = ports::reserve(1)?;
    let (name, folder, options) = (name.to_owned(), folder.to_owned(), MariaDbOptions::default());
    Ok((MariaDbPlan { name, folder, port: ports.first, role, options }, ports))
}
