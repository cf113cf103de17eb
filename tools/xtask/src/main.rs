//! The project's own chores: `cargo xtask test` is every check there is, the same for a developer and for CI.
//!
//! It installs what a machine lacks, says what it is doing, goes on after a failure, and closes with a table and one
//! line `N passed, M failed`. `cargo xtask stack` starts and ends the real servers behind Ringway, and
//! `cargo xtask cluster` its production processes over them; `cargo xtask rolling` replaces older ones by these.
//!
//! Of the other crates it links `ringway-stack` alone, which links none of them; it knows the rest by their folders,
//! their tests and their programs, so that it builds in seconds and can judge a tree that does not compile.

mod cluster;
mod outcome;
mod perf;
mod process;
mod rolling;
mod stack;
mod steps;
mod style;
mod tools;
mod workplace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::steps::Step;
use crate::workplace::Workplace;

/// The project's own chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run every check, or only the named ones, in the order given here
    ///
    /// Installs what is missing first: Debian packages by apt-get when root, command-line tools and the Autobahn
    /// suite into the cache folder. Environment:
    ///
    ///   RINGWAY_ARTEFACTS     where screenshots and reports go (default: artefacts in the target folder)
    ///   RINGWAY_FUZZ_SECONDS  how long each fuzz target runs (default: 10)
    ///   CHROMIUM              the browser to test the page in (default: Debian's)
    #[command(verbatim_doc_comment)]
    Test {
        /// The checks to run; all of them when none is named
        #[arg(value_enum, value_name = "STEP")]
        steps: Vec<Step>,
    },
    /// Measure a scenario on Ringway, the kernel's floor and peers; `perf --help` tells how
    #[command(disable_help_flag = true)]
    Perf {
        /// What `ringway-perf` is told
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Replace the processes of an older commit by this checkout's, one by one, under load
    Rolling {
        /// The commit to come from: a hash, a branch, a tag
        commit: String,
    },
    /// Ringway's production processes over the real servers
    Cluster {
        #[command(subcommand)]
        verb: cluster::Verb,
    },
    /// The real servers behind Ringway: RocketMQ, Redis, MariaDB
    Stack {
        #[command(subcommand)]
        verb: stack::Verb,
    },
}

fn main() -> ExitCode {
    let ended = match Arguments::parse().chore {
        Chore::Test { steps } => test(&steps),
        Chore::Perf { arguments } => perf::run(&arguments),
        Chore::Rolling { commit } => rolling::run(&commit),
        Chore::Cluster { verb } => cluster::run(&verb).map(|()| true),
        Chore::Stack { verb } => stack::run(&verb).map(|()| true),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the checks; whether all of them passed.
fn test(steps: &[Step]) -> Result<bool> {
    let workplace = Workplace::find()?;
    let outcomes = steps::run_all(&workplace, steps);
    print!("{}", outcome::table(&outcomes));
    println!("{}", outcome::closing_line(&outcomes));
    Ok(outcomes.iter().all(|outcome| outcome.result.is_ok()))
}
