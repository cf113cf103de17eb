//! The bytes of a segment file: pure functions, no file and no clock.
//!
//! A segment is a run of blocks of 4096 bytes: one header block, then commits, each starting on a block
//! of its own. What follows the last commit is zero in a new file, and old bytes in a recycled one; those
//! carry another salt, so they are never taken for commits of this segment.
//!
//! ```text
//! segment header, block 0                     commit, block n ..
//! ┌────┬───────────────────────────────┐      ┌────┬────────────────────────────────┐
//! │  0 │ magic  FF 'RWSEG' FE 00       │  8   │  0 │ magic  FF 'RWCMT' FE 00        │  8
//! │  8 │ version                       │  2   │  8 │ version                        │  2
//! │ 10 │ flags: bit 0 = rest was zero  │  2   │ 10 │ zero                           │  2
//! │ 12 │ zero                          │  4   │ 12 │ record count                   │  4
//! │ 16 │ salt                          │  8   │ 16 │ salt of the segment            │  8
//! │ 24 │ number of the first commit    │  8   │ 24 │ commit number                  │  8
//! │ 32 │ ordinal of the first record   │  8   │ 32 │ ordinal of the first record    │  8
//! │ 40 │ zero                          │  4   │ 40 │ payload length                 │  4
//! │ 44 │ CRC-32C of salt, 0..44        │  4   │ 44 │ CRC-32C of salt, 0..44, payload│  4
//! └────┴───────────────────────────────┘      │ 48 │ payload                        │
//!   the rest of the block is zero             │    │ zeros up to a whole block      │
//!                                             └────┴────────────────────────────────┘
//! payload: per record a length (4) and its bytes. All numbers are little-endian.
//! ```
//!
//! Both magics hold 0xFF and 0xFE, which no UTF-8 text contains, so a message body never looks like a
//! header; the random salt keeps even a stored copy of a journal from looking like one.
//!
//! Commit numbers and ordinals rise without holes, over segment borders too. Only one commit is written
//! at a time and the next only after the flush of the last, so at most the last commit of the last
//! segment can be torn; `scan_segment` relies on this to tell a torn tail from damage.

use bytes::{Buf, BufMut, Bytes};
use crc_fast::{CrcAlgorithm, Digest};
use thiserror::Error;

/// The unit of every write: O_DIRECT wants it, and a torn write leaves whole blocks.
pub const BLOCK_BYTES: usize = 4096;
/// The format this code writes, and the newest it reads.
pub const VERSION: u16 = 1;
/// Bytes of a commit's header; the payload follows.
pub const COMMIT_HEADER_BYTES: usize = 48;
/// Bytes in front of each record of a payload.
pub const RECORD_PREFIX_BYTES: usize = 4;

const SEGMENT_MAGIC: [u8; 8] = *b"\xFFRWSEG\xFE\x00";
const COMMIT_MAGIC: [u8; 8] = *b"\xFFRWCMT\xFE\x00";
/// Where the CRC stands in both headers; what lies before it is covered by it.
const CRC_AT: usize = 44;
const FLAG_ZEROED: u16 = 1;

/// The first block of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Random; every commit of the segment repeats it.
    pub salt: u64,
    /// Number of the segment's first commit.
    pub first_commit: u64,
    /// Ordinal of the segment's first record.
    pub first_ordinal: u64,
    /// Whether the rest of the file was zero when the segment was put to use. Else it holds old bytes.
    pub zeroed: bool,
}

/// Why a block is no segment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HeaderFault {
    /// Written by a newer program.
    #[error("format version {0}")]
    NewerVersion(u16),
    /// Not a segment header, or a damaged one.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Why bytes are no commit of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CommitFault {
    /// No commit of this segment starts here: other magic or other salt.
    #[error("no commit starts here")]
    Absent,
    /// A commit of this segment starts here, but not all of it is there or its bytes are wrong.
    #[error("{0}")]
    Broken(&'static str),
}

