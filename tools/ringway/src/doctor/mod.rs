//! `ringway doctor`: whether this machine can run a node, and what to do where it cannot.
//!
//! One line a check, `ok`, `warn` or `FAIL`, then the check's name, a colon, what was found and, where
//! something is wrong, what to do. Names and levels are stable for scripts; texts are for people.

mod finding;
mod limits;
mod network;
mod storage;
mod system;

use std::io::Write as _;

use clap::Args;
use ringway_service::failure::Failure;

use self::finding::Level;
use crate::config::Config;
use crate::settings::DataArgs;

/// Arguments of `ringway doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    data: DataArgs,
}

/// Checks and prints.
///
/// # Errors
/// Wrong configuration, or any check that failed.
pub(crate) fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let config = args.data.sources().load::<Config>().map_err(Failure::Usage)?;
    let mut findings = vec![system::kernel(), system::io_uring(), system::cores(&config), system::clock(&config)];
    findings.extend([limits::descriptors(&config), limits::memlock()]);
    findings.extend([storage::journal(&config), storage::data(&config), storage::disk(&config)]);
    findings.extend(network::ports(&config));
    let text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    // A reader that has seen enough closes its end.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    if failed { Err(Failure::Told) } else { Ok(()) }
}
