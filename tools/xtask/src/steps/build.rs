//! Building the workspace: the programs that the end-to-end checks run, and the test executables.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;
use crate::workplace::Workplace;

const LIMIT: Duration = Duration::from_secs(45 * 60);

/// Copies of the project's programs, as this run built them.
pub(crate) struct Programs {
    /// The server and its command-line tools.
    pub(crate) ringway: PathBuf,
    /// The load generator.
    pub(crate) load: PathBuf,
    /// The folder with these, the production programs and the floors to measure against.
    pub(crate) production: PathBuf,
}

impl Programs {
    /// Tells a child where the programs are: `RINGWAY_BIN`, `RINGWAY_LOAD_BIN` and the folder
    /// `RINGWAY_PRODUCTION_BINS`, and where to leave artefacts.
    pub(crate) fn name_for(&self, workplace: &Workplace, command: &mut Command) {
        command
            .env("RINGWAY_BIN", &self.ringway)
            .env("RINGWAY_LOAD_BIN", &self.load)
            .env("RINGWAY_PRODUCTION_BINS", &self.production)
            .env("RINGWAY_ARTEFACTS", &workplace.artefacts);
    }
}

/// One executable that cargo built.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Executable {
    /// The target's name: a program's, a library's or a test file's.
    pub(super) target: String,
    /// The folder of the package it belongs to.
    pub(super) package: PathBuf,
    /// Where it is.
    pub(super) path: PathBuf,
}

/// Builds the programs and copies them into the scratch folder.
pub(crate) fn programs(workplace: &Workplace) -> Result<Programs> {
    let built = executables(workplace, &["build", "--locked", "--workspace", "--bins"], false)?;
    let folder = workplace.scratch.join("bin");
    fs::create_dir_all(&folder)?;
    let copy = |name: &str| -> Result<PathBuf> {
        let program = built
            .iter()
            .find(|executable| executable.target == name)
            .with_context(|| format!("the workspace builds no program {name}"))?;
        let place = folder.join(name);
        fs::copy(&program.path, &place).with_context(|| format!("cannot copy {}", program.path.display()))?;
        Ok(place)
    };
    let production = ["ringway-gateway", "ringway-persist", "ringway-api"];
    let floors = ["floor_uring", "floor_epoll", "relay_tungstenite", "relay_fastwebsockets"];
    for name in production.into_iter().chain(floors) {
        copy(name)?;
    }
    Ok(Programs { ringway: copy("ringway")?, load: copy("ringway-load")?, production: folder.clone() })
}

/// Builds the tests of the workspace without running them.
pub(super) fn tests(workplace: &Workplace) -> Result<Vec<Executable>> {
    executables(workplace, &["test", "--locked", "--workspace", "--no-run"], true)
}

fn executables(workplace: &Workplace, arguments: &[&str], tests: bool) -> Result<Vec<Executable>> {
    let mut cargo = workplace.cargo(arguments.iter().copied());
    cargo.arg("--message-format=json-render-diagnostics");
    let mut found = Vec::new();
    let status = process::run_lines(&mut cargo, LIMIT, |line| found.extend(executable(line, tests)))?;
    process::check(&cargo, status)?;
    Ok(found)
}

/// Reads one of cargo's messages; `None` for those that are not about an executable of the wanted sort.
fn executable(line: &str, test: bool) -> Option<Executable> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message.get("reason")?.as_str()? != "compiler-artifact" || message.pointer("/profile/test")?.as_bool()? != test {
        return None;
    }
    Some(Executable {
        target: message.pointer("/target/name")?.as_str()?.to_owned(),
        package: Path::new(message.get("manifest_path")?.as_str()?).parent()?.to_owned(),
        path: PathBuf::from(message.get("executable")?.as_str()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = r#"{"reason":"compiler-artifact","manifest_path":"/tree/tools/ringway/Cargo.toml",
        "target":{"name":"ringway"},"profile":{"test":false},"executable":"/target/debug/ringway"}"#;

    #[test]
    fn a_program_is_read_from_cargos_message() {
        let executable = executable(PROGRAM, false).unwrap();
        assert_eq!(executable.target, "ringway");
        assert_eq!(executable.package, Path::new("/tree/tools/ringway"));
        assert_eq!(executable.path, Path::new("/target/debug/ringway"));
    }

    #[test]
    fn programs_are_no_tests_and_libraries_no_executables() {
        assert_eq!(executable(PROGRAM, true), None);
        assert_eq!(executable(&PROGRAM.replace("\"/target/debug/ringway\"", "null"), false), None);
        assert_eq!(executable("not a message", false), None);
    }
}
