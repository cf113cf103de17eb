//! Any bytes as a journal's segment: the codec neither panics nor over-reads, and what it takes is dense.
//!
//! An even first byte: the rest is a segment behind its header as it stands. An odd one: each chunk of the
//! rest becomes the payload of a commit with a valid header and checksum, because guessing would never
//! get past those to the structure check; the last byte says how many records each claims.
#![no_main]

use crc_fast::{CrcAlgorithm, Digest};
use libfuzzer_sys::fuzz_target;

/// The codec needs nothing of its crate, and the crate's runtime would slow every build of the targets.
#[path = "../../../shards/journal/src/codec.rs"]
#[allow(dead_code, reason = "reading is what is fuzzed; the journal's own tests write")]
mod codec;

use codec::{BLOCK_BYTES, SegmentHeader, decode_commit, record_ranges, scan_segment};

const HEADER: SegmentHeader = SegmentHeader { salt: 7, first_commit: 3, first_ordinal: 90, zeroed: true };

fuzz_target!(|data: &[u8]| {
    let Some((&form, rest)) = data.split_first() else { return };
    let _ = SegmentHeader::decode(rest);
    let mut file = HEADER.encode();
    if form & 1 == 0 {
        file.extend_from_slice(rest);
    } else {
        let records = u32::from(rest.last().copied().unwrap_or_default());
        for (number, payload) in (HEADER.first_commit..).zip(rest.chunks(usize::from(form) * 16)) {
            seal(&mut file, number, HEADER.first_ordinal, records, payload);
        }
    }
    if let Ok(commit) = decode_commit(&file[BLOCK_BYTES..], HEADER.salt) {
        let payload: usize = record_ranges(commit.payload).map(|range| range.len() + 4).sum();
        assert_eq!(payload, commit.payload.len());
        assert_eq!(record_ranges(commit.payload).count(), commit.records as usize);
    }
    let Ok(scan) = scan_segment(&HEADER, &file) else { return };
    assert_eq!(scan.next_commit - HEADER.first_commit, scan.commits.len() as u64);
    assert!(scan.end_block as usize * BLOCK_BYTES + scan.torn_bytes as usize <= file.len());
    let mut block = 1;
    for commit in &scan.commits {
        assert_eq!(commit.block, block);
        block += commit.blocks;
    }
    assert_eq!(block, scan.end_block);
});

/// Appends a commit with this payload, whole to the checksum, whatever the payload is.
fn seal(file: &mut Vec<u8>, number: u64, first_ordinal: u64, records: u32, payload: &[u8]) {
    let mut head = b"\xFFRWCMT\xFE\x00\x01\x00\x00\x00".to_vec();
    head.extend_from_slice(&records.to_le_bytes());
    for field in [HEADER.salt, number, first_ordinal] {
        head.extend_from_slice(&field.to_le_bytes());
    }
    head.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    for part in [&HEADER.salt.to_le_bytes()[..], &head, payload] {
        digest.update(part);
    }
    head.extend_from_slice(&(digest.finalize() as u32).to_le_bytes());
    file.extend_from_slice(&head);
    file.extend_from_slice(payload);
    file.resize(file.len().next_multiple_of(BLOCK_BYTES), 0);
}