/// A commit that is whole: its checksum and its records have been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit<'a> {
    /// Its number.
    pub number: u64,
    /// The ordinal of its first record.
    pub first_ordinal: u64,
    /// How many records it holds.
    pub records: u32,
    /// The records, each behind its length.
    pub payload: &'a [u8],
}

impl Commit<'_> {
    /// Whole blocks it takes.
    #[must_use]
    pub fn blocks(&self) -> usize {
        commit_blocks(self.payload.len())
    }
}

/// Blocks that a commit with this payload takes.
#[must_use]
pub fn commit_blocks(payload_bytes: usize) -> usize {
    payload_bytes.saturating_add(COMMIT_HEADER_BYTES).div_ceil(BLOCK_BYTES)
}

/// The CRC-32C (RFC 3720) of the salt and the parts.
fn checksum(salt: u64, parts: [&[u8]; 2]) -> u32 {
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&salt.to_le_bytes());
    for part in parts {
        digest.update(part);
    }
    // A 32-bit CRC in the low half of the crate's common result type.
    (digest.finalize() & u64::from(u32::MAX)) as u32
}

impl SegmentHeader {
    /// The header block.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        block.put_slice(&SEGMENT_MAGIC);
        block.put_u16_le(VERSION);
        block.put_u16_le(if self.zeroed { FLAG_ZEROED } else { 0 });
        block.put_u32_le(0);
        block.put_u64_le(self.salt);
        block.put_u64_le(self.first_commit);
        block.put_u64_le(self.first_ordinal);
        block.put_u32_le(0);
        let crc = checksum(self.salt, [&block, &[]]);
        block.put_u32_le(crc);
        block.resize(BLOCK_BYTES, 0);
        block
    }

    /// Reads a header block.
    ///
    /// # Errors
    /// See [`HeaderFault`]. The version is looked at before the checksum: a newer one may sum otherwise.
    pub fn decode(block: &[u8]) -> Result<Self, HeaderFault> {
        const SHORT: HeaderFault = HeaderFault::Invalid("the segment header is cut short");
        let (covered, mut rest) = block.split_at_checked(CRC_AT).ok_or(SHORT)?;
        let crc = rest.try_get_u32_le().map_err(|_| SHORT)?;
        let mut fields = covered.strip_prefix(&SEGMENT_MAGIC).ok_or(HeaderFault::Invalid("no segment header"))?;
        let version = fields.try_get_u16_le().map_err(|_| SHORT)?;
        if version > VERSION {
            return Err(HeaderFault::NewerVersion(version));
        }
        let flags = fields.try_get_u16_le().map_err(|_| SHORT)?;
        let _zero = fields.try_get_u32_le().map_err(|_| SHORT)?;
        let salt = fields.try_get_u64_le().map_err(|_| SHORT)?;
        let first_commit = fields.try_get_u64_le().map_err(|_| SHORT)?;
        let first_ordinal = fields.try_get_u64_le().map_err(|_| SHORT)?;
        if checksum(salt, [covered, &[]]) != crc {
            return Err(HeaderFault::Invalid("the segment header's checksum is wrong"));
        }
        if version != VERSION {
            return Err(HeaderFault::Invalid("the segment header's version is unknown"));
        }
        Ok(Self { salt, first_commit, first_ordinal, zeroed: flags & FLAG_ZEROED != 0 })
    }
}

/// What a commit's header says beside its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitPlace {
    /// Salt of the segment it goes to.
    pub salt: u64,
    /// Its number.
    pub number: u64,
    /// The ordinal of its first record.
    pub first_ordinal: u64,
}

