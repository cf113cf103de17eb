//! Where a running node is reached: the ready line on standard output, and `ringway.json` in its data
//! folder for the tools.
//!
//! The file is there while a node serves. One that was killed leaves it behind, so readers ask whether
//! its process still holds the folder.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE_NAME: &str = "ringway.json";

/// Addresses of a node, as URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// WebSocket.
    pub(crate) ws: String,
    /// HTTP API.
    pub(crate) api: String,
    /// Admin listener.
    pub(crate) admin: String,
    /// Chat page.
    pub(crate) page: String,
    /// Conformance echo, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) conformance_echo: Option<String>,
}

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressFile {
    /// The process that serves.
    pub(crate) pid: u32,
    /// Where.
    pub(crate) ready: Addresses,
}

impl AddressFile {
    /// Writes the file whole, or not at all.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let temporary = folder.join(format!("{FILE_NAME}.new"));
        std::fs::write(&temporary, serde_json::to_vec_pretty(self).map_err(io::Error::other)?)?;
        std::fs::rename(temporary, path(folder))
    }

    /// The node that serves the folder now, if one does and is ready.
    pub(crate) fn of_running(folder: &Path) -> Option<Self> {
        let file: Self = serde_json::from_slice(&std::fs::read(path(folder)).ok()?).ok()?;
        (holder(folder) == Some(file.pid)).then_some(file)
    }

    /// Removes the file; none is as good.
    pub(crate) fn remove(folder: &Path) {
        let _ = std::fs::remove_file(path(folder));
    }
}

/// The process that holds the folder's lock; 0 when it does not say.
pub(crate) fn holder(folder: &Path) -> Option<u32> {
    let path = folder.join("lock");
    let file = File::open(&path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            Some(text.trim().parse().unwrap_or(0))
        }
        // Ours is given back with the file.
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(FILE_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses {
            ws: "ws://127.0.0.1:1/v1/ws".into(),
            api: "http://127.0.0.1:2".into(),
            admin: "http://127.0.0.1:3".into(),
            page: "http://127.0.0.1:2/".into(),
            conformance_echo: None,
        }
    }

    #[test]
    fn the_ready_line_is_one_object_on_one_line() {
        let expected = r#"{"ready":{"ws":"ws://127.0.0.1:1/v1/ws","api":"http://127.0.0.1:2","admin":"http://127.0.0.1:3","page":"http://127.0.0.1:2/"}}"#;
        assert_eq!(ringway_service::ready::line(&addresses()), expected);
    }

    #[test]
    fn the_file_counts_only_while_its_process_holds_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let written = AddressFile { pid: 7, ready: addresses() };
        written.write(folder.path()).unwrap();
        assert_eq!(AddressFile::of_running(folder.path()), None);
        let lock = folder.path().join("lock");
        std::fs::write(&lock, "7\n").unwrap();
        assert_eq!(AddressFile::of_running(folder.path()), None, "nobody holds it");
        let held = File::open(&lock).unwrap();
        held.lock().unwrap();
        assert_eq!(AddressFile::of_running(folder.path()), Some(written));
        std::fs::write(&lock, "8\n").unwrap();
        assert_eq!(AddressFile::of_running(folder.path()), None, "another one serves now");
        AddressFile::remove(folder.path());
        assert!(!folder.path().join(FILE_NAME).exists());
    }
}
