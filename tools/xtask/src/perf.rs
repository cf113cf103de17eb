//! `cargo xtask perf`: hands everything to `ringway-perf`, built as a release.
//!
//! That program links what draws graphs; this one stays small.

use std::env;
use std::ffi::OsString;

use anyhow::{Context as _, Result};

use crate::process;

/// Runs it; whether it went well.
pub(crate) fn run(arguments: &[OsString]) -> Result<bool> {
    let (mut cargo, _) = process::cargo_here()?;
    let manifest = cargo.get_current_dir().context("no folder of the checkout")?.join("Cargo.toml");
    // Files that are named are meant from where the caller stands.
    cargo.current_dir(env::current_dir()?).args(["run", "--quiet", "--locked", "--release", "--manifest-path"]);
    cargo.arg(manifest).args(["--package", "ringway-perf", "--"]).args(arguments);
    Ok(cargo.status().context("cargo")?.success())
}
