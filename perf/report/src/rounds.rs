//! Rounds: every subject in turn, as often as asked, so that a busy minute of the machine falls on all.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::figures::{Figures, Machine, Round, finding};
use crate::flame::{self, Graph};
use crate::options::RunOptions;
use crate::programs::{Programs, commit};
use crate::subject::{Running, Subject, pinned};

/// Exit code of `ringway-load` for what a server has nothing for.
const CANNOT: i32 = 5;
/// Exit codes of runs whose figures do not count, but say why.
const SAID: [i32; 3] = [0, 3, 4];

/// What one call of the generator brought.
enum Outcome {
    Report(Value),
    Cannot(String),
}

/// Measures all subjects, then draws flame graphs of Ringway when they are wanted.
///
/// # Errors
/// A subject does not start, or the generator cannot measure it.
pub(crate) fn run(options: &RunOptions, programs: &Programs, subjects: &[Subject]) -> Result<(Figures, Vec<Graph>)> {
    let mut figures = empty(options, commit(&programs.tree)?);
    figures.subjects = subjects.iter().map(|subject| (subject.name.clone(), subject.about.clone())).collect();
    measure(options, programs, subjects, &mut figures)?;
    figures.compare();
    let graphs = match &programs.framed {
        None => Vec::new(),
        Some(framed) => graphs_of(options, programs, &Subject::ringway("ringway", framed)?)?,
    };
    Ok((figures, graphs))
}

/// Figures with no rounds yet.
pub(crate) fn empty(options: &RunOptions, commit: String) -> Figures {
    Figures {
        scenario: options.scenario.clone(),
        variant: options.variant.clone(),
        machine: Machine::default(),
        kernel: String::new(),
        commit,
        command: format!("cargo xtask perf {}", std::env::args().skip(1).collect::<Vec<_>>().join(" ")),
        subjects: BTreeMap::new(),
        cannot: BTreeMap::new(),
        rounds: Vec::new(),
        ratios: BTreeMap::new(),
    }
}

/// Adds all rounds.
pub(crate) fn measure(
    options: &RunOptions,
    programs: &Programs,
    subjects: &[Subject],
    figures: &mut Figures,
) -> Result<()> {
    for number in 1..=options.rounds {
        // Who begins changes, so that nobody always follows the same one.
        let mut turn: Vec<&Subject> = subjects.iter().collect();
        turn.rotate_left((number - 1) % subjects.len().max(1));
        for subject in turn {
            if figures.cannot.contains_key(&subject.name) {
                continue;
            }
            let running = subject.start(options.server_cpu)?;
            match call(options, programs, &running).with_context(|| format!("round {number} of {}", subject.name))? {
                Outcome::Cannot(why) => {
                    eprintln!("{}: cannot: {why}", subject.name);
                    figures.cannot.insert(subject.name.clone(), why);
                }
                Outcome::Report(report) => {
                    let round = Round::of(&subject.name, number, report);
                    eprintln!("{}", told(&round));
                    figures.add(round)?;
                }
            }
        }
    }
    Ok(())
}

/// Flame graphs of one more round, which slows the server and so counts for nothing else.
pub(crate) fn graphs_of(options: &RunOptions, programs: &Programs, subject: &Subject) -> Result<Vec<Graph>> {
    eprintln!("{}: a round for the flame graph", subject.name);
    let running = subject.start(options.server_cpu)?;
    let recording = flame::Recording::start(running.pid)?;
    match call(options, programs, &running)? {
        Outcome::Report(_) => recording.finish(&subject.name),
        Outcome::Cannot(why) => bail!("cannot: {why}"),
    }
}

fn call(options: &RunOptions, programs: &Programs, running: &Running) -> Result<Outcome> {
    let file = tempfile::NamedTempFile::new().context("no temporary file")?;
    let mut load = pinned(&programs.load, options.load_cpu);
    load.arg(&options.scenario).args(&running.reach).args(["--server-pid", &running.pid.to_string()]);
    load.arg("--json").arg(file.path());
    if let Some(variant) = &options.variant {
        load.args(["--variant", variant]);
    }
    if let Some(seconds) = options.seconds {
        load.args(["--seconds", &seconds.to_string()]);
    }
    let output = load.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output().context("taskset")?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let code = output.status.code().unwrap_or(-1);
    if code != CANNOT && !SAID.contains(&code) {
        bail!("ringway-load ended with {}: {}", output.status, said());
    }
    let report: Value = serde_json::from_str(&fs::read_to_string(file.path())?).with_context(said)?;
    if code == CANNOT {
        let why = report.get("cannot").and_then(Value::as_str).unwrap_or("it does not say why");
        return Ok(Outcome::Cannot(why.to_owned()));
    }
    Ok(Outcome::Report(report))
}

/// A line for who waits.
fn told(round: &Round) -> String {
    let cost = round.cpu_us_per_delivery.map_or_else(
        || round.bytes_per_connection.map_or_else(String::new, |bytes| format!("{bytes:.0} B a connection")),
        |cpu| format!("{cpu:.2} µs a delivery"),
    );
    let latency = round.p99_us.map_or_else(String::new, |p99| format!(", p99 {:.2} ms", p99 / 1e3));
    let trouble = match round.verdict.as_str() {
        "good" => String::new(),
        "void" => "; void: the generator lagged".to_owned(),
        _ => format!("; wrong: {}", finding(&round.report)),
    };
    format!("round {} {}: {cost}{latency}{trouble}", round.round, round.subject)
}
