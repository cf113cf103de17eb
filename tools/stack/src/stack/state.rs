//! The state file: what runs in a folder, for the commands that come after the one that started it.
//!
//! It is written after each change, by the rename of a finished file, and before a server is waited for: whatever
//! ends us, the servers that run are known by it. Who starts a stack holds a lock meanwhile, which the kernel lets go
//! with its process; who looks for one waits for that. Who changes one server holds it for the moment in which the
//! file is read and written.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::plan::AnyPlan;
use crate::deployment;
use crate::process::ProcessId;
use crate::server::Plan as _;

const FILE: &str = "stack.json";
const LOCK: &str = "stack.lock";

/// All that is known of a folder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Whether the folder was made for the stack, and goes with it.
    pub(super) folder_is_ours: bool,
    /// In the order in which they were started.
    pub(super) servers: Vec<Entry>,
}

/// One server.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) plan: AnyPlan,
    /// `None`: it was ended.
    pub(super) process: Option<ProcessId>,
}

impl State {
    /// Takes a folder, made if there is none, for a stack that no other has. Nobody finds it before the returned lock
    /// is dropped.
    pub(super) fn claim(folder: &Path) -> Result<(Self, File)> {
        let folder_is_ours = !folder.exists();
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let taken = || format!("{} has a stack already; `cargo xtask stack down` ends it", folder.display());
        let lock = File::create(folder.join(LOCK)).with_context(|| format!("cannot write to {}", folder.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(taken()),
            Err(TryLockError::Error(error)) => return Err(error).context("cannot lock the stack"),
        }
        let state = Self { folder_is_ours, servers: Vec::new() };
        // It appears whole, and does not replace another: of two that claim a folder, one does.
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer_pretty(&mut new, &state)?;
        match new.persist_noclobber(file(folder)) {
            Ok(_) => Ok((state, lock)),
            Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => bail!(taken()),
            Err(refused) => Err(refused.error).with_context(|| format!("cannot write to {}", folder.display())),
        }
    }

    /// Reads what an earlier command left.
    pub(super) fn load(folder: &Path) -> Result<Self> {
        // Without the file there is no stack, which the next lines say.
        if let Ok(lock) = File::open(folder.join(LOCK)) {
            lock.lock_shared().context("cannot wait for the stack to be started")?;
        }
        Self::read(folder)
    }

    /// Keeps a stack to ourselves until the returned lock is dropped.
    pub(super) fn lock(folder: &Path) -> Result<File> {
        let lock = File::open(folder.join(LOCK)).with_context(|| format!("{} has no stack", folder.display()))?;
        lock.lock().context("cannot lock the stack")?;
        Ok(lock)
    }

    /// Writes down the process of one server.
    pub(super) fn save_process(folder: &Path, name: &str, process: Option<ProcessId>) -> Result<()> {
        let _lock = Self::lock(folder)?;
        let mut state = Self::read(folder)?;
        let entry = state.servers.iter_mut().find(|entry| entry.plan.name() == name);
        entry.with_context(|| format!("{name} is no longer part of the stack"))?.process = process;
        state.save(folder)
    }

    fn read(folder: &Path) -> Result<Self> {
        let text = match fs::read(file(folder)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("{} has no stack", folder.display()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file(folder).display())),
        };
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file(folder).display()))
    }

    /// Writes it for the next command.
    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let new = unfinished(folder);
        fs::write(&new, serde_json::to_vec_pretty(self)?).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(&new, file(folder)).with_context(|| format!("cannot write {}", file(folder).display()))
    }

    /// Removes it, and what the servers wrote.
    pub(super) fn remove(&self, folder: &Path) -> Result<()> {
        for entry in &self.servers {
            remove_folder(entry.plan.folder())?;
        }
        remove_folder(&deployment::keys_folder(folder))?;
        for own in [file(folder), folder.join(LOCK)] {
            fs::remove_file(&own).with_context(|| format!("cannot remove {}", own.display()))?;
        }
        // There only if an `up` was killed while it wrote it.
        let _ = fs::remove_file(unfinished(folder));
        if self.folder_is_ours {
            // Something of another's in it keeps it.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }
}

/// What is being written, and becomes the file as a whole.
fn unfinished(folder: &Path) -> PathBuf {
    folder.join(format!("{FILE}.new"))
}

/// Removes a folder and what is in it, if it is there.
pub(super) fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join(FILE)
}
