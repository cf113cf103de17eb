//! The command line.

use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, Parser, Subcommand};

use crate::programs::{target, tree};
use crate::scenarios::Scenario;
use crate::targets;

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
    /// Every scenario, each in the variants that its targets are stated for: one table, one JSON file, one page
    ///
    /// Writes after each scenario, so that nothing is lost when a later one fails; then the exit code is 1.
    All {
        /// Measure peers too: all, or those named, separated by commas
        #[arg(long, value_name = "NAMES", num_args = 0..=1, default_missing_value = "all")]
        peers: Option<String>,
        /// Only these scenarios, separated by commas
        #[arg(long, value_name = "NAMES", value_delimiter = ',')]
        only: Vec<String>,
        /// Keep what the file has already, of the same commit, and measure the rest
        #[arg(long)]
        resume: bool,
        #[command(flatten)]
        common: Common,
    },
    /// The same floor unspoilt, slowed by 10 %, dropping one delivery in 10,000, and stalling once for 200 ms
    ///
    /// Exit code 0: each fault is seen and named, and the unspoilt floor is called neither slow nor faulty.
    Controls {
        #[command(flatten)]
        common: Common,
    },
}

/// How everything is measured.
#[derive(Debug, Args)]
struct Common {
    /// How often each is measured, in turn [default: 5; of controls 20]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Seconds of each measurement [default: the scenario's]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Where the figures go, and beside them the page: FILE with .html [default: perf-SCENARIO.json in the target folder]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Processor of the server under test
    #[arg(long, value_name = "CPU", default_value_t = 0)]
    server_cpu: usize,
    /// Processor of the load generator
    #[arg(long, value_name = "CPU", default_value_t = 1)]
    load_cpu: usize,
    /// Take the programs of this folder, target/debug or target/release, as they are: for tests
    #[arg(long, value_name = "DIR", hide = true)]
    programs: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// What to measure: a file of perf/scenarios, without its ending
    #[arg(value_name = "SCENARIO")]
    scenario: Option<String>,
    /// The scenario's figures under this name in perf/scenarios [default: those its target is stated for; plain: the others]
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Measure peers too: all that can do the scenario, or those named, separated by commas
    #[arg(long, value_name = "NAMES", num_args = 0..=1, default_missing_value = "all")]
    peers: Option<String>,
    /// Flame graphs of Ringway, on and off CPU, in two more rounds that count for nothing else
    #[arg(long)]
    flame: bool,
    #[command(flatten)]
    common: Common,
}

/// What is asked for.
pub(crate) enum Chore {
    /// A scenario on several subjects.
    Run(RunOptions),
    /// A scenario on two commits.
    Diff(DiffOptions),
    /// Every scenario.
    All(AllOptions),
    /// What the suite sees of servers that are spoilt on purpose.
    Controls(RunOptions),
}

/// One scenario, and how it is measured; see [`RunArguments`].
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
    /// Of Ringway.
    pub(crate) shards: usize,
    pub(crate) programs: Option<PathBuf>,
}

/// Several scenarios.
#[derive(Debug, Clone)]
pub(crate) struct AllOptions {
    pub(crate) runs: Vec<RunOptions>,
    pub(crate) resume: bool,
    pub(crate) json: PathBuf,
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

impl Peers {
    fn of(said: Option<&str>) -> Self {
        match said {
            None => Self::None,
            Some("all") => Self::All,
            Some(names) => Self::Named(names.split(',').map(str::to_owned).collect()),
        }
    }
}

/// Rounds of a scenario.
const ROUNDS: usize = 5;
/// Rounds that tell a tenth from noise of a tenth.
const CONTROL_ROUNDS: usize = 20;
/// What spoilt servers are measured by.
const CONTROLS: (&str, &str) = ("room_fan", "controls");

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
            Some(Other::All { peers, only, resume, common }) => all(peers.as_deref(), &only, resume, &common),
            Some(Other::Controls { common }) => {
                let scenario = Scenario::named(&tree()?, CONTROLS.0)?;
                let options = common.settle(&scenario, Some(CONTROLS.1), &Peers::None, "controls")?;
                Ok(Chore::Controls(RunOptions { rounds: common.rounds.unwrap_or(CONTROL_ROUNDS), ..options }))
            }
        }
    }
}

/// Every scenario in every variant that has a target; plain, where none has one.
fn all(peers: Option<&str>, only: &[String], resume: bool, common: &Common) -> Result<Chore> {
    let (tree, peers) = (tree()?, Peers::of(peers));
    for name in only {
        Scenario::named(&tree, name)?;
    }
    let mut runs = Vec::new();
    for scenario in Scenario::all(&tree)? {
        if !only.is_empty() && !only.contains(&scenario.name) {
            continue;
        }
        let variants = targets::variants(&scenario.name);
        let variants = if variants.is_empty() { vec![None] } else { variants.into_iter().map(Some).collect() };
        for variant in variants {
            runs.push(common.settle(&scenario, variant, &peers, "all")?);
        }
    }
    let json = common.json("all")?;
    Ok(Chore::All(AllOptions { runs, resume, json }))
}

impl RunArguments {
    fn settle(self) -> Result<RunOptions> {
        let tree = tree()?;
        let Some(name) = self.scenario else {
            let all = Scenario::all(&tree)?;
            let lines = all.iter().map(|scenario| format!("{}: {}", scenario.name, scenario.what)).collect::<Vec<_>>();
            bail!("say what to measure: all, controls, diff, or\n{}", lines.join("\n"));
        };
        let scenario = Scenario::named(&tree, &name)?;
        let variant = match self.variant.as_deref() {
            None => targets::variants(&name).first().copied(),
            Some("plain") => None,
            Some(name) => Some(name),
        };
        let options = self.common.settle(&scenario, variant, &Peers::of(self.peers.as_deref()), &name)?;
        Ok(RunOptions { flame: self.flame, ..options })
    }
}

impl Common {
    fn json(&self, name: &str) -> Result<PathBuf> {
        self.json.clone().map_or_else(|| Ok(target()?.join(format!("perf-{name}.json"))), Ok)
    }

    fn settle(&self, scenario: &Scenario, variant: Option<&str>, peers: &Peers, file: &str) -> Result<RunOptions> {
        let rounds = self.rounds.unwrap_or(ROUNDS);
        ensure!(rounds > 0, "--rounds: at least one");
        ensure!(self.server_cpu != self.load_cpu, "server and load need processors of their own");
        ensure!(variant.is_none_or(|name| scenario.has(name)), "{} has no such variant", scenario.name);
        Ok(RunOptions {
            scenario: scenario.name.clone(),
            variant: variant.map(str::to_owned),
            peers: peers.clone(),
            rounds,
            seconds: self.seconds,
            flame: false,
            json: self.json(file)?,
            server_cpu: self.server_cpu,
            load_cpu: self.load_cpu,
            shards: scenario.shards(variant),
            programs: self.programs.clone(),
        })
    }
}
