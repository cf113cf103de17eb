//! `ringway up`: gateway, event log, archive, API and chat page in one process.
//!
//! | File | Noun |
//! |---|---|
//! | `mod` | arguments; the command from its first check to its exit |
//! | `plan` | what each part is told, from the configuration |
//! | `start` | the parts, put together in order |
//! | `running` | the node while it serves: signals, reload |
//! | `stop` | the way down, within ten seconds |
//! | `metrics` | the event log's counters as text |
//! | `machine` | what the process asks of the machine |
//!
//! Threads: the shards, the uplink and the journal have their own; everything else runs on a tokio runtime
//! of two workers. This thread waits for signals.

mod machine;
mod metrics;
pub(crate) mod plan;
mod running;
mod start;
mod stop;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ringway_service::config::Sources;
use ringway_service::failure::Failure;
use ringway_service::log::{self, Log};
use ringway_service::machine::{block_on, end_with_vital_threads, raise_descriptors};

use crate::PROGRAM;
use crate::config::Config;
use crate::settings::ConfigArgs;

/// Threads of the tokio runtime that daemon, API and admin listener share.
const WORKERS: usize = 2;

/// Arguments of `ringway up`: the keys of the configuration that are changed most.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Where WebSocket clients connect; port 0 takes a free one [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where the HTTP API and the chat page are served [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDR")]
    api: Option<SocketAddr>,
    /// Where health, metrics and traces are served [default: 127.0.0.1:7481]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Data folder [default: ./ringway-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Shards, one pinned thread each [default: one for each usable core]
    #[arg(long, value_name = "N")]
    shards: Option<u64>,
    /// One more listener that echoes whole WebSocket messages
    #[arg(long, value_name = "ADDR")]
    conformance_echo: Option<SocketAddr>,
}

impl UpArgs {
    fn sources(&self) -> Sources {
        self.config
            .sources()
            .flag("gateway.listen", "--listen", self.listen)
            .flag("api.listen", "--api", self.api)
            .flag("api.admin_listen", "--admin", self.admin)
            .flag("data.folder", "--data", self.data.as_ref().map(|folder| folder.display()))
            .flag("gateway.shards", "--shards", self.shards)
            .flag("gateway.conformance_echo", "--conformance-echo", self.conformance_echo)
    }
}

/// Serves until it is told to end.
///
/// # Errors
/// Wrong configuration, a machine or data folder that cannot be used, or a part that broke.
pub(crate) fn run(args: &UpArgs) -> Result<(), Failure> {
    let sources = args.sources();
    let config = sources.load::<Config>().map_err(Failure::Usage)?;
    let log = log::start(&config.log)?;
    let outcome = prepare_and_serve(&sources, config, &log);
    log.flush();
    Ok(outcome?)
}

fn prepare_and_serve(sources: &Sources, config: Config, log: &Log) -> anyhow::Result<()> {
    raise_descriptors();
    end_with_vital_threads(PROGRAM);
    machine::check(&config)?;
    // Before any other thread is: they inherit it.
    ringway_ring::policy::take_short_turns().context("the kernel refuses a scheduling slice")?;
    block_on(WORKERS, running::serve(sources, config, log))
}
