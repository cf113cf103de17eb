//! Where the programs are: named by the environment, else built beside the test. A build of what is
//! up to date takes cargo a moment; a program left over from older code would test nothing.

use std::env;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

/// Names the program to test.
const VARIABLE: &str = "RINGWAY_BIN";
/// Names the folder of the production programs to test.
const PRODUCTION_VARIABLE: &str = "RINGWAY_PRODUCTION_BINS";
/// Names the folder of the version before them.
const BEFORE_VARIABLE: &str = "RINGWAY_PRODUCTION_BINS_BEFORE";
/// The production programs.
pub const PRODUCTION: [&str; 3] = ["ringway-gateway", "ringway-persist", "ringway-api"];

/// The program that this run tests, the same for every test of the process.
///
/// # Errors
/// It does not build, or what the environment names is no file.
pub fn ringway() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| find().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

/// The folder of the three production programs, built like `ringway`.
///
/// # Errors
/// They do not build, or the folder that the environment names has them not.
pub fn production() -> Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOUND.get_or_init(|| find_production().map_err(|error| format!("{error:#}"))).clone().map_err(anyhow::Error::msg)
}

/// The folder of the version that those replace: the same programs unless the environment names another folder.
///
/// # Errors
/// As [`production`].
pub fn production_before() -> Result<PathBuf> {
    env::var_os(BEFORE_VARIABLE).map_or_else(production, |named| with_production(PathBuf::from(named)))
}

fn find_production() -> Result<PathBuf> {
    with_production(match env::var_os(PRODUCTION_VARIABLE) {
        Some(named) => PathBuf::from(named),
        None => build_beside(&["ringway-gateway-bin", "ringway-persist-bin", "ringway-api-bin"])?,
    })
}

fn with_production(folder: PathBuf) -> Result<PathBuf> {
    for name in PRODUCTION {
        ensure!(folder.join(name).is_file(), "{} has no {name}", folder.display());
    }
    Ok(folder)
}

fn find() -> Result<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "{VARIABLE} names {}, which is no file", named.display());
        return Ok(named);
    }
    let beside = build_beside(&["ringway"])?.join("ringway");
    ensure!(beside.is_file(), "there is no {}; name the program with {VARIABLE}", beside.display());
    Ok(beside)
}

/// Builds programs in the profile of this test; their folder.
fn build_beside(packages: &[&str]) -> Result<PathBuf> {
    // A test runs from `<target>/<profile>/deps`, programs lie in `<target>/<profile>`.
    let own = env::current_exe().context("where this test is")?;
    let folder = own.parent().and_then(|deps| deps.parent()).context("the test is in no target folder")?;
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    if let Some(target) = folder.parent() {
        build.env("CARGO_TARGET_DIR", target);
    }
    build.arg("build").args(packages.iter().flat_map(|package| ["--package", package]));
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    ensure!(status.context("cargo")?.success(), "{} does not build", packages.join(", "));
    Ok(folder.to_owned())
}
