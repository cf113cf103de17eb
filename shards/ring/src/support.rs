//! Whether this kernel lets us run a shard, and what to do when it does not.
//!
//! Owns nothing: it sets up a ring of a few entries, with its table and buffers, and drops it. Runs on any thread.

use std::io;

use crate::driver::Driver;
use crate::sockets::Sockets;

/// The set-up of every shard's ring.
///
/// `SINGLE_ISSUER`: only the shard's thread submits. `DEFER_TASKRUN`: completions are worked off when
/// the thread asks for them, not in the middle of its work; measured at 0.85 of the default's cost.
pub(crate) fn ring_builder() -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun();
    builder
}

/// What [`check_support`] found on a machine that can run shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Support {
    /// The kernel's release, as `uname -r` says it.
    pub kernel: String,
    /// The ring's set-up flags that shards use, all of them accepted by this kernel.
    pub flags: &'static [&'static str],
}

/// Why shards cannot run here: a sentence for an operator, with what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("io_uring cannot be used (kernel {kernel}): {reason}. {remedy}.")]
pub struct Unsupported {
    /// The kernel's release, as `uname -r` says it.
    pub kernel: String,
    /// What the kernel said, in words.
    pub reason: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Unsupported {
    /// Puts the error of a failed ring set-up into words.
    pub(crate) fn from_setup(error: &io::Error) -> Self {
        let (reason, remedy) = match error.raw_os_error() {
            Some(libc::ENOSYS) => {
                ("the kernel was built without io_uring".to_owned(), "Use Linux 6.1 or newer with CONFIG_IO_URING")
            }
            Some(libc::EPERM | libc::EACCES) => (
                forbidden(),
                "Set `sysctl kernel.io_uring_disabled=0`, and in a container allow io_uring_setup, \
                 io_uring_enter and io_uring_register in its seccomp profile",
            ),
            Some(libc::EINVAL) => {
                ("the kernel does not know SINGLE_ISSUER and DEFER_TASKRUN".to_owned(), "Use Linux 6.1 or newer")
            }
            Some(libc::ENOMEM) => (
                "not enough memory may be locked for the ring".to_owned(),
                "Raise RLIMIT_MEMLOCK to 8 MiB or more (LimitMEMLOCK= in the unit file)",
            ),
            Some(libc::EMFILE | libc::ENFILE) => (
                "no file descriptor is left for the ring".to_owned(),
                "Raise RLIMIT_NOFILE (LimitNOFILE= in the unit file)",
            ),
            _ => (error.to_string(), "See io_uring_setup(2) for this error"),
        };
        Self { kernel: kernel_release(), reason, remedy }
    }
}

/// Tries the very set-up that a shard uses, on a small ring.
///
/// # Errors
///
/// [`Unsupported`] says why in one sentence, and what to do.
pub fn check_support() -> Result<Support, Unsupported> {
    // In this order they are dropped: what the ring uses goes after it.
    let set_up = || Driver::new(8).and_then(|driver| Sockets::new(&driver).map(|sockets| (driver, sockets)));
    match set_up() {
        Ok(_ring) => Ok(Support { kernel: kernel_release(), flags: &["SINGLE_ISSUER", "DEFER_TASKRUN"] }),
        Err(error) => Err(Unsupported::from_setup(&error)),
    }
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "of unknown release".to_owned(), |release| release.trim().to_owned())
}

fn forbidden() -> String {
    match std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").as_deref().map(str::trim) {
        Ok("2") => "kernel.io_uring_disabled is 2, which forbids it to everyone".to_owned(),
        Ok("1") => "kernel.io_uring_disabled is 1, which forbids it to processes without CAP_SYS_ADMIN".to_owned(),
        _ => "it is forbidden to this process, probably by a seccomp profile".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_ring_is_explained_with_a_remedy() {
        let check = |code: i32, reason: &str, remedy: &str| {
            let told = Unsupported::from_setup(&io::Error::from_raw_os_error(code)).to_string();
            assert!(told.contains(reason) && told.contains(remedy), "{told}");
        };
        check(libc::ENOSYS, "without io_uring", "6.1");
        check(libc::EPERM, "forbid", "seccomp");
        check(libc::EINVAL, "DEFER_TASKRUN", "6.1");
        check(libc::ENOMEM, "memory", "RLIMIT_MEMLOCK");
        check(libc::EMFILE, "descriptor", "RLIMIT_NOFILE");
    }

    #[test]
    fn a_machine_that_runs_the_tests_is_supported() {
        let support = check_support().unwrap();
        assert!(support.kernel.starts_with(|c: char| c.is_ascii_digit()), "{support:?}");
    }
}
