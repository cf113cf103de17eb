//! Where the `ringway` program is: named by the environment, else built beside the test. A build of what is
//! up to date takes cargo a moment; a program left over from older code would test nothing.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

/// Names the program to test.
const VARIABLE: &str = "RINGWAY_BIN";

/// The program that this run tests, the same for every test of the process.
pub(crate) fn ringway() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| find().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

fn find() -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "{VARIABLE} names {}, which is no file", named.display());
        return Ok(named);
    }
    // A test runs from `<target>/<profile>/deps`, programs lie in `<target>/<profile>`.
    let own = env::current_exe().context("where this test is")?;
    let folder = own.parent().and_then(|deps| deps.parent()).context("the test is in no target folder")?;
    let beside = folder.join("ringway");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if let Some(target) = folder.parent() {
        build.env("CARGO_TARGET_DIR", target);
    }
    let status = build.args(["build", "--package", "ringway"]).current_dir(env!("CARGO_MANIFEST_DIR")).status();
    ensure!(status.context("cargo")?.success(), "ringway does not build");
    ensure!(beside.is_file(), "there is no {}; name the program with {VARIABLE}", beside.display());
    Ok(beside)
}