/// Writes a commit into `out`, which must be the whole blocks it takes; every byte of it is set.
///
/// # Panics
/// If `out` is too small for the records, or there are more than `u32::MAX` records or bytes: the caller
/// has bounded them.
pub fn encode_commit(out: &mut [u8], place: CommitPlace, records: &[Bytes]) {
    let (head, mut body) = out.split_at_mut(COMMIT_HEADER_BYTES);
    let room = body.len();
    for record in records {
        body.put_u32_le(record.len() as u32);
        body.put_slice(record);
    }
    let payload_bytes = room - body.len();
    body.fill(0);

    let mut fields = &mut *head;
    fields.put_slice(&COMMIT_MAGIC);
    fields.put_u16_le(VERSION);
    fields.put_u16_le(0);
    fields.put_u32_le(records.len() as u32);
    fields.put_u64_le(place.salt);
    fields.put_u64_le(place.number);
    fields.put_u64_le(place.first_ordinal);
    fields.put_u32_le(payload_bytes as u32);

    let (head, body) = out.split_at_mut(COMMIT_HEADER_BYTES);
    let (covered, mut crc_field) = head.split_at_mut(CRC_AT);
    let payload = body.get(..payload_bytes).unwrap_or_default();
    crc_field.put_u32_le(checksum(place.salt, [covered, payload]));
}

/// A commit's header as it stands, before anything is believed.
struct RawHeader<'a> {
    covered: &'a [u8],
    records: u32,
    number: u64,
    first_ordinal: u64,
    payload_bytes: usize,
    crc: u32,
}

fn raw_header(bytes: &[u8], salt: u64) -> Option<RawHeader<'_>> {
    let (covered, mut rest) = bytes.split_at_checked(CRC_AT)?;
    let mut fields = covered.strip_prefix(&COMMIT_MAGIC)?;
    let _version = fields.try_get_u16_le().ok()?;
    let _zero = fields.try_get_u16_le().ok()?;
    let records = fields.try_get_u32_le().ok()?;
    if fields.try_get_u64_le().ok()? != salt {
        return None;
    }
    Some(RawHeader {
        covered,
        records,
        number: fields.try_get_u64_le().ok()?,
        first_ordinal: fields.try_get_u64_le().ok()?,
        payload_bytes: fields.try_get_u32_le().ok()? as usize,
        crc: rest.try_get_u32_le().ok()?,
    })
}

/// Reads the commit that starts at the beginning of `bytes`; more may follow it.
///
/// # Errors
/// See [`CommitFault`].
pub fn decode_commit(bytes: &[u8], salt: u64) -> Result<Commit<'_>, CommitFault> {
    let header = raw_header(bytes, salt).ok_or(CommitFault::Absent)?;
    let payload = bytes
        .get(COMMIT_HEADER_BYTES..)
        .and_then(|rest| rest.get(..header.payload_bytes))
        .ok_or(CommitFault::Broken("the commit reaches past the end of the segment"))?;
    if checksum(salt, [header.covered, payload]) != header.crc {
        return Err(CommitFault::Broken("the commit's checksum is wrong"));
    }
    let mut lengths = RecordRanges { payload, at: 0 };
    let counted = lengths.by_ref().count();
    if lengths.at != payload.len() || u32::try_from(counted) != Ok(header.records) {
        return Err(CommitFault::Broken("the commit's records do not add up"));
    }
    if header.first_ordinal.checked_add(u64::from(header.records)).is_none() || header.number == u64::MAX {
        return Err(CommitFault::Broken("the commit's numbers overflow"));
    }
    Ok(Commit { number: header.number, first_ordinal: header.first_ordinal, records: header.records, payload })
}

/// The byte ranges of a payload's records, in order; ends early where the payload is malformed.
#[must_use]
pub fn record_ranges(payload: &[u8]) -> RecordRanges<'_> {
    RecordRanges { payload, at: 0 }
}

/// See [`record_ranges`].
#[derive(Debug)]
pub struct RecordRanges<'a> {
    payload: &'a [u8],
    at: usize,
}

impl Iterator for RecordRanges<'_> {
    type Item = std::ops::Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.payload.get(self.at..)?;
        let length = rest.try_get_u32_le().ok()? as usize;
        let start = self.at.checked_add(RECORD_PREFIX_BYTES)?;
        let end = start.checked_add(length)?;
        if end > self.payload.len() {
            return None;
        }
        self.at = end;
        Some(start..end)
    }
}

/// Where a commit lies in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedCommit {
    /// The ordinal of its first record.
    pub first_ordinal: u64,
    /// Its first block, counted from the start of the file.
    pub block: u32,
    /// How many blocks it takes.
    pub blocks: u32,
}

