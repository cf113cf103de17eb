//! `cargo xtask perf`: hands everything to `ringway-perf`, built as a release.
//!
//! That program links what draws graphs; this one stays small.

use std::ffi::OsString;

use anyhow::{Context as _, Result};

use crate::process;

/// Runs it; whether it went well.
pub(crate) fn run(arguments: &[OsString]) -> Result<bool> {
    let (mut cargo, _) = process::cargo_here()?;
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "ringway-perf", "--"]).args(arguments);
    Ok(cargo.status().context("cargo")?.success())
}
