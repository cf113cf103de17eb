//! Whether this machine and this file system can carry a journal, and what to do if not.
//!
//! Blocking, for start and for `doctor`. Tries the real thing rather than asking for versions: a file
//! opened with O_DIRECT and written, an executor with its rings.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use glommio::GlommioError;
use rustix::fs::OFlags;
use rustix::io::Errno;
use thiserror::Error;

use crate::codec::BLOCK_BYTES;
use crate::thread::executor;

/// `f_type` of tmpfs, where there is no disk to write to directly and the journal does without.
const TMPFS_MAGIC: u64 = 0x0102_1994;
const DISABLED_PATH: &str = "/proc/sys/kernel/io_uring_disabled";

/// What is missing.
#[derive(Debug, Error)]
pub enum Unsupported {
    /// The file system does not take O_DIRECT.
    #[error(
        "the file system under {folder} does not take O_DIRECT writes ({source}): \
         put the journal on ext4, xfs or another local disk file system"
    )]
    DirectIo {
        /// Where it was tried.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No file can be made there.
    #[error("no file can be written in {folder}: {source}")]
    Folder {
        /// Where it was tried.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system administrator has switched io_uring off.
    #[error(
        "io_uring is switched off (kernel.io_uring_disabled = {value}): \
         set it to 0 with `sysctl kernel.io_uring_disabled=0`"
    )]
    IoUringDisabled {
        /// The value of the sysctl.
        value: String,
    },
    /// A sandbox forbids io_uring.
    #[error(
        "io_uring is forbidden here ({0}): a seccomp filter or security module denies it; containers need \
         a profile that allows io_uring_setup, io_uring_enter and io_uring_register"
    )]
    IoUringForbidden(String),
    /// The kernel has no io_uring.
    #[error("this kernel has no io_uring ({0}): Linux 5.11 or newer is needed, built with CONFIG_IO_URING")]
    IoUringMissing(String),
    /// Too little memory may be locked.
    #[error(
        "io_uring may not lock enough memory ({0}): raise RLIMIT_MEMLOCK to 8 MiB (`ulimit -l 8192`, \
         LimitMEMLOCK=8M in a unit)"
    )]
    LockedMemory(String),
    /// Something else kept the executor from starting.
    #[error("the journal's executor does not start: {0}")]
    Executor(String),
}

impl Unsupported {
    /// Says what a failed start of the executor means.
    pub(crate) fn from_executor(error: &GlommioError<()>) -> Self {
        let text = error.to_string();
        if matches!(error, GlommioError::ReactorError(_)) {
            return Self::LockedMemory(text);
        }
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::PERM | Errno::ACCESS) => match std::fs::read_to_string(DISABLED_PATH) {
                Ok(value) if value.trim() != "0" => Self::IoUringDisabled { value: value.trim().into() },
                _ => Self::IoUringForbidden(text),
            },
            Some(Errno::NOSYS) => Self::IoUringMissing(text),
            Some(Errno::NOMEM) => Self::LockedMemory(text),
            _ => Self::Executor(text),
        }
    }
}

/// Checks that a journal can run in `folder`, or in the nearest folder above it that exists. Leaves
/// nothing behind.
///
/// # Errors
/// What is missing and what to do about it.
pub fn check_support(folder: &Path) -> Result<(), Unsupported> {
    let existing = folder.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    check_direct_io(existing)?;
    // On a thread of its own: the caller may be inside an executor, and glommio may panic where a kernel
    // lacks an operation that it takes for granted.
    let probe = std::thread::Builder::new().name("journal-check".into()).spawn(|| executor().map(drop));
    match probe.map(std::thread::JoinHandle::join) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Unsupported::Executor("glommio panicked while it started".into())),
        Err(error) => Err(Unsupported::Executor(format!("starting a thread: {error}"))),
    }
}

/// Writes one block with O_DIRECT into a file that has no name afterwards.
pub(crate) fn check_direct_io(folder: &Path) -> Result<(), Unsupported> {
    let folder_error = |source| Unsupported::Folder { folder: folder.to_path_buf(), source };
    let path = folder.join(format!(".journal-check-{}", std::process::id()));
    std::fs::write(&path, b"").map_err(folder_error)?;
    let opened = OpenOptions::new().write(true).custom_flags(OFlags::DIRECT.bits() as i32).open(&path);
    let written = opened.and_then(|file| {
        let buffer = vec![0; 2 * BLOCK_BYTES];
        let skip = buffer.as_ptr().align_offset(BLOCK_BYTES);
        file.write_all_at(buffer.get(skip..skip + BLOCK_BYTES).unwrap_or_default(), 0)
    });
    std::fs::remove_file(&path).map_err(folder_error)?;
    match written {
        Err(source) if !on_tmpfs(folder) => match Errno::from_io_error(&source) {
            Some(Errno::INVAL | Errno::OPNOTSUPP) => {
                Err(Unsupported::DirectIo { folder: folder.to_path_buf(), source })
            }
            // No room is a state that passes, not a lack of support.
            Some(Errno::NOSPC | Errno::DQUOT) => Ok(()),
            _ => Err(folder_error(source)),
        },
        _ => Ok(()),
    }
}

fn on_tmpfs(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|stat| stat.f_type as u64 == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(errno: Errno, expected: &str) {
        let error = GlommioError::IoError(io::Error::from(errno));
        let text = Unsupported::from_executor(&error).to_string();
        assert!(text.contains(expected), "{errno:?}: {text}");
    }

    #[test]
    fn a_refused_executor_says_what_to_do() {
        check(Errno::NOSYS, "no io_uring");
        check(Errno::NOMEM, "RLIMIT_MEMLOCK");
        check(Errno::PERM, "io_uring is");
        check(Errno::MFILE, "does not start");
    }

    #[test]
    fn a_folder_that_takes_no_file_is_named() {
        let error = check_direct_io(Path::new("/proc/self")).unwrap_err();
        assert!(matches!(error, Unsupported::Folder { .. }), "{error}");
    }
}
