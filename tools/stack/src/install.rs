//! What is made once a machine before any server can be started.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::folder::Folder;
use crate::{mariadb, redis, rocketmq};

/// Makes what every start uses: MariaDB's system tables, RocketMQ's jars and the archive of their classes. A minute
/// the first time, nothing after that.
///
/// # Errors
/// A program is missing: one line that says what to install. Or the artefacts cannot be fetched.
pub fn prepare() -> Result<()> {
    let folder = Folder::new()?;
    has_redis(folder.path())?;
    mariadb::system_tables().context("MariaDB")?;
    rocketmq::archive().context("RocketMQ").map(drop)
}

fn has_redis(folder: &Path) -> Result<()> {
    redis::program(folder).map(drop)
}
