//! The data folder: made private, and served by one process at a time.
//!
//! The lock is the kernel's (on the open file), so it ends with its process however that ends; the
//! process id in the file is only for the message.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why the folder cannot be used.
#[derive(Debug, Error)]
pub enum FolderError {
    /// Somebody serves it.
    #[error("{folder} is in use by process {holder}", folder = folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process that holds it, as far as its lock file tells.
        holder: String,
    },
    /// The file system refused.
    #[error("{path}: {error}", path = path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

impl FolderError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), error }
    }
}

/// Makes the folder (mode 0700) unless it is there.
pub(super) fn make(folder: &Path) -> Result<(), FolderError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| FolderError::io(folder, error))
}

/// The right to serve a data folder.
#[derive(Debug)]
pub struct FolderLock {
    file: File,
}

impl FolderLock {
    /// Makes the folder when it is missing and takes the lock.
    ///
    /// # Errors
    /// [`FolderError::InUse`] names the process that has it.
    pub fn take(folder: &Path) -> Result<Self, FolderError> {
        make(folder)?;
        let path = folder.join("lock");
        let failed = |error| FolderError::io(&path, error);
        let mut file =
            File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Whoever holds it may be about to write its id.
                let _ = file.read_to_string(&mut holder);
                let holder = if holder.trim().is_empty() { "unknown".to_owned() } else { holder.trim().to_owned() };
                return Err(FolderError::InUse { folder: folder.to_path_buf(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { file })
    }

    /// Lets the folder go before the value is dropped.
    pub(super) fn release(&self) {
        // The lock ends with the file at the latest.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_is_served_once_and_says_by_whom() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/data");
        let lock = FolderLock::take(&folder).unwrap();
        assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let refused = FolderLock::take(&folder).unwrap_err().to_string();
        assert!(refused.ends_with(&format!("is in use by process {}", std::process::id())), "{refused}");
        drop(lock);
        FolderLock::take(&folder).unwrap();
    }
}
