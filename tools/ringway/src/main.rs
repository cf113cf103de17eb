//! Ringway in one process, and its command-line tools.

mod address_file;
mod chat;
mod clock;
mod config;
mod doctor;
mod settings;
mod token;
mod top;
mod trace;
mod up;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use ringway_service::config::print;
use ringway_service::failure::{Failure, exit};

use crate::config::Config;
use crate::settings::ConfigArgs;

/// As it names itself when it fails.
const PROGRAM: &str = "ringway";

/// Ringway: instant messaging in one process, and the tools to look at it.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: gateway, event log, archive, HTTP API and chat page in this process
    Up(up::UpArgs),
    /// Talk from the terminal
    Chat(chat::ChatArgs),
    /// Print an access token for a user, who is created when absent
    Token(token::TokenArgs),
    /// Show every hop of one message with its time
    Trace(trace::TraceArgs),
    /// Watch what a running node does inside, shard by shard
    Top(top::TopArgs),
    /// Check this machine: kernel, io_uring, limits, disk, ports; each with what to do
    Doctor(doctor::DoctorArgs),
    /// Print every configuration key with value, default, unit and doc, as a configuration file
    Config(ConfigArgs),
}

fn main() -> ExitCode {
    let Some(command) = Cli::parse().command else {
        return exit(PROGRAM, Cli::command().print_help().map_err(|error| Failure::Failed(error.into())));
    };
    // Every part finds the process's one TLS library here. It fails only when it was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    exit(
        PROGRAM,
        match command {
            Command::Up(args) => up::run(&args),
            Command::Chat(args) => chat::run(args).map_err(Failure::Failed),
            Command::Token(args) => token::run(&args),
            Command::Trace(args) => trace::run(&args),
            Command::Top(args) => top::run(&args),
            Command::Doctor(args) => doctor::run(&args),
            Command::Config(args) => print_config(&args),
        },
    )
}

fn print_config(args: &ConfigArgs) -> Result<(), Failure> {
    let text = print(&args.sources().load::<Config>().map_err(Failure::Usage)?);
    // A reader that has seen enough closes its end.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_of_all_commands_hold_together() {
        Cli::command().debug_assert();
    }
}
