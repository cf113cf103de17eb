//! `cargo xtask rolling COMMIT`: the cluster's rolling restart under load, from the programs of that commit to those of
//! this checkout.
//!
//! The test itself is one of the checks, where both sides are the same programs. Here the older ones are built from a
//! work tree of their commit, in the checks' own target folder and profile, and kept beside it under the commit's name.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use ringway_stack::NodeKind;

use crate::{cluster, process};

/// Tells the test where the programs of the version before are.
const BEFORE_VARIABLE: &str = "RINGWAY_PRODUCTION_BINS_BEFORE";
const TEST: &str = "all_processes_may_be_replaced_under_load";

/// Runs it; whether nobody saw an error.
pub(crate) fn run(commit: &str) -> Result<bool> {
    let (mut cargo, target) = process::cargo_here()?;
    let tree = PathBuf::from(git(Path::new("."), &["rev-parse", "--show-toplevel"])?);
    let commit = git(&tree, &["rev-parse", "--verify", "--end-of-options", &format!("{commit}^{{commit}}")])?;
    let before = built(&tree, &commit, &target)?;
    let after = cluster::programs(false)?;
    println!("from {commit} to this checkout");
    cargo.args(["test", "--locked", "--package", "ringway-e2e", "--test", "cluster", TEST, "--", "--nocapture"]);
    cargo.env(BEFORE_VARIABLE, before).env(cluster::PROGRAMS_VARIABLE, after);
    Ok(cargo.status().context("cargo")?.success())
}

/// The folder of a commit's programs, built unless they have been before.
fn built(tree: &Path, commit: &str, target: &Path) -> Result<PathBuf> {
    let kept = target.join("before").join(commit);
    let programs = [NodeKind::Gateway, NodeKind::Persist, NodeKind::Api].map(NodeKind::program);
    if programs.iter().all(|name| kept.join(name).is_file()) {
        return Ok(kept);
    }
    let source = target.join("before").join(format!("{commit}.tree"));
    let folder = source.display().to_string();
    // Left by a run that was killed.
    remove(tree, &source)?;
    git(tree, &["worktree", "add", "--quiet", "--force", "--detach", &folder, commit])?;
    let mut cargo = Command::new("cargo");
    process::as_called(&mut cargo, target);
    cargo.current_dir(&source).args(["build", "--locked", "--workspace", "--bins"]);
    let built = cargo.status().context("cargo").and_then(|status| process::check(&cargo, status));
    remove(tree, &source)?;
    built?;
    fs::create_dir_all(&kept).with_context(|| format!("{}", kept.display()))?;
    for name in programs {
        let (from, to) = (target.join("debug").join(name), kept.join(name));
        fs::copy(&from, &to).with_context(|| format!("{} to {}", from.display(), to.display()))?;
    }
    Ok(kept)
}

fn remove(tree: &Path, source: &Path) -> Result<()> {
    if source.exists() {
        fs::remove_dir_all(source).with_context(|| format!("{}", source.display()))?;
    }
    git(tree, &["worktree", "prune"]).map(drop)
}

fn git(tree: &Path, arguments: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    let said = process::output(git.current_dir(tree).args(arguments))?;
    Ok(said.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Else cargo would run nothing, and call it a success.
    #[test]
    fn there_is_the_test_that_is_run() {
        let tests = include_str!("../../e2e/tests/cluster/faults.rs");
        assert!(tests.contains(&format!("async fn {TEST}()")) && tests.contains("production_before()"));
    }
}
