//! What the compiler's own tools say: formatting, lints, documentation.
//!
//! Each is called for the whole workspace at once, always with the same selection, so that no dependency is built
//! twice with other features.

use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::tools;
use crate::workplace::Workplace;

const LIMIT: Duration = Duration::from_secs(30 * 60);
/// The fuzz targets are a workspace of their own.
const FUZZ_MANIFEST: &str = "engine/fuzz/Cargo.toml";

/// Formatting of both workspaces.
pub(super) fn fmt(workplace: &Workplace) -> Result<String> {
    tools::toolchain()?;
    let tree = process::run(&mut workplace.cargo(["fmt", "--all", "--check"]), LIMIT);
    let fuzz = process::run(&mut workplace.cargo(["fmt", "--manifest-path", FUZZ_MANIFEST, "--check"]), LIMIT);
    tree.and(fuzz)?;
    Ok("the workspace and the fuzz targets".to_owned())
}

/// Lints of every target, warnings denied.
pub(super) fn clippy(workplace: &Workplace) -> Result<String> {
    tools::toolchain()?;
    let arguments = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    process::run(&mut workplace.cargo(arguments), LIMIT)?;
    Ok("no warning".to_owned())
}

/// Documentation of our own crates.
pub(super) fn docs(workplace: &Workplace) -> Result<String> {
    let mut cargo = workplace.cargo(["doc", "--locked", "--no-deps", "--workspace"]);
    process::run(cargo.env("RUSTDOCFLAGS", "-Dwarnings"), LIMIT)?;
    Ok("no warning".to_owned())
}
