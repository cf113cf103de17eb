//! `cargo xtask stack`: the real servers behind Ringway, for a developer or a script.
//!
//! `up` prints one line on standard output, `{"stack":{…}}`, when all of them serve, and ends; the servers stay until
//! `down`. `status` prints one line `{"status":{…}}`.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Subcommand, ValueEnum};
use ringway_stack::{Condition, Extra, Stack, Status};
use serde_json::{Map, json};

/// What to do with the servers of a folder.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start RocketMQ, Redis and MariaDB on free loopback ports; prints their addresses when all serve
    Up {
        /// Where their files go; made if there is none
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        /// More servers, separated by commas
        #[arg(long, value_enum, value_delimiter = ',')]
        with: Vec<With>,
    },
    /// End them, and remove their files
    Down {
        /// The folder that was given to `up`
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
    /// Ask each server; fails unless all of them serve
    Status {
        /// The folder that was given to `up`
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
}

/// Servers that are there when asked for.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum With {
    /// A replica of the Redis server, and three sentinels
    Sentinel,
    /// A Redis cluster of three nodes
    Cluster,
    /// A replica of the MariaDB server
    Replica,
}

/// Does it.
pub(crate) fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Up { dir, with } => up(dir, with),
        Verb::Down { dir } => Stack::find(dir)?.down(),
        Verb::Status { dir } => status(dir),
    }
}

fn up(folder: &Path, with: &[With]) -> Result<()> {
    let extra = |with: &With| match with {
        With::Sentinel => Extra::Sentinel,
        With::Cluster => Extra::Cluster,
        With::Replica => Extra::Replica,
    };
    let extras: Vec<Extra> = with.iter().map(extra).collect();
    let stack = Stack::up(folder, &extras)?;
    println!("{}", json!({"stack": stack.addresses()}));
    Ok(())
}

fn status(folder: &Path) -> Result<()> {
    let servers = Stack::find(folder)?.status();
    let mut table = Map::new();
    for server in &servers {
        let condition = match server.condition {
            Condition::Serves => "serves",
            Condition::Silent => "silent",
            Condition::Away => "away",
        };
        table.insert(server.name.clone(), json!({"pid": server.pid, "condition": condition}));
    }
    println!("{}", json!({"status": table}));
    let missing = not_serving(&servers);
    if !missing.is_empty() {
        bail!("not serving: {}", missing.join(", "));
    }
    Ok(())
}

/// The names of those that do not serve.
pub(crate) fn not_serving(servers: &[Status]) -> Vec<&str> {
    let missing = servers.iter().filter(|server| server.condition != Condition::Serves);
    missing.map(|server| server.name.as_str()).collect()
}
