//! The tests of the workspace: all of them are built in one go, then run package by package.
//!
//! Building once matters: asking cargo for one package at a time would choose other features for shared dependencies
//! and build them again. So the executables that one `cargo test --no-run` built are run from here, as cargo would.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use super::build::{self, Executable};
use crate::process;
use crate::workplace::Workplace;

const UNIT_LIMIT: Duration = Duration::from_secs(15 * 60);
const END_TO_END_LIMIT: Duration = Duration::from_secs(20 * 60);
/// The package whose tests spawn the real programs.
const END_TO_END_PACKAGE: &str = "tools/e2e";

/// How many tests passed and failed.
#[derive(Debug, Default, Eq, PartialEq)]
struct Tally {
    passed: u64,
    failed: u64,
    broken: Vec<String>,
}

/// Unit, property and documentation tests.
pub(super) fn unit(workplace: &Workplace) -> Result<String> {
    let end_to_end = workplace.root.join(END_TO_END_PACKAGE);
    // Some run the programs; left alone each would build them again, with other features.
    let programs = workplace.programs()?;
    let mut tally = Tally::default();
    for executable in build::tests(workplace)? {
        if is_unit(&executable, &end_to_end) {
            let mut command = test_command(&executable);
            programs.name_for(workplace, &mut command);
            tally.run(&executable.target, &mut command, UNIT_LIMIT)?;
        }
    }
    let mut documentation = workplace.cargo(["test", "--locked", "--workspace", "--doc", "--no-fail-fast"]);
    tally.run("documentation tests", &mut documentation, UNIT_LIMIT)?;
    tally.judged()
}

/// The tests that run the real programs, which are built first.
pub(super) fn end_to_end(workplace: &Workplace) -> Result<String> {
    let folder = workplace.root.join(END_TO_END_PACKAGE);
    let programs = workplace.programs()?;
    let mut tally = Tally::default();
    for executable in build::tests(workplace)? {
        if !is_unit(&executable, &folder) {
            let mut command = test_command(&executable);
            programs.name_for(workplace, &mut command);
            tally.run(&executable.target, &mut command, END_TO_END_LIMIT)?;
        }
    }
    tally.judged()
}

fn is_unit(executable: &Executable, end_to_end: &Path) -> bool {
    executable.package != end_to_end
}

fn test_command(executable: &Executable) -> Command {
    let mut command = Command::new(&executable.path);
    command.current_dir(&executable.package).env("CARGO_MANIFEST_DIR", &executable.package);
    command
}

impl Tally {
    fn run(&mut self, name: &str, command: &mut Command, limit: Duration) -> Result<()> {
        let ended = process::run_lines(command, limit, |line| {
            println!("{line}");
            self.add(line);
        });
        match ended {
            Ok(status) if status.success() => {}
            Ok(_) => self.broken.push(name.to_owned()),
            Err(error) => self.broken.push(format!("{name} ({error:#})")),
        }
        Ok(())
    }

    /// Adds what a test program's closing line says: `test result: ok. 12 passed; 0 failed; …`.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        for count in counts.split(['.', ';']) {
            let mut words = count.split_whitespace();
            let (Some(number), Some(word)) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next())
            else {
                continue;
            };
            match word {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                _ => {}
            }
        }
    }

    fn judged(self) -> Result<String> {
        let Self { passed, failed, broken } = self;
        if !broken.is_empty() || failed > 0 {
            bail!("{passed} tests passed, {failed} failed, in: {}", broken.join(", "));
        }
        if passed == 0 {
            bail!("no test ran");
        }
        Ok(format!("{passed} tests"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(lines: &[&str]) -> Tally {
        let mut tally = Tally::default();
        for line in lines {
            tally.add(line);
        }
        tally
    }

    #[test]
    fn closing_lines_are_added_up() {
        let counted = tally(&[
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
        ]);
        assert_eq!((counted.passed, counted.failed), (4, 2));
        assert!(counted.judged().is_err());
    }

    #[test]
    fn a_run_without_a_test_fails() {
        assert!(tally(&["running 0 tests"]).judged().unwrap_err().to_string().contains("no test ran"));
    }

    #[test]
    fn a_program_that_fails_without_a_failed_test_is_named() {
        let mut counted = tally(&["test result: ok. 3 passed; 0 failed; 0 ignored"]);
        counted.run("crasher", Command::new("sh").args(["-c", "exit 101"]), UNIT_LIMIT).unwrap();
        assert!(counted.judged().unwrap_err().to_string().contains("crasher"));
    }
}
