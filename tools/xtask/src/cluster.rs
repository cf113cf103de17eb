//! `cargo xtask cluster`: Ringway's production processes over the real servers, for a developer or a script.
//!
//! `up` builds the three programs, or takes those of the folder that `RINGWAY_PRODUCTION_BINS` names, starts the stack
//! too when the folder has none, prints one line `{"ready":{"gateways":[…],"persists":[…],"api":{…},"stack":{…}}}` when
//! all are ready, and ends; everything stays until `down`. An `up` that fails leaves what it found.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Subcommand;
use ringway_stack::{NodeKind, Size, Stack};
use serde_json::json;

use crate::process;
use crate::stack::not_serving;

/// Names the folder of programs that are built already.
pub(crate) const PROGRAMS_VARIABLE: &str = "RINGWAY_PRODUCTION_BINS";

/// Gateways have numbers of their own, which go that far.
const PROCESSES_MAX: usize = 63;

/// What to do with the processes of a folder.
#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Start gateways, persist daemons and the API on free loopback ports, over the folder's stack
    ///
    /// Starts the stack too when the folder has none, and prints one line of JSON when all are ready. Builds the
    /// programs first, unless RINGWAY_PRODUCTION_BINS names a folder that has them.
    Up {
        /// Where their files go; made if there is none
        #[arg(long, value_name = "FOLDER")]
        dir: PathBuf,
        /// How many gateways
        #[arg(long, default_value_t = 3, value_parser = count)]
        gateways: usize,
        /// How many persist daemons
        #[arg(long, default_value_t = 2, value_parser = count)]
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

/// How many processes of a kind.
fn count(text: &str) -> Result<usize> {
    let count = text.parse()?;
    ensure!((1..=PROCESSES_MAX).contains(&count), "there can be 1 to {PROCESSES_MAX}");
    Ok(count)
}

fn up(folder: &Path, size: Size, release: bool) -> Result<()> {
    let programs = programs(release)?;
    let (mut stack, is_new) = match Stack::find(folder) {
        Ok(stack) => (stack, false),
        Err(_) => (Stack::up(folder, &[])?, true),
    };
    let servers = stack.status();
    let away = not_serving(&servers);
    ensure!(away.is_empty(), "not serving: {}; `cargo xtask cluster start NAME` starts one", away.join(", "));
    if let Err(error) = stack.add_nodes(size, &programs) {
        if is_new {
            stack.down().context("what was started does not end")?;
        }
        return Err(error);
    }
    let mut ready = stack.nodes();
    if let Some(ready) = ready.as_object_mut() {
        ready.insert("stack".to_owned(), stack.addresses());
    }
    println!("{}", json!({"ready": ready}));
    Ok(())
}

/// The folder of the three programs: one with all of them that the environment names, else they are built.
pub(crate) fn programs(release: bool) -> Result<PathBuf> {
    let folder = match env::var_os(PROGRAMS_VARIABLE) {
        Some(_) if release => bail!("{PROGRAMS_VARIABLE} names programs that are built already; drop --release"),
        Some(named) => PathBuf::from(named),
        None => build(release)?,
    };
    for kind in [NodeKind::Gateway, NodeKind::Persist, NodeKind::Api] {
        ensure!(folder.join(kind.program()).is_file(), "{} has no {}", folder.display(), kind.program());
    }
    Ok(folder)
}

/// Builds all programs of the workspace, as the checks do, so that nothing is built twice; where they are.
fn build(release: bool) -> Result<PathBuf> {
    let (mut cargo, target) = process::cargo_here()?;
    cargo.args(["build", "--locked", "--workspace", "--bins"]);
    if release {
        cargo.arg("--release");
    }
    // What it is doing goes to standard error; the one line on standard output is ours.
    let status = cargo.status().context("cargo")?;
    process::check(&cargo, status)?;
    Ok(target.join(if release { "release" } else { "debug" }))
}
