//! The journal's folder: file names, the lock, making and removing segment files.
//!
//! Blocking file calls only; whoever calls them says on which thread. A segment file passes through three
//! names, and each rename is followed by a flush of the folder:
//!
//! ```text
//! making.tmp ──prewritten, flushed──► spare.tmp ──header written, flushed──► 00000000000000001234.seg
//!                                        ▲                                            │
//!                                        └──────────────── released ──────────────────┴──► removed
//! ```

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::error::OpenError;

const LOCK_NAME: &str = "journal.lock";
const MAKING_NAME: &str = "making.tmp";
const SPARE_NAME: &str = "spare.tmp";
const SEGMENT_EXTENSION: &str = "seg";
/// Prewriting flushes after each piece, so that a commit's flush never waits behind a whole segment.
const PREWRITE_PIECE_BYTES: usize = 256 * 1024;
/// How much longer than a piece takes the disk is left alone after it.
const PREWRITE_PAUSES: u32 = 4;

/// The name of the segment that starts with this ordinal.
pub(crate) fn segment_path(folder: &Path, first_ordinal: u64) -> PathBuf {
    folder.join(format!("{first_ordinal:020}.{SEGMENT_EXTENSION}"))
}

/// Where the spare file waits.
pub(crate) fn spare_path(folder: &Path) -> PathBuf {
    folder.join(SPARE_NAME)
}

/// The segment files of a folder with the ordinals their names say, in order.
pub(crate) fn list_segments(folder: &Path) -> Result<Vec<(u64, PathBuf)>, OpenError> {
    let failed = |source| OpenError::Io { what: "listing", path: folder.to_path_buf(), source };
    let mut segments = Vec::new();
    for entry in folder.read_dir().map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_none_or(|extension| extension != SEGMENT_EXTENSION) {
            continue;
        }
        let ordinal = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        match ordinal {
            Some(ordinal) if path == segment_path(folder, ordinal) => segments.push((ordinal, path)),
            _ => {
                return Err(OpenError::Damaged {
                    file: path,
                    offset: 0,
                    what: "a segment's name must be the ordinal of its first record, in 20 digits".into(),
                });
            }
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Makes the folder if need be and takes its lock, which lasts as long as the file returned.
pub(crate) fn lock(folder: &Path) -> Result<File, OpenError> {
    std::fs::create_dir_all(folder).map_err(|source| OpenError::Io {
        what: "making the folder",
        path: folder.to_path_buf(),
        source,
    })?;
    let path = folder.join(LOCK_NAME);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(|source| OpenError::Io { what: "opening", path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(folder.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { what: "locking", path, source }),
    }
}

/// Flushes the folder's list of names.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes a spare file of `bytes` zeros, so that later writes into it change no metadata. On failure
/// nothing stays behind. `stop` ends it early with `Interrupted`.
pub(crate) fn make_spare(folder: &Path, bytes: u64, demand: &Demand) -> io::Result<()> {
    let making = folder.join(MAKING_NAME);
    let made = prewrite(&making, bytes, demand)
        .and_then(|()| std::fs::rename(&making, spare_path(folder)))
        .and_then(|()| sync(folder));
    if made.is_err() {
        remove_if_there(&making)?;
    }
    made
}

/// What the rest of the journal wants of a prewrite under way.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// The journal ends: no more is needed.
    pub(crate) stop: AtomicBool,
    /// Somebody waits for the file.
    pub(crate) hurry: AtomicBool,
}

fn prewrite(path: &Path, bytes: u64, demand: &Demand) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    // Asks for the whole room first: a full disk says so at once, not after most of it was written.
    match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
        Ok(()) | Err(Errno::OPNOTSUPP) => {}
        Err(error) => return Err(error.into()),
    }
    let zeros = vec![0; PREWRITE_PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        if demand.stop.load(Ordering::Relaxed) {
            return Err(ErrorKind::Interrupted.into());
        }
        let began = Instant::now();
        let piece = usize::try_from(left).map_or(PREWRITE_PIECE_BYTES, |left| left.min(PREWRITE_PIECE_BYTES));
        file.write_all(zeros.get(..piece).unwrap_or(&zeros))?;
        file.sync_data()?;
        left -= piece as u64;
        if left > 0 && !demand.hurry.load(Ordering::Relaxed) {
            // A commit that is flushed meanwhile waits for this piece too; most find the disk free.
            std::thread::sleep(began.elapsed() * PREWRITE_PAUSES);
        }
    }
    file.sync_all()
}

/// Puts a released segment aside as the spare.
pub(crate) fn recycle(folder: &Path, segment: &Path) -> io::Result<()> {
    std::fs::rename(segment, spare_path(folder))?;
    sync(folder)
}

/// Gives the spare, whose header has been written and flushed, its name as a segment.
pub(crate) fn activate(folder: &Path, first_ordinal: u64) -> io::Result<PathBuf> {
    let path = segment_path(folder, first_ordinal);
    std::fs::rename(spare_path(folder), &path)?;
    sync(folder)?;
    Ok(path)
}

/// Removes a released segment; the folder is flushed by the caller, once for several.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Clears what an earlier run left half made, and tells whether a spare of the right size is there.
pub(crate) fn tidy(folder: &Path, segment_bytes: u64) -> io::Result<bool> {
    remove_if_there(&folder.join(MAKING_NAME))?;
    let spare = spare_path(folder);
    match std::fs::metadata(&spare) {
        Ok(metadata) if metadata.is_file() && metadata.len() == segment_bytes => Ok(true),
        Ok(_) => remove_if_there(&spare).map(|()| false),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether an error says that there is no room, rather than that the disk is broken.
pub(crate) fn means_full(raw_os_error: Option<i32>) -> bool {
    let errno = raw_os_error.map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
}
