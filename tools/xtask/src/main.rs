//! The project's own chores: `cargo xtask test` is every check there is, the same for a developer and for CI.
//!
//! It installs what a machine lacks, says what it is doing, goes on after a failure, and closes with a table and one
//! line `N passed, M failed`. It knows the other crates only by their folders, their tests and their programs, so that
//! it builds in seconds and can judge a tree that does not compile.

mod outcome;
mod process;
mod steps;
mod style;
mod tools;
mod workplace;

use std::process::ExitCode;

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
}

fn main() -> ExitCode {
    let Chore::Test { steps } = Arguments::parse().chore;
    let workplace = match Workplace::find() {
        Ok(workplace) => workplace,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let outcomes = steps::run_all(&workplace, &steps);
    print!("{}", outcome::table(&outcomes));
    println!("{}", outcome::closing_line(&outcomes));
    if outcomes.iter().all(|outcome| outcome.result.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
