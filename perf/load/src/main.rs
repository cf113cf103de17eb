//! `ringway-load`: open-loop load on a running Ringway, from outside, over its public protocol.
//!
//! One thread, one io_uring: `network` owns the connections, `traffic` what goes over them and what is counted,
//! `run` the schedule. `README.md` is the map.

mod check;
mod clock;
mod connection;
mod family;
mod http;
mod intervals;
mod machine;
mod network;
mod options;
mod people;
mod protocol;
mod report;
mod run;
mod scenario;
mod server;
mod settings;
mod traffic;
mod watch;
mod wire;

use std::io::Write as _;
use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use serde_json::json;

use crate::options::{Arguments, Options};

/// Exit code for arguments that cannot be served, as for those that cannot be read.
const USAGE: u8 = 2;
/// Exit code for a scenario that the server has nothing for.
const CANNOT: u8 = 5;

fn main() -> ExitCode {
    let options = match Arguments::parse().settle() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("ringway-load: {error:#}");
            return ExitCode::from(USAGE);
        }
    };
    match measure(&options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("ringway-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenario and answers the exit code.
fn measure(options: &Options) -> anyhow::Result<u8> {
    if let Some(why) = options.protocol.cannot(options.scenario) {
        eprintln!("ringway-load: cannot: {why}");
        write(options, &json!({"scenario": options.scenario, "format": options.protocol.name(), "cannot": why}))?;
        return Ok(CANNOT);
    }
    // Else the kernel wakes this thread up to 50 µs late, to save power.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).context("timer slack")?;
    if let Some(first) = options.share {
        scenario::run_share(options, first)?;
        return Ok(0);
    }
    let report = scenario::run(options)?;
    eprint!("{}", report.summary());
    write(options, &report)?;
    Ok(report.verdict().exit_code())
}

fn write(options: &Options, figures: &impl serde::Serialize) -> anyhow::Result<()> {
    let mut json = serde_json::to_string_pretty(figures)?;
    json.push('\n');
    match &options.json {
        Some(file) => std::fs::write(file, json).with_context(|| format!("{}", file.display())),
        None => Ok(std::io::stdout().write_all(json.as_bytes())?),
    }
}
