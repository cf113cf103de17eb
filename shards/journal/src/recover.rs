//! What a folder holds at start: reads every segment, checks every commit, cuts a torn tail.
//!
//! Runs on the journal thread before its executor starts, with blocking reads; memory is one segment's
//! bytes. Nothing on disk changes unless the whole folder is sound.
//!
//! Invariants it checks: segment names and headers agree; commit numbers and ordinals run on without a
//! hole from the first commit of the first segment to the end; nothing valid follows the end. A segment
//! gets its name only after the last commit before it was flushed, so only the last segment has a tail.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::codec::{BLOCK_BYTES, HeaderFault, PlacedCommit, SegmentHeader, SegmentScan, VERSION, scan_segment};
use crate::config::{FIRST_SEGMENT_BYTES_MAX, JournalConfig};
use crate::error::OpenError;
use crate::folder::{self, Demand};

/// What was found when the journal was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The first ordinal that can be read: whole segments are kept, so it may lie below what was released.
    pub first: u64,
    /// The ordinal the next record gets.
    pub end: u64,
    /// Bytes of a torn, never acknowledged commit that were cut off the end.
    pub cut_bytes: u64,
    /// Segment files.
    pub segments: usize,
    /// Commits read and checked.
    pub commits: u64,
}

/// One segment as found on disk.
#[derive(Debug)]
pub(crate) struct FoundSegment {
    pub(crate) path: PathBuf,
    pub(crate) header: SegmentHeader,
    pub(crate) file_blocks: u32,
    pub(crate) end_block: u32,
    pub(crate) commits: Vec<PlacedCommit>,
}

/// A sound folder: at least one segment, and where to go on.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) segments: Vec<FoundSegment>,
    pub(crate) next_commit: u64,
    pub(crate) next_ordinal: u64,
    pub(crate) cut_bytes: u64,
    pub(crate) has_spare: bool,
}

impl Found {
    pub(crate) fn summary(&self) -> Recovery {
        Recovery {
            first: self.segments.first().map_or(self.next_ordinal, |segment| segment.header.first_ordinal),
            end: self.next_ordinal,
            cut_bytes: self.cut_bytes,
            segments: self.segments.len(),
            commits: self.segments.iter().map(|segment| segment.commits.len() as u64).sum(),
        }
    }
}

/// Reads the folder, which the caller has locked, and makes its first segment if there is none.
pub(crate) fn recover(config: &JournalConfig) -> Result<Found, OpenError> {
    let io_error = |what, path: &Path| {
        let path = path.to_path_buf();
        move |source| OpenError::Io { what, path, source }
    };
    let mut names = folder::list_segments(&config.folder)?;
    if names.is_empty() {
        let path = make_first_segment(config).map_err(io_error("making the first segment in", &config.folder))?;
        names.push((0, path));
    }
    let mut found = Found { segments: Vec::new(), next_commit: 0, next_ordinal: 0, cut_bytes: 0, has_spare: false };
    let mut before: Option<(PathBuf, SegmentScan)> = None;
    let mut bytes = Vec::new();
    let mut file_bytes = 0;
    for (name_ordinal, path) in names {
        bytes.clear();
        let read = File::open(&path).and_then(|mut file| file.read_to_end(&mut bytes));
        file_bytes = read.map_err(io_error("reading", &path))?;
        let header = read_header(&path, name_ordinal, &bytes)?;
        if let Some((before_path, scan)) = &before {
            check_joined(before_path, scan, &path, &header)?;
        }
        let scan = scan_segment(&header, &bytes).map_err(|damage| OpenError::Damaged {
            file: path.clone(),
            offset: damage.offset,
            what: damage.what,
        })?;
        let file_blocks = u32::try_from(file_bytes / BLOCK_BYTES).unwrap_or(u32::MAX);
        found.segments.push(FoundSegment {
            path: path.clone(),
            header,
            file_blocks,
            end_block: scan.end_block,
            commits: scan.commits.clone(),
        });
        before = Some((path, scan));
    }
    if let Some((path, scan)) = &before {
        found.next_commit = scan.next_commit;
        found.next_ordinal = scan.next_ordinal;
        found.cut_bytes = scan.torn_bytes;
        cut_tail(path, scan, file_bytes).map_err(io_error("cutting the torn tail of", path))?;
    }
    found.has_spare =
        folder::tidy(&config.folder, config.segment_bytes).map_err(io_error("tidying", &config.folder))?;
    Ok(found)
}

fn make_first_segment(config: &JournalConfig) -> io::Result<PathBuf> {
    let bytes = config.segment_bytes.min(FIRST_SEGMENT_BYTES_MAX);
    let demand = Demand { hurry: AtomicBool::new(true), ..Demand::default() };
    folder::make_spare(&config.folder, bytes, &demand)?;
    let header = SegmentHeader { salt: new_salt()?, first_commit: 0, first_ordinal: 0, zeroed: true };
    let file = OpenOptions::new().write(true).open(folder::spare_path(&config.folder))?;
    file.write_all_at(&header.encode(), 0)?;
    file.sync_all()?;
    folder::activate(&config.folder, 0)
}

/// A salt for a segment that is being put to use.
pub(crate) fn new_salt() -> io::Result<u64> {
    getrandom::u64().map_err(|error| io::Error::other(error.to_string()))
}

fn read_header(path: &Path, name_ordinal: u64, bytes: &[u8]) -> Result<SegmentHeader, OpenError> {
    let damaged = |what: String| OpenError::Damaged { file: path.to_path_buf(), offset: 0, what };
    let block = bytes.get(..BLOCK_BYTES).ok_or_else(|| damaged("the file is shorter than its header".into()))?;
    let header = SegmentHeader::decode(block).map_err(|fault| match fault {
        HeaderFault::NewerVersion(found) => OpenError::NewerVersion { file: path.to_path_buf(), found, known: VERSION },
        HeaderFault::Invalid(what) => damaged(what.into()),
    })?;
    if header.first_ordinal != name_ordinal {
        return Err(damaged(format!("its header says that it starts with record {}", header.first_ordinal)));
    }
    Ok(header)
}

/// Checks that `next` goes on where the segment before it ends.
fn check_joined(path: &Path, scan: &SegmentScan, next: &Path, header: &SegmentHeader) -> Result<(), OpenError> {
    if header.first_ordinal == scan.next_ordinal && header.first_commit == scan.next_commit {
        return Ok(());
    }
    let offset = u64::from(scan.end_block) * BLOCK_BYTES as u64;
    let what = format!(
        "ends before commit {} of record {} ({}), but {} starts with commit {} of record {}: \
         its end or a segment between them is gone",
        scan.next_commit,
        scan.next_ordinal,
        scan.end_because,
        next.display(),
        header.first_commit,
        header.first_ordinal
    );
    Err(OpenError::Damaged { file: path.to_path_buf(), offset, what })
}

/// Zeroes the torn commit and any partial block, then flushes: commits that a killed process wrote but
/// did not flush are about to be believed.
fn cut_tail(path: &Path, scan: &SegmentScan, file_bytes: usize) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let partial = file_bytes % BLOCK_BYTES;
    if partial != 0 {
        file.set_len((file_bytes - partial) as u64)?;
    }
    if scan.torn_bytes > 0 {
        let torn = usize::try_from(scan.torn_bytes).unwrap_or(0);
        file.write_all_at(&vec![0; torn], u64::from(scan.end_block) * BLOCK_BYTES as u64)?;
    }
    file.sync_all()
}
