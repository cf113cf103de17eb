//! The chat page, used in Chromium as people would: `tools/web/test/browser.mjs` drives it.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process;
use crate::tools;
use crate::workplace::Workplace;

const LIMIT: Duration = Duration::from_secs(10 * 60);
const INSTALL_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Installs what the script needs and runs it; its screenshots become artefacts.
pub(super) fn check(workplace: &Workplace) -> Result<String> {
    let folder = workplace.root.join("tools/web/test");
    let script = folder.join("browser.mjs");
    if !script.is_file() {
        bail!("{} is missing", script.display());
    }
    let chromium = tools::chromium()?;
    let node = tools::node()?;
    if folder.join("package.json").is_file() && !is_installed(&folder) {
        let mut npm = Command::new("npm");
        npm.current_dir(&folder).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
        process::run(&mut npm, INSTALL_LIMIT)?;
    }
    let mut units = Command::new(node);
    units.current_dir(&workplace.root).arg("--test").arg(folder.join("store.test.mjs"));
    process::run(&mut units, LIMIT)?;
    let programs = workplace.programs()?;
    let mut test = Command::new(node);
    test.current_dir(&workplace.root).arg(&script).env("CHROMIUM", chromium);
    programs.name_for(workplace, &mut test);
    process::run(&mut test, LIMIT)?;
    Ok(format!("screenshots in {}", workplace.artefacts.display()))
}

/// Whether the packages are those of the lock file: npm leaves a copy of it that is no older.
fn is_installed(folder: &std::path::Path) -> bool {
    let modified = |name: &str| folder.join(name).metadata().and_then(|metadata| metadata.modified()).ok();
    match (modified("package-lock.json"), modified("node_modules/.package-lock.json")) {
        (Some(wanted), Some(present)) => present >= wanted,
        _ => false,
    }
}
