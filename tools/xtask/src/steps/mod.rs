//! The checks, one file each, and the order they run in: quick ones first.
//!
//! A step is a function of the workplace that returns a few words on what it checked. Each installs what it lacks, so
//! any of them can be run alone.

mod autobahn;
mod browser;
pub(crate) mod build;
mod compile;
mod deny;
mod deploy;
mod fuzz;
mod test;

use std::time::Instant;

use anyhow::Result;
use clap::ValueEnum;

use crate::outcome::Outcome;
use crate::workplace::Workplace;
use crate::{style, tools};

/// One check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Step {
    /// Install what the machine lacks
    Tools,
    /// The house rules that a program can see
    Style,
    /// Formatting
    Fmt,
    /// Licenses, bans and sources of dependencies
    Deny,
    /// What operators are given: units, manifests, alerts, runbooks
    Deploy,
    /// Lints, warnings denied
    Clippy,
    /// The documentation builds without a warning
    Docs,
    /// Unit, property and documentation tests
    Test,
    /// Every fuzz target, briefly
    Fuzz,
    /// End to end, with real processes
    E2e,
    /// RFC 6455 conformance: Autobahn's cases against the echo listener
    Autobahn,
    /// The chat page in Chromium
    Browser,
}

impl Step {
    fn run(self, workplace: &Workplace) -> Result<String> {
        match self {
            Self::Tools => tools(workplace),
            Self::Style => style::check(&workplace.root),
            Self::Fmt => compile::fmt(workplace),
            Self::Deny => deny::check(workplace),
            Self::Deploy => deploy::check(workplace),
            Self::Clippy => compile::clippy(workplace),
            Self::Docs => compile::docs(workplace),
            Self::Test => tools::servers().and_then(|()| test::unit(workplace)),
            Self::Fuzz => fuzz::briefly(workplace),
            Self::E2e => tools::servers().and_then(|()| test::end_to_end(workplace)),
            Self::Autobahn => autobahn::conformance(workplace),
            Self::Browser => browser::check(workplace),
        }
    }
}

/// Runs the named steps, or all of them, each whatever came of the ones before.
pub(crate) fn run_all(workplace: &Workplace, named: &[Step]) -> Vec<Outcome> {
    let chosen = Step::value_variants().iter().filter(|step| named.is_empty() || named.contains(step));
    let mut outcomes = Vec::new();
    for step in chosen {
        let value = step.to_possible_value();
        let name = value.as_ref().map_or("", |value| value.get_name()).to_owned();
        let about = value.as_ref().and_then(|value| value.get_help()).map(ToString::to_string).unwrap_or_default();
        println!("\n==> {name}: {about}");
        let started = Instant::now();
        let result = step.run(workplace).map_err(|error| format!("{error:#}"));
        let took = started.elapsed();
        match &result {
            Ok(detail) => println!("<== {name}: ok in {:.1} s: {detail}", took.as_secs_f64()),
            Err(error) => println!("<== {name}: FAILED in {:.1} s: {error}", took.as_secs_f64()),
        }
        outcomes.push(Outcome { name, result, took });
    }
    outcomes
}

fn tools(workplace: &Workplace) -> Result<String> {
    tools::toolchain()?;
    tools::cxx()?;
    tools::python()?;
    tools::CARGO_DENY.folder(workplace)?;
    tools::CARGO_FUZZ.folder(workplace)?;
    autobahn::suite(workplace)?;
    tools::node()?;
    tools::servers()?;
    let chromium = tools::chromium()?;
    Ok(format!("artefacts in {}, browser {}", workplace.artefacts.display(), chromium.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_name_and_says_what_it_checks() {
        for step in Step::value_variants() {
            let value = step.to_possible_value().unwrap();
            assert!(value.get_help().is_some(), "{}", value.get_name());
        }
    }
}
