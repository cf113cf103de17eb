//! `cargo xtask perf`: hands everything to `ringway-perf`, built as a release.
//!
//! That program links what draws graphs; this one stays small.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// Runs it; whether it went well.
pub(crate) fn run(arguments: &[OsString]) -> Result<bool> {
    let own = env::current_exe().context("where this program is")?;
    let target = own.parent().and_then(Path::parent).context("this program is in no target folder")?;
    let manifest = env::var_os("CARGO_MANIFEST_DIR").context("call me as `cargo xtask`")?;
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--locked", "--release", "--package", "ringway-perf", "--"]).args(arguments);
    process::as_called(&mut cargo, target);
    Ok(cargo.current_dir(manifest).status().context("cargo")?.success())
}
