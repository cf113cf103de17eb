//! Where a run works: the tree it checks, the folders it may fill, and a scratch folder of its own.
//!
//! Invariant: two runs at once share only the target and the cache folder, both of which are filled by whole
//! renames or under cargo's own lock. Everything else a run writes is in its scratch folder, removed at the end.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::steps::build::{self, Programs};

/// The folders of one run.
pub(crate) struct Workplace {
    /// The root of the tree under test.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    /// Tools and suites that outlive a run: `$XDG_CACHE_HOME/ringway`.
    pub(crate) cache: PathBuf,
    /// Screenshots and reports that a person may want to look at.
    pub(crate) artefacts: PathBuf,
    /// Of this run alone; gone when it ends.
    pub(crate) scratch: PathBuf,
    programs: OnceCell<Result<Programs, String>>,
}

impl Workplace {
    /// Finds the tree that `cargo xtask` was called in.
    pub(crate) fn find() -> Result<Self> {
        // At run time, not at compile time: checkouts that share a target folder share this program's file.
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("call me as `cargo xtask`")?;
        let root = Path::new(&manifest).ancestors().nth(2).context("tools/xtask has no root above it")?.to_owned();
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => std::path::absolute(folder)?,
            None => root.join("target"),
        };
        let cache = match (std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME")) {
            (Some(cache), _) if !cache.is_empty() => PathBuf::from(cache),
            (_, Some(home)) => Path::new(&home).join(".cache"),
            _ => bail!("neither XDG_CACHE_HOME nor HOME is set"),
        }
        .join("ringway");
        let artefacts = match std::env::var_os("RINGWAY_ARTEFACTS") {
            Some(folder) => std::path::absolute(folder)?,
            None => target.join("artefacts"),
        };
        fs::create_dir_all(&artefacts).with_context(|| format!("cannot make {}", artefacts.display()))?;
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        let scratch = fresh_folder(&std::env::temp_dir(), "ringway-xtask")?;
        Ok(Self { root, target, cache, artefacts, scratch, programs: OnceCell::new() })
    }

    /// `cargo` in the tree's root.
    pub(crate) fn cargo<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new("cargo");
        command.current_dir(&self.root).args(arguments);
        process::as_called(&mut command, &self.target);
        command
    }

    /// The project's programs, built once a run in the profile of the tests and copied out of the target folder,
    /// where another run could replace them.
    pub(crate) fn programs(&self) -> Result<&Programs> {
        match self.programs.get_or_init(|| build::programs(self).map_err(|error| format!("{error:#}"))) {
            Ok(programs) => Ok(programs),
            Err(error) => bail!("the programs do not build: {error}"),
        }
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What cannot be removed stays in the system's temporary folder; nothing depends on it.
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

/// Makes a new folder in `parent` that no other run has.
pub(crate) fn fresh_folder(parent: &Path, name: &str) -> Result<PathBuf> {
    for attempt in 0..1_000 {
        let folder = parent.join(format!("{name}.{}.{attempt}", std::process::id()));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("cannot make {}", folder.display())),
        }
    }
    bail!("{} is full of {name} folders", parent.display())
}
