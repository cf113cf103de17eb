//! Finding the servers' programs, and saying what to do when one is missing.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};

/// Where Debian keeps daemons; not on the path of every user.
const DAEMON_FOLDERS: &[&str] = &["/usr/sbin", "/usr/local/sbin"];

/// The program of a name.
///
/// # Errors
/// It is missing: one line that says which Debian package has it.
pub(crate) fn find(name: &str, package: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(DAEMON_FOLDERS.iter().map(PathBuf::from));
    match folders.map(|folder| folder.join(name)).find(|place| place.is_file()) {
        Some(place) => Ok(place),
        None => bail!("{name} is missing: run `cargo xtask test tools`, or install the package {package}"),
    }
}

/// Runs a program to its end and returns what it printed; an error with its complaints unless it ended well.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ended = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    let Output { status, stdout, stderr } = ended;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&stderr).trim().to_owned();
        bail!("{name} failed ({status}): {complaint}");
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_what_to_do_in_one_line() {
        let error = find("no-such-server", "some-package").unwrap_err().to_string();
        assert!(error.contains("cargo xtask test tools") && error.contains("some-package"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn a_failed_program_is_named_with_its_complaint() {
        let error = output(Command::new("sh").args(["-c", "echo no >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh failed") && error.contains("no"), "{error}");
    }
}
