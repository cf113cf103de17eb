//! The API process.

mod config;
mod node;

use std::process::ExitCode;

fn main() -> ExitCode {
    let about = "Ringway's HTTP API: accounts, groups and history, on MySQL and Redis";
    let command = clap::Command::new("ringway-api").version(env!("CARGO_PKG_VERSION")).about(about);
    ringway_parts::process::run::<node::Node>(command)
}
