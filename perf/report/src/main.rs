//! `cargo xtask perf`: what a scenario costs on Ringway, on the kernel's floor and on peers, in the same minutes.
//!
//! ```text
//! options ─► subjects ─► rounds, interleaved ─► figures ─► table, JSON, HTML
//!               │             └ one subject: start on one core, ringway-load on another, stop
//!               └ programs: built as a release, or a peer's own script
//! ```
//!
//! Everything runs on this machine's loopback interface and leaves nothing behind. Rules: `perf/README.md`.

mod all;
mod controls;
mod diff;
mod figures;
mod flame;
mod html;
mod named;
mod off_cpu;
mod options;
mod overview;
mod plot;
mod programs;
mod ratio;
mod rounds;
mod scenarios;
mod stall;
mod subject;
mod table;
mod targets;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;

use crate::figures::Figures;
use crate::flame::Graph;
use crate::options::{Arguments, Chore, DiffOptions, RunOptions};
use crate::programs::Programs;

fn main() -> ExitCode {
    let done = Arguments::parse().chore().and_then(|chore| match chore {
        Chore::Run(options) => run(&options),
        Chore::Diff(options) => compare(&options),
        Chore::All(options) => all::run(&options),
        Chore::Controls(options) => control(&options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures a scenario and writes what came out.
fn run(options: &RunOptions) -> Result<()> {
    let programs = Programs::of(options)?;
    let subjects = subject::all(options, &programs)?;
    let (figures, graphs) = rounds::run(options, &programs, &subjects)?;
    print!("{}", table::of(&figures));
    write(options, &figures, &graphs)
}

/// Measures two commits against each other and writes what came out.
fn compare(options: &DiffOptions) -> Result<()> {
    let (figures, graphs) = diff::run(options)?;
    print!("{}{}", table::of(&figures), table::of_difference(&figures)?);
    write(&options.run, &figures, &graphs)
}

/// Measures spoilt servers, and fails unless each fault is seen.
fn control(options: &RunOptions) -> Result<()> {
    let figures = controls::run(options)?;
    print!("{}", table::of(&figures));
    save(options, &figures, &[])?;
    controls::tell(&figures)
}

/// Keeps the figures, and tells whether they are worth anything.
fn write(options: &RunOptions, figures: &Figures, graphs: &[Graph]) -> Result<()> {
    save(options, figures, graphs)?;
    figures.verdict()
}

/// JSON, and the page beside it.
fn save(options: &RunOptions, figures: &Figures, graphs: &[Graph]) -> Result<()> {
    let page = options.json.with_extension("html");
    let json = serde_json::to_string_pretty(figures)? + "\n";
    std::fs::write(&options.json, json).with_context(|| format!("{}", options.json.display()))?;
    std::fs::write(&page, html::page(figures, graphs)?).with_context(|| format!("{}", page.display()))?;
    println!("\n{}\n{}", options.json.display(), page.display());
    Ok(())
}
