//! The data folder: what its file system can do, who serves it, how much room it has.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ringway_journal::{Unsupported, check_support};

use super::finding::{Finding, bytes};
use crate::address_file::holder;
use crate::config::Config;

/// `f_type` of tmpfs.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Tries what the event log does: a direct write, and its rings.
pub(super) fn journal(config: &Config) -> Finding {
    let name = "journal";
    let folder = existing(&config.data.folder);
    match check_support(&config.data.folder.join("journal")) {
        Ok(()) if on_tmpfs(folder) => {
            let text = "the data folder lies in memory (tmpfs) and is lost with the machine: put it on a disk";
            Finding::warn(name, text)
        }
        Ok(()) => Finding::ok(name, format!("{} takes O_DIRECT, and its rings start", folder.display())),
        Err(error @ Unsupported::Folder { .. }) => {
            Finding::fail(name, format!("{error}: check data.folder and its owner"))
        }
        Err(error) => Finding::fail(name, error.to_string()),
    }
}

/// Who serves the folder, and who else may read it.
pub(super) fn data(config: &Config) -> Finding {
    let name = "data";
    let folder = &config.data.folder;
    let shown = folder.display();
    if !folder.exists() {
        return Finding::ok(name, format!("{shown} will be made"));
    }
    let mode = folder.metadata().map_or(0, |metadata| metadata.permissions().mode() & 0o777);
    if mode & 0o077 != 0 {
        let text = format!("{shown} is open to other users (mode {mode:03o}): `chmod 700` it, it holds the token key");
        return Finding::warn(name, text);
    }
    match holder(folder) {
        Some(pid) => Finding::ok(name, format!("{shown} is served by process {pid}")),
        None => Finding::ok(name, format!("{shown} is free")),
    }
}

pub(super) fn disk(config: &Config) -> Finding {
    let name = "disk";
    let folder = existing(&config.data.folder);
    match rustix::fs::statvfs(folder) {
        Ok(stat) => judge_disk(stat.f_bavail.saturating_mul(stat.f_frsize), config),
        Err(error) => Finding::fail(name, format!("{}: {error}: check data.folder", folder.display())),
    }
}

fn judge_disk(free: u64, config: &Config) -> Finding {
    let name = "disk";
    let (least, journal) = (2 * config.journal.segment_bytes, config.journal.journal_bytes_max);
    let found = format!("{} free", bytes(free));
    if free < least {
        Finding::fail(name, format!("{found}: the event log needs {}: make room", bytes(least)))
    } else if free < journal {
        let text = format!("{found}, journal.journal_bytes_max is {}: make room, or lower the key", bytes(journal));
        Finding::warn(name, text)
    } else {
        Finding::ok(name, found)
    }
}

/// The folder, or the nearest one above it that is there.
fn existing(folder: &Path) -> &Path {
    let named = |path: &&Path| !path.as_os_str().is_empty() && path.is_dir();
    folder.ancestors().find(named).unwrap_or(Path::new("."))
}

fn on_tmpfs(folder: &Path) -> bool {
    rustix::fs::statfs(folder).is_ok_and(|stat| stat.f_type as u64 == TMPFS_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    #[test]
    fn room_on_the_disk_is_judged_by_the_event_log() {
        let config = Config::default();
        let check = |free, level| assert_eq!(judge_disk(free, &config).level, level, "{free}");
        check(1 << 20, Level::Fail);
        check(1 << 30, Level::Warn);
        check(1 << 40, Level::Ok);
    }

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        assert_eq!(existing(Path::new("no-such-folder")), Path::new("."));
    }
}
