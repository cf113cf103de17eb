//! Every scenario in one go: one artefact, written again after each, so that what is measured is never lost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::figures::Figures;
use crate::options::{AllOptions, RunOptions};
use crate::overview;
use crate::programs::{Programs, commit};
use crate::rounds;
use crate::subject;

/// What is written.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Artefact {
    pub(crate) commit: String,
    pub(crate) command: String,
    /// In the order in which they were measured.
    pub(crate) runs: Vec<Figures>,
    /// Why some could not be measured, by scenario and variant.
    pub(crate) failed: BTreeMap<String, String>,
}

/// Measures what is not there yet, and writes as it goes.
///
/// # Errors
/// Programs do not build, the file is another commit's, or some scenario could not be measured.
pub(crate) fn run(options: &AllOptions) -> Result<()> {
    let first = options.runs.first().context("there is nothing to measure")?;
    let programs = Programs::of(first)?;
    let mut artefact = begin(options, commit(&programs.tree)?)?;
    let subjects = subject::all(first, &programs)?;
    let names = options.runs.iter().map(title).collect::<Vec<_>>();
    for (number, (run, name)) in options.runs.iter().zip(&names).enumerate() {
        if artefact.runs.iter().any(|figures| figures.title() == *name) {
            eprintln!("{name}: measured already");
            continue;
        }
        eprintln!("{name}: {} of {}", number + 1, names.len());
        match rounds::run(run, &programs, &subjects).and_then(|(figures, _)| figures.verdict().map(|()| figures)) {
            Ok(figures) => artefact.add(figures),
            Err(error) => artefact.fail(name, &format!("{error:#}")),
        }
        write(&options.json, &artefact)?;
    }
    print!("\n{}", overview::markdown(&artefact));
    println!("\n{0}.json, .html and .md", options.json.with_extension("").display());
    let failed = artefact.failed.iter().map(|(name, why)| format!("{name}: {why}")).collect::<Vec<_>>();
    ensure!(failed.is_empty(), "not everything could be measured: {}", failed.join("; "));
    Ok(())
}

fn title(run: &RunOptions) -> String {
    Figures::empty(&run.scenario, run.variant.as_deref()).title()
}

/// With what is there already, where that is wanted.
fn begin(options: &AllOptions, commit: String) -> Result<Artefact> {
    let command = Figures::empty("all", None).command;
    if !options.resume || !options.json.exists() {
        return Ok(Artefact { commit, command, ..Artefact::default() });
    }
    let text = fs::read_to_string(&options.json).with_context(|| format!("{}", options.json.display()))?;
    let kept: Artefact = serde_json::from_str(&text).with_context(|| format!("{}", options.json.display()))?;
    ensure!(kept.commit == commit, "--resume: the file is of commit {}, this is {commit}", kept.commit);
    Ok(kept)
}

impl Artefact {
    fn add(&mut self, figures: Figures) {
        self.failed.remove(&figures.title());
        self.runs.push(figures);
    }

    fn fail(&mut self, name: &str, why: &str) {
        eprintln!("{name}: {why}");
        self.failed.insert(name.to_owned(), why.to_owned());
    }
}

/// JSON, page and table. Each is whole at any time: a run that dies while it writes leaves what was there.
fn write(json: &Path, artefact: &Artefact) -> Result<()> {
    let text = serde_json::to_string(artefact)? + "\n";
    let files = [("json", text), ("html", overview::page(artefact)?), ("md", overview::markdown(artefact))];
    for (extension, text) in files {
        let file = json.with_extension(extension);
        let beside = json.with_extension(format!("{extension}.new"));
        fs::write(&beside, text).with_context(|| format!("{}", beside.display()))?;
        fs::rename(&beside, &file).with_context(|| format!("{}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::figures::sample;

    #[test]
    fn what_was_measured_of_this_commit_is_kept_and_nothing_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let json = folder.path().join("all.json");
        let options = |resume| AllOptions { runs: Vec::new(), resume, json: json.clone() };
        assert!(begin(&options(true), "abc".into()).unwrap().runs.is_empty());
        let mut artefact = Artefact { commit: "abc".into(), ..Artefact::default() };
        artefact.fail("relay_transient", "no port");
        artefact.fail("room_fan 1000", "no port");
        let machine = json!({"cpu": "x", "cores": 2, "memory_bytes": 9, "kernel": "6.1"});
        let mut figures = sample(&[]);
        figures.add(crate::figures::Round::of("ringway", 1, json!({"machine": machine, "verdict": "good"}))).unwrap();
        artefact.add(figures);
        write(&json, &artefact).unwrap();
        let kept = begin(&options(true), "abc".into()).unwrap();
        assert_eq!((kept.runs.len(), kept.runs[0].title()), (1, "relay_transient".to_owned()));
        assert_eq!(kept.failed.keys().collect::<Vec<_>>(), ["room_fan 1000"]);
        assert!(begin(&options(true), "def".into()).unwrap_err().to_string().contains("abc"));
        assert!(begin(&options(false), "def".into()).unwrap().runs.is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
