//! A temporary folder that goes when its owner does.
//!
//! Dropping it removes it. For an owner that does not come to that (killed, or a folder kept in a static) a waiting
//! shell does the same: it reads a pipe that only the owner holds open. Drop servers before the folder they write to.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// Servers end at the same moment as their owner and may write until they have: so it tries again for 10 s.
const REMOVE: &str = r#"
read -r _
tries=100
while [ "$tries" -gt 0 ]; do
    rm -rf -- "$0" 2>/dev/null && exit 0
    sleep 0.1
    tries=$((tries - 1))
done
"#;

/// A temporary folder; see the module's head.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    remover: Child,
}

impl Folder {
    /// A new, empty one in the system's folder for such.
    ///
    /// # Errors
    /// The file system refused, or there is no `sh`.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("ringway-stack-").tempdir_in(env::temp_dir())?;
        let mut remover = Command::new("sh");
        // In a group of its own, so that an interrupt from the terminal does not end it together with the owner.
        remover.args(["-c", REMOVE]).arg(folder.path()).current_dir("/").process_group(0);
        remover.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let remover = remover.spawn().context("cannot run sh")?;
        Ok(Self { path: folder.keep(), remover })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed here is left to the shell, which is told by the end of the pipe.
        let _ = fs::remove_dir_all(&self.path);
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_folder_is_gone() {
        let folder = Folder::new().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("file"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_never_dropped_is_removed_at_the_end_of_its_owner() {
        let mut folder = Folder::new().unwrap();
        fs::write(folder.path().join("file"), "x").unwrap();
        // What the kernel does when the owner dies.
        drop(folder.remover.stdin.take());
        assert!(folder.remover.wait().unwrap().success());
        assert!(!folder.path().exists());
    }
}
