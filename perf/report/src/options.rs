//! The command line.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

/// Measure a scenario on Ringway, the kernel's floor and peers
#[derive(Debug, Parser)]
#[command(name = "cargo xtask perf", bin_name = "cargo xtask perf", args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Build two commits, alternate them in one scenario, and show what differs
    ///
    /// Prints the ratio of server CPU a delivery with its confidence interval; the page has the differential flame graph.
    Diff {
        /// The commit before
        before: String,
        /// The commit after
        after: String,
        #[command(flatten)]
        run: RunArguments,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// What to measure: relay_transient, relay_durable, room_fan, room_burst, idle_memory
    #[arg(value_name = "SCENARIO")]
    scenario: Option<String>,
    /// The scenario's figures under this name in perf/scenarios [default: those its target is stated for; plain: the others]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Measure peers too: all that can do the scenario, or those named, separated by commas
    #[arg(long, value_name = "NAMES", num_args = 0..=1, default_missing_value = "all")]
    peers: Option<String>,
    /// How often each is measured, in turn
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Seconds of each measurement [default: the scenario's]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Flame graphs of Ringway in one more round that counts for nothing else
    #[arg(long)]
    flame: bool,
    /// Where the figures go, and beside them the page: FILE with .html [default: perf-SCENARIO.json in the target folder]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Processor of the server under test
    #[arg(long, value_name = "CPU", default_value_t = 0)]
    server_cpu: usize,
    /// Processor of the load generator
    #[arg(long, value_name = "CPU", default_value_t = 1)]
    load_cpu: usize,
}

/// What is asked for.
pub(crate) enum Chore {
    /// A scenario on several subjects.
    Run(RunOptions),
    /// A scenario on two commits.
    Diff(DiffOptions),
}

/// See [`RunArguments`].
#[derive(Debug, Clone)]
pub(crate) struct RunOptions {
    pub(crate) scenario: String,
    pub(crate) variant: Option<String>,
    pub(crate) peers: Peers,
    pub(crate) rounds: usize,
    pub(crate) seconds: Option<f64>,
    pub(crate) flame: bool,
    pub(crate) json: PathBuf,
    pub(crate) server_cpu: usize,
    pub(crate) load_cpu: usize,
}

/// Whom Ringway is compared with, besides the floors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peers {
    None,
    All,
    Named(Vec<String>),
}

/// Two commits, and how they are measured.
#[derive(Debug, Clone)]
pub(crate) struct DiffOptions {
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) run: RunOptions,
}

/// Figures under which the target of a scenario is stated.
const STATED_FOR: [(&str, &str); 5] = [
    ("relay_transient", "1000-pairs"),
    ("relay_durable", "w1"),
    ("room_fan", "1000"),
    ("room_burst", "8"),
    ("idle_memory", "15000"),
];

impl Arguments {
    /// What is asked for.
    ///
    /// # Errors
    /// It cannot be done.
    pub(crate) fn chore(self) -> Result<Chore> {
        match self.other {
            None => Ok(Chore::Run(self.run.settle()?)),
            Some(Other::Diff { before, after, run }) => {
                ensure!(run.peers.is_none(), "a diff compares two commits; --peers is for a scenario by itself");
                Ok(Chore::Diff(DiffOptions { before, after, run: run.settle()? }))
            }
        }
    }
}

impl RunArguments {
    fn settle(self) -> Result<RunOptions> {
        let names = STATED_FOR.map(|(name, _)| name).join(", ");
        let Some(scenario) = self.scenario else { bail!("say what to measure: {names}") };
        let Some((_, stated)) = STATED_FOR.iter().find(|(name, _)| *name == scenario) else {
            bail!("{scenario} is no scenario; there are {names}");
        };
        ensure!(self.rounds > 0, "--rounds: at least one");
        ensure!(self.server_cpu != self.load_cpu, "server and load need processors of their own");
        let variant = match self.variant.as_deref() {
            None => Some((*stated).to_owned()),
            Some("plain") => None,
            Some(name) => Some(name.to_owned()),
        };
        let peers = match self.peers.as_deref() {
            None => Peers::None,
            Some("all") => Peers::All,
            Some(names) => Peers::Named(names.split(',').map(str::to_owned).collect()),
        };
        let json = match self.json {
            Some(file) => file,
            None => crate::programs::target()?.join(format!("perf-{scenario}.json")),
        };
        Ok(RunOptions {
            scenario,
            variant,
            peers,
            rounds: self.rounds,
            seconds: self.seconds,
            flame: self.flame,
            json,
            server_cpu: self.server_cpu,
            load_cpu: self.load_cpu,
        })
    }
}
