//! A process from its arguments to its exit.
//!
//! ```text
//!  arguments, configuration ──► log ──► admin listener answers, red ──► start: parts are awaited ──► ready line
//!                                                                          │                            │
//!                                                           told to end ───┴────────────────────────────┴─► stop
//! ```
//!
//! | Signal | Answer |
//! |---|---|
//! | SIGTERM, SIGINT | drain and end with exit code 0 within ten seconds; a second one ends the process at once |
//! | SIGHUP | read the configuration again; what may change does |
//!
//! Exit codes: 0; 1 for what failed, in one line on standard error; 2 for wrong arguments or configuration.

mod admin;
mod life;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{ArgMatches, Command};
use ringway_api::{Later, RequestStats};
use ringway_service::config::{Settings, Sources};
use ringway_service::failure::Failure;
use ringway_service::machine::{block_on, end_with_vital_threads, raise_descriptors};
use ringway_service::sections::{Admin, Log};
use ringway_service::{command, log};
use ringway_store::ports::{Archive, Gateways};

use crate::board::Board;
use crate::otlp::Traces;
use crate::sections::Otlp;

/// What a process that starts finds around it.
pub struct Surroundings {
    /// What it waits for or misses.
    pub board: Arc<Board>,
    /// Whom a trace asks.
    pub gateways: Later<dyn Gateways>,
    /// Where a trace looks.
    pub archive: Later<dyn Archive>,
    /// Counts requests of all its HTTP listeners.
    pub requests: Arc<RequestStats>,
    /// Exports what its parts hand over, where that is configured.
    pub traces: Traces,
}

/// What a binary is for.
pub trait Process: Sized {
    /// Its program's name.
    const NAME: &'static str;
    /// Threads of its tokio runtime.
    const WORKERS: usize;
    /// Its table of keys.
    type Config: Settings;
    /// What it was asked beside its keys.
    type Orders;

    /// The keys of its admin listener.
    fn admin(config: &Self::Config) -> &Admin;
    /// The keys of its log.
    fn log(config: &Self::Config) -> &Log;
    /// The keys of its traces.
    fn otlp(config: &Self::Config) -> &Otlp;

    /// Reads its arguments beside the keys.
    ///
    /// # Errors
    /// One line that names the argument.
    fn orders(arguments: &ArgMatches) -> anyhow::Result<Self::Orders>;

    /// Checks the machine, before any thread is started.
    ///
    /// # Errors
    /// What is missing and what to do about it.
    fn check_machine(config: &Self::Config) -> anyhow::Result<()>;

    /// Does what it was ordered to instead of serving, before any listener is opened; true when that was all. A dropped
    /// call leaves nothing that the next start would not find in order.
    ///
    /// # Errors
    /// It could not be done.
    fn errand(_config: &Self::Config, _orders: &Self::Orders) -> impl Future<Output = anyhow::Result<bool>> {
        async { Ok(false) }
    }

    /// Opens its parts, waiting for those that are away, and serves. A dropped call leaves nothing that the next start
    /// would not find in order.
    ///
    /// # Errors
    /// What can never heal.
    fn start(
        config: &Self::Config,
        orders: Self::Orders,
        around: &Surroundings,
    ) -> impl Future<Output = anyhow::Result<Self>>;

    /// Addresses of its listeners beside the admin one, by name, for the ready line.
    fn addresses(&self) -> Vec<(&'static str, String)>;

    /// Applies what may change while running.
    ///
    /// # Errors
    /// What cannot be applied; then nothing has changed.
    fn reload(&self, config: &Self::Config) -> anyhow::Result<()>;

    /// Waits for a part to end that has no business to; says which. A dropped call loses nothing.
    fn broken(&mut self) -> impl Future<Output = anyhow::Error>;

    /// Drains and ends, within ten seconds.
    fn stop(self) -> impl Future<Output = ()>;
}

/// Runs a process; the whole of a binary's `main`. `command` has its name, description and further arguments.
pub fn run<P: Process>(command: Command) -> ExitCode {
    // Every part finds the process's one TLS library here. It fails only when it was chosen before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    command::run::<P::Config>(command, |sources, config, arguments| {
        let orders = P::orders(arguments).map_err(Failure::Usage)?;
        let log = log::start(P::log(&config))?;
        let outcome = prepare_and_serve::<P>(&sources, config, orders, &log);
        log.flush();
        Ok(outcome?)
    })
}

fn prepare_and_serve<P: Process>(
    sources: &Sources,
    config: P::Config,
    orders: P::Orders,
    log: &log::Log,
) -> anyhow::Result<()> {
    raise_descriptors();
    end_with_vital_threads(P::NAME);
    P::check_machine(&config).context("this machine")?;
    block_on(P::WORKERS, life::live::<P>(sources, config, orders, log))
}
