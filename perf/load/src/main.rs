//! `ringway-load`: open-loop load on a running Ringway, from outside, over its public protocol.
//!
//! One thread, one epoll: `network` owns the connections, `traffic` what goes over them and what is counted,
//! `run` the schedule. `README.md` is the map.

mod check;
mod clock;
mod connection;
mod http;
mod machine;
mod network;
mod options;
mod people;
mod report;
mod run;
mod scenario;
mod server;
mod traffic;
mod wire;

use std::io::Write as _;
use std::num::NonZeroU64;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;

use crate::options::Options;
use crate::report::Verdict;

/// Exit code for arguments that cannot be served, as for those that cannot be read.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    if let Err(error) = options.check() {
        eprintln!("ringway-load: {error:#}");
        return ExitCode::from(USAGE);
    }
    match measure(&options) {
        Ok(verdict) => ExitCode::from(verdict.exit_code()),
        Err(error) => {
            eprintln!("ringway-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> anyhow::Result<Verdict> {
    // Else the kernel wakes this thread up to 50 µs late, to save power.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).context("timer slack")?;
    let report = scenario::run(options)?;
    eprint!("{}", report.summary());
    let mut json = serde_json::to_string_pretty(&report)?;
    json.push('\n');
    match &options.json {
        Some(file) => std::fs::write(file, json).with_context(|| format!("{}", file.display()))?,
        None => std::io::stdout().write_all(json.as_bytes())?,
    }
    Ok(report.verdict())
}
