//! The programs that are measured and that measure, built as a release.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::options::RunOptions;

/// With frame pointers, which flame graphs are drawn by. Two builds lie side by side.
const FRAME_POINTERS: &str = "-C force-frame-pointers=yes";

/// Where they are.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// The checkout.
    pub(crate) tree: PathBuf,
    /// `ringway`.
    pub(crate) ringway: PathBuf,
    /// The same with frame pointers, when flame graphs are wanted.
    pub(crate) framed: Option<PathBuf>,
    /// `ringway-load`.
    pub(crate) load: PathBuf,
    /// What the peers' scripts are told of where relays are built, when not as a release in the usual place.
    pub(crate) relays: Vec<(&'static str, PathBuf)>,
}

impl Programs {
    /// Those that a run takes: of this checkout, built now, unless it says that they are there.
    ///
    /// # Errors
    /// They do not build.
    pub(crate) fn of(options: &RunOptions) -> Result<Self> {
        match &options.programs {
            None => Self::build(options.flame),
            Some(folder) => Self::built(folder, options.flame),
        }
    }

    /// Those of a profile's folder, as they are.
    fn built(folder: &Path, framed: bool) -> Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("{}", folder.display()))?;
        let (target, profile) = folder.parent().zip(folder.file_name()).context("--programs: no profile's folder")?;
        let [ringway, load] = ["ringway", "ringway-load"].map(|name| folder.join(name));
        let relays = vec![("CARGO_TARGET_DIR", target.to_owned()), ("RINGWAY_PROFILE", profile.into())];
        let framed = framed.then(|| ringway.clone());
        Ok(Self { tree: tree()?, ringway, framed, load, relays })
    }

    /// Builds those of this checkout; `framed` when flame graphs are wanted.
    ///
    /// # Errors
    /// They do not build.
    pub(crate) fn build(framed: bool) -> Result<Self> {
        let (tree, target) = (tree()?, target()?);
        let built = build(&tree, &target, &["ringway", "ringway-load"], false)?;
        let framed = if framed { Some(Self::framed_of(&tree, &target.join("framed"))?) } else { None };
        Ok(Self { ringway: built.join("ringway"), load: built.join("ringway-load"), framed, tree, relays: Vec::new() })
    }

    /// Builds `ringway` of a checkout with frame pointers.
    ///
    /// # Errors
    /// It does not build.
    pub(crate) fn framed_of(tree: &Path, target: &Path) -> Result<PathBuf> {
        Ok(build(tree, target, &["ringway"], true)?.join("ringway"))
    }
}

/// The checkout that this program was called in: cargo says so, at run time, since checkouts may share a target folder.
pub(crate) fn tree() -> Result<PathBuf> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").context("call me as `cargo xtask perf`")?;
    let root = Path::new(&manifest).ancestors().find(|folder| folder.join("Cargo.lock").is_file());
    Ok(root.context("this is no checkout")?.to_owned())
}

/// Its target folder.
///
/// # Errors
/// This program is in none.
pub(crate) fn target() -> Result<PathBuf> {
    let own = env::current_exe().context("where this program is")?;
    let profile = own.parent().context("this program is in no folder")?;
    Ok(profile.parent().context("this program is in no target folder")?.to_owned())
}

fn build(tree: &Path, target: &Path, packages: &[&str], frame_pointers: bool) -> Result<PathBuf> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "--locked"]).args(packages.iter().flat_map(|name| ["--package", name]));
    // What cargo says of this program is not for those that it builds: some build scripts would run again.
    let of_this =
        |name: &str| name == "CARGO" || ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|of| name.starts_with(of));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_this)) {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_TARGET_DIR", target).current_dir(tree);
    if frame_pointers {
        cargo.env("RUSTFLAGS", FRAME_POINTERS);
    }
    let status = cargo.stdout(Stdio::null()).status().context("cargo")?;
    ensure!(status.success(), "{} does not build", packages.join(", "));
    Ok(target.join("release"))
}

/// The commit of a checkout, with a mark when files differ from it.
pub(crate) fn commit(tree: &Path) -> Result<String> {
    let commit = git_says(tree, &["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git_says(tree, &["status", "--porcelain"])?.is_empty();
    Ok(if changed { format!("{commit}, changed") } else { commit })
}

/// What git prints in a checkout.
///
/// # Errors
/// It fails, and why.
pub(crate) fn git_says(tree: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git").args(arguments).current_dir(tree).output().context("git")?;
    if !output.status.success() {
        bail!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
