//! Rounds: every subject in turn, as often as asked, so that a busy minute of the machine falls on all.

use std::fs;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::figures::{Figures, OURS, Round, finding};
use crate::flame::{self, Graph, View};
use crate::named;
use crate::options::RunOptions;
use crate::programs::{Programs, commit};
use crate::subject::{Running, Subject, pinned};

/// Exit code of `ringway-load` for what a server has nothing for.
const CANNOT: i32 = 5;
/// Exit codes of runs whose figures do not count, but say why.
const SAID: [i32; 3] = [0, 3, 4];

/// Seconds of the round for the off-CPU graph: every stop of a thread is kept.
const OFF_CPU_S_MAX: f64 = 5.0;

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
    let subjects: Vec<Subject> = subjects.iter().filter(|subject| subject.is_for(options)).cloned().collect();
    let mut figures = empty(options, commit(&programs.tree)?);
    figures.subjects = subjects.iter().map(|subject| (subject.name.clone(), subject.about.clone())).collect();
    measure(options, programs, &subjects, &mut figures)?;
    figures.compare();
    let graphs = match &programs.framed {
        None => Vec::new(),
        Some(framed) => {
            let framed = Subject::ringway(OURS, framed)?;
            let mut graphs = graphs_of(options, programs, &framed, View::OnCpu)?;
            let short = options.seconds.unwrap_or(OFF_CPU_S_MAX).min(OFF_CPU_S_MAX);
            let short = RunOptions { seconds: Some(short), ..options.clone() };
            match graphs_of(&short, programs, &framed, View::OffCpu) {
                Ok(more) => graphs.extend(more),
                Err(error) => {
                    figures.cannot.insert("off-CPU graph".to_owned(), format!("{error:#}"));
                }
            }
            graphs
        }
    };
    Ok((figures, graphs))
}

/// Figures with no rounds yet.
pub(crate) fn empty(options: &RunOptions, commit: String) -> Figures {
    Figures { commit, ..Figures::empty(&options.scenario, options.variant.as_deref()) }
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
            let outcome = subject.start(options).and_then(|running| call(options, programs, &running));
            let outcome = match outcome {
                // A peer that gives up is a finding, and no reason to lose what the others have shown.
                Err(error) if subject.is_peer() => Outcome::Cannot(format!("round {number}: {error:#}")),
                outcome => outcome.with_context(|| format!("round {number} of {}", subject.name))?,
            };
            match outcome {
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
pub(crate) fn graphs_of(
    options: &RunOptions,
    programs: &Programs,
    subject: &Subject,
    view: View,
) -> Result<Vec<Graph>> {
    eprintln!("{}: a round for the flame graph", subject.name);
    let running = subject.start(options)?;
    let recording = flame::Recording::start(running.pid, view)?;
    match call(options, programs, &running)? {
        Outcome::Report(_) => recording.finish(&subject.name),
        Outcome::Cannot(why) => bail!("cannot: {why}"),
    }
}

fn call(options: &RunOptions, programs: &Programs, running: &Running) -> Result<Outcome> {
    let file = tempfile::NamedTempFile::new().context("no temporary file")?;
    let mut load = pinned(&programs.load, &options.load_cpu.to_string());
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
        _ => format!("; wrong: {}", finding(&round.report, &[])),
    };
    let stalls = named::stalls(round).map_or_else(String::new, |stalls| format!("; {stalls}"));
    format!("round {} {}: {cost}{latency}{trouble}{stalls}", round.round, round.subject)
}
