//! The tools that look at the files, found on the machine or unpacked into the cache.
//!
//! Debian's packages of HAProxy, nginx and Prometheus would start a service on the machine that they are installed on.
//! So they are not installed: they are downloaded and unpacked, and the programs run from there.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::tools;
use crate::workplace::{Workplace, fresh_folder};

const INSTALL_LIMIT: Duration = Duration::from_secs(10 * 60);
/// Raised when the lists below change: the folders in the cache are named after it.
const CACHE_VERSION: u32 = 1;
/// The programs' packages, and the libraries that a small machine lacks.
const DEBIAN: [&str; 8] = [
    "haproxy",
    "nginx",
    "prometheus",
    "liblua5.3-0",
    "libopentracing-c-wrapper0",
    "libopentracing1",
    "libpcre2-8-0",
    "libssl3",
];
/// What `deploy/checks/manifests.py` imports.
const PYTHON: [&str; 3] = ["pyyaml==6.0.3", "kubernetes-validate==1.37.0", "compose-spec==0.2.1"];

/// The programs.
pub(super) struct Programs {
    root: PathBuf,
    libraries: OsString,
}

impl Programs {
    /// Unpacks them when they are missing.
    ///
    /// # Errors
    /// A package cannot be had.
    pub(super) fn find(workplace: &Workplace) -> Result<Self> {
        let home = workplace.cache.join("tools").join(format!("deploy-debian-{CACHE_VERSION}"));
        let root = entry(&home, unpack)?;
        let mut folders = Vec::new();
        for library in ["lib", "usr/lib"] {
            // One for each architecture, named after it; a machine has one.
            if let Ok(entries) = fs::read_dir(root.join(library)) {
                folders.extend(entries.filter_map(|entry| entry.ok().map(|entry| entry.path())));
            }
        }
        folders.retain(|folder| folder.is_dir() && folder.to_string_lossy().contains("-linux-"));
        folders.sort();
        Ok(Self { libraries: std::env::join_paths(folders)?, root })
    }

    /// Prometheus' tool.
    pub(super) fn promtool(&self) -> Command {
        Command::new(self.root.join("usr/bin/promtool"))
    }

    /// HAProxy.
    pub(super) fn haproxy(&self) -> Command {
        self.with_libraries("usr/sbin/haproxy")
    }

    /// nginx.
    pub(super) fn nginx(&self) -> Command {
        self.with_libraries("usr/sbin/nginx")
    }

    fn with_libraries(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join(program));
        command.env("LD_LIBRARY_PATH", &self.libraries);
        command
    }
}

/// Downloads the packages into a folder and unpacks them there.
fn unpack(folder: &Path) -> Result<()> {
    let packages = folder.join("packages");
    fs::create_dir(&packages)?;
    let download = || {
        let mut apt = Command::new("apt-get");
        apt.current_dir(&packages).args(["-qq", "download"]).args(DEBIAN);
        process::run(&mut apt, INSTALL_LIMIT)
    };
    if download().is_err() {
        // The lists are old, or were never read.
        process::run(Command::new("apt-get").args(["-qq", "update"]), INSTALL_LIMIT)?;
        download().with_context(|| format!("cannot download Debian's packages {}", DEBIAN.join(", ")))?;
    }
    for entry in fs::read_dir(&packages)? {
        process::run(Command::new("dpkg-deb").arg("-x").arg(entry?.path()).arg(folder), INSTALL_LIMIT)?;
    }
    fs::remove_dir_all(&packages)?;
    Ok(())
}

/// The folder with the Python packages, installed when it is missing.
///
/// # Errors
/// They cannot be had.
pub(super) fn python_packages(workplace: &Workplace) -> Result<PathBuf> {
    let home = workplace.cache.join("tools").join(format!("deploy-python-{CACHE_VERSION}"));
    entry(&home, |folder| {
        let mut pip = Command::new(tools::python()?);
        pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-compile", "--target"]);
        process::run(pip.arg(folder).args(PYTHON).env("PIP_ROOT_USER_ACTION", "ignore"), INSTALL_LIMIT)
    })
}

/// systemd's tools, which machines without systemd lack. Their package starts nothing where it is not already running.
///
/// # Errors
/// They cannot be had.
pub(super) fn systemd() -> Result<()> {
    let answers = || process::answers(Command::new("systemd-analyze").arg("--version"));
    if !answers() {
        let mut apt = Command::new("apt-get");
        apt.args(["-qq", "install", "-y", "--no-install-recommends", "systemd"]);
        process::run(apt.env("DEBIAN_FRONTEND", "noninteractive"), INSTALL_LIMIT)?;
    }
    if !answers() {
        bail!("systemd-analyze is missing: install systemd");
    }
    Ok(())
}

/// An entry of the cache: made whole beside it, then renamed, so that two runs do not meet.
fn entry(home: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    if home.is_dir() {
        return Ok(home.to_owned());
    }
    let parent = home.parent().context("an entry without a folder")?;
    let name = home.file_name().and_then(|name| name.to_str()).context("an entry without a name")?;
    fs::create_dir_all(parent)?;
    let building = fresh_folder(parent, name)?;
    let made = make(&building);
    if made.is_ok() {
        // When another run was quicker, its copy serves.
        let _ = fs::rename(&building, home);
    }
    let _ = fs::remove_dir_all(&building);
    made?;
    Ok(home.to_owned())
}
