//! `cargo xtask cluster`: Ringway's production processes over the real servers, for a developer or a script.
//!
//! `up` starts the stack too when the folder has none, builds the three programs, prints one line
//! `{"ready":{"gateways":[…],"persists":[…],"api":{…},"stack":{…}}}` when all are ready, and ends; everything stays
//! until `down`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;
use ringway_stack::{NodeKind, Size, Stack};
use serde_json::json;

/// What to do with the processes of a folder.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start gateways, persist daemons and the API on free loopback ports, over the folder's stack
    Up {
        /// Where their files go; made if there is none
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        /// How many gateways
        #[arg(long, default_value_t = 3)]
        gateways: usize,
        /// How many persist daemons
        #[arg(long, default_value_t = 2)]
        persists: usize,
        /// Build and run optimized programs
        #[arg(long)]
        release: bool,
    },
    /// Start a process or server that was killed, on its old ports: gateway-1, persist-2, api, redis, broker, …
    Start {
        /// Its name
        name: String,
        /// The folder that was given to `up`
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
    /// Kill one at once (SIGKILL)
    Kill {
        /// Its name
        name: String,
        /// The folder that was given to `up`
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
    /// End all of it, the stack too, and remove its files
    Down {
        /// The folder that was given to `up`
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
    },
}

/// Does it.
pub(crate) fn run(verb: &Verb) -> Result<()> {
    match verb {
        Verb::Up { dir, gateways, persists, release } => {
            up(dir, Size { gateways: *gateways, persists: *persists }, *release)
        }
        Verb::Start { name, dir } => Stack::find(dir)?.start(name),
        Verb::Kill { name, dir } => Stack::find(dir)?.kill(name),
        Verb::Down { dir } => Stack::find(dir)?.down(),
    }
}

fn up(folder: &Path, size: Size, release: bool) -> Result<()> {
    ensure!(size.gateways > 0 && size.persists > 0, "a cluster has at least one gateway and one persist daemon");
    let programs = build(release)?;
    let mut stack = match Stack::find(folder) {
        Ok(stack) => stack,
        Err(_) => Stack::up(folder, &[])?,
    };
    stack.add_nodes(size, &programs)?;
    let mut ready = stack.nodes();
    if let Some(ready) = ready.as_object_mut() {
        ready.insert("stack".to_owned(), stack.addresses());
    }
    println!("{}", json!({"ready": ready}));
    Ok(())
}

/// Builds the three programs; the folder that they are in.
fn build(release: bool) -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg("build").arg("--quiet");
    for kind in [NodeKind::Gateway, NodeKind::Persist, NodeKind::Api] {
        cargo.args(["--package", &format!("{}-bin", kind.program())]);
    }
    if release {
        cargo.arg("--release");
    }
    ensure!(cargo.status().context("cargo")?.success(), "the programs do not build");
    // This program itself lies where cargo puts them, in the profile that it was built with.
    let own = std::env::current_exe().context("where this program is")?;
    let target = own.parent().and_then(Path::parent).context("this program is in no target folder")?;
    Ok(target.join(if release { "release" } else { "debug" }))
}