/// What a segment file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentScan {
    /// Its commits in order; numbers count on from the header's `first_commit`.
    pub commits: Vec<PlacedCommit>,
    /// The block after the last commit.
    pub end_block: u32,
    /// The number the next commit will get.
    pub next_commit: u64,
    /// The ordinal the next record will get.
    pub next_ordinal: u64,
    /// Bytes of a commit that was begun at `end_block` and never finished; 0 if there is none, or if not
    /// even its first block reached the disk.
    pub torn_bytes: u64,
    /// Why nothing valid stands at `end_block`, for a message if something should.
    pub end_because: &'static str,
}

/// Bytes that are neither a run of commits nor such a run with a torn one at its end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("byte {offset}: {what}")]
pub struct Damage {
    /// Where, from the start of the file.
    pub offset: u64,
    /// What was expected and is not there.
    pub what: String,
}

/// Reads a whole segment file behind its header. A last, partial block is ignored.
///
/// # Errors
/// [`Damage`] if anything of this segment stands after the first commit that is not valid: commits are
/// flushed one by one, so such a commit had been durable.
pub fn scan_segment(header: &SegmentHeader, file: &[u8]) -> Result<SegmentScan, Damage> {
    let whole = file.len() - file.len() % BLOCK_BYTES;
    let file = file.get(..whole).unwrap_or_default();
    let mut scan = SegmentScan {
        commits: Vec::new(),
        end_block: 1,
        next_commit: header.first_commit,
        next_ordinal: header.first_ordinal,
        torn_bytes: 0,
        end_because: "the segment is full",
    };
    loop {
        let offset = scan.end_block as usize * BLOCK_BYTES;
        let rest = file.get(offset..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(scan);
        }
        match decode_commit(rest, header.salt) {
            Ok(commit) if commit.number != scan.next_commit || commit.first_ordinal != scan.next_ordinal => {
                return Err(Damage {
                    offset: offset as u64,
                    what: format!(
                        "commit {} of record {} stands where commit {} of record {} should",
                        commit.number, commit.first_ordinal, scan.next_commit, scan.next_ordinal
                    ),
                });
            }
            Ok(commit) => {
                let blocks = commit.blocks() as u32;
                scan.commits.push(PlacedCommit { first_ordinal: scan.next_ordinal, block: scan.end_block, blocks });
                scan.end_block += blocks;
                scan.next_commit += 1;
                scan.next_ordinal += u64::from(commit.records);
            }
            Err(fault) => {
                scan.end_because = match fault {
                    CommitFault::Absent => "no commit starts here",
                    CommitFault::Broken(what) => what,
                };
                scan.torn_bytes = torn_bytes(header, &scan, rest)?;
                return Ok(scan);
            }
        }
    }
}

/// What of `rest`, which does not start with a valid commit, belongs to a commit that was never finished.
fn torn_bytes(header: &SegmentHeader, scan: &SegmentScan, rest: &[u8]) -> Result<u64, Damage> {
    for (blocks, block) in rest.chunks(BLOCK_BYTES).enumerate().skip(1) {
        if let Some(later) = raw_header(block, header.salt) {
            return Err(Damage {
                offset: (scan.end_block as usize * BLOCK_BYTES) as u64,
                what: format!(
                    "commit {} is not valid ({}), but commit {} stands {} bytes after it",
                    scan.next_commit,
                    scan.end_because,
                    later.number,
                    blocks * BLOCK_BYTES
                ),
            });
        }
    }
    let claimed = raw_header(rest, header.salt).map_or(0, |torn| commit_blocks(torn.payload_bytes) * BLOCK_BYTES);
    let written = if header.zeroed {
        let zeros = rest.rchunks(BLOCK_BYTES).take_while(|block| block.iter().all(|byte| *byte == 0)).count();
        rest.len() - zeros * BLOCK_BYTES
    } else {
        claimed
    };
    Ok(written.min(rest.len()) as u64)
}
