//! The codec on bytes alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use ringway_journal::codec::{
    BLOCK_BYTES, CommitFault, CommitPlace, HeaderFault, SegmentHeader, commit_blocks, decode_commit, encode_commit,
    record_ranges, scan_segment,
};

const SALT: u64 = 0x5EED_0F5A_17E5;

fn encoded(place: CommitPlace, records: &[Bytes]) -> Vec<u8> {
    let payload_bytes: usize = records.iter().map(|record| record.len() + 4).sum();
    // Old bytes, as a recycled buffer has: every byte must be set.
    let mut out = vec![0xAA; commit_blocks(payload_bytes) * BLOCK_BYTES];
    encode_commit(&mut out, place, records);
    out
}

/// A segment of `commits` with two records each, and free blocks after them.
fn segment(commits: u64, free_blocks: usize) -> (SegmentHeader, Vec<u8>) {
    let header = SegmentHeader { salt: SALT, first_commit: 3, first_ordinal: 100, zeroed: true };
    let mut file = header.encode();
    for number in 0..commits {
        let place = CommitPlace { salt: SALT, number: 3 + number, first_ordinal: 100 + 2 * number };
        file.extend(encoded(place, &[vec![number as u8; 50].into(), vec![1; 5000].into()]));
    }
    file.resize(file.len() + free_blocks * BLOCK_BYTES, 0);
    (header, file)
}

#[test]
fn the_checksum_is_crc_32c() {
    assert_eq!(crc_fast::crc32_iscsi(b"123456789"), 0xE306_9283);
}

#[test]
fn a_segment_is_scanned_to_its_end() {
    let (header, file) = segment(4, 3);
    let scan = scan_segment(&SegmentHeader::decode(&file).unwrap(), &file).unwrap();
    assert_eq!(SegmentHeader::decode(&file), Ok(header));
    assert_eq!((scan.commits.len(), scan.next_commit, scan.next_ordinal, scan.torn_bytes), (4, 7, 108, 0));
    assert_eq!(scan.end_block as usize * BLOCK_BYTES, file.len() - 3 * BLOCK_BYTES);
}

#[test]
fn a_commit_of_another_salt_is_absent() {
    let bytes = encoded(CommitPlace { salt: 1, number: 0, first_ordinal: 0 }, &[Bytes::from_static(b"x")]);
    assert!(decode_commit(&bytes, 1).is_ok());
    assert_eq!(decode_commit(&bytes, 2), Err(CommitFault::Absent));
}

#[test]
fn old_commits_in_a_recycled_segment_are_neither_tail_nor_damage() {
    let (_, mut file) = segment(6, 2);
    let header = SegmentHeader { salt: SALT + 1, first_commit: 9, first_ordinal: 112, zeroed: false };
    file[..BLOCK_BYTES].copy_from_slice(&header.encode());
    let place = CommitPlace { salt: SALT + 1, number: 9, first_ordinal: 112 };
    let commit = encoded(place, &[Bytes::from_static(b"new")]);
    file[BLOCK_BYTES..BLOCK_BYTES + commit.len()].copy_from_slice(&commit);
    let scan = scan_segment(&header, &file).unwrap();
    assert_eq!((scan.commits.len(), scan.next_ordinal, scan.torn_bytes), (1, 113, 0));
}

#[test]
fn a_commit_after_an_invalid_one_is_damage() {
    for lost in 0..3 {
        let (header, mut file) = segment(4, 1);
        let start = (1 + 2 * lost) * BLOCK_BYTES;
        file[start..start + 2 * BLOCK_BYTES].fill(0);
        let damage = scan_segment(&header, &file).unwrap_err();
        assert_eq!(damage.offset, start as u64, "commit {lost} gone");
    }
}

#[test]
fn a_commit_with_the_wrong_number_is_damage() {
    let (header, mut file) = segment(2, 2);
    let end = file.len() - 2 * BLOCK_BYTES;
    let place = CommitPlace { salt: SALT, number: 6, first_ordinal: 104 };
    let commit = encoded(place, &[Bytes::from_static(b"skips one")]);
    file[end..end + commit.len()].copy_from_slice(&commit);
    assert_eq!(scan_segment(&header, &file).unwrap_err().offset, end as u64);
}

#[test]
fn a_record_that_holds_a_commit_is_not_taken_for_one() {
    // Aligned to a block within the payload, but of another journal's salt.
    let inner = encoded(CommitPlace { salt: 77, number: 50, first_ordinal: 9 }, &[Bytes::from_static(b"inner")]);
    let mut record = vec![0; BLOCK_BYTES - 48 - 4];
    record.extend(inner);
    let (header, mut file) = segment(1, 0);
    let place = CommitPlace { salt: SALT, number: 4, first_ordinal: 102 };
    file.extend(encoded(place, &[record.into()]));
    let torn = file.len() - 2 * BLOCK_BYTES;
    file[torn + 20] ^= 1;
    let scan = scan_segment(&header, &file).unwrap();
    assert_eq!((scan.commits.len(), scan.torn_bytes), (1, 2 * BLOCK_BYTES as u64));
}

proptest! {
    #[test]
    fn records_survive_the_round_trip(
        records in vec(vec(any::<u8>(), 0..3000), 1..20),
        number in 0..u64::MAX,
        first_ordinal in 0..u64::MAX / 2,
    ) {
        let records: Vec<Bytes> = records.into_iter().map(Bytes::from).collect();
        let bytes = encoded(CommitPlace { salt: SALT, number, first_ordinal }, &records);
        let commit = decode_commit(&bytes, SALT).unwrap();
        prop_assert_eq!((commit.number, commit.first_ordinal), (number, first_ordinal));
        prop_assert_eq!(commit.blocks() * BLOCK_BYTES, bytes.len());
        let read: Vec<Bytes> = record_ranges(commit.payload)
            .map(|range| Bytes::copy_from_slice(&commit.payload[range]))
            .collect();
        prop_assert_eq!(read, records);
    }

    #[test]
    fn a_flipped_bit_makes_a_commit_invalid(at in any::<prop::sample::Index>(), bit in 0..8) {
        let records = [Bytes::from(vec![1; 700]), Bytes::from(vec![2; 9])];
        let mut bytes = encoded(CommitPlace { salt: SALT, number: 1, first_ordinal: 2 }, &records);
        let at = at.index(48 + 4 + 700 + 4 + 9);
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(decode_commit(&bytes, SALT).is_err());
    }

    #[test]
    fn a_flipped_bit_in_a_segment_is_damage_or_cuts_the_last_commit(at in any::<prop::sample::Index>(), bit in 0..8) {
        let (header, mut file) = segment(5, 2);
        let clean = scan_segment(&header, &file).unwrap();
        let at = BLOCK_BYTES + at.index(file.len() - BLOCK_BYTES);
        file[at] ^= 1_u8 << bit;
        if let Ok(scan) = scan_segment(&header, &file) {
            prop_assert!(clean.commits.starts_with(&scan.commits));
            prop_assert!(scan.commits.len() >= 4);
        }
    }

    #[test]
    fn any_bytes_are_decoded_without_a_panic(bytes in vec(any::<u8>(), 0..10_000), salt in any::<u64>()) {
        let _ = SegmentHeader::decode(&bytes);
        prop_assert!(decode_commit(&bytes, salt).is_err());
        let header = SegmentHeader { salt, first_commit: 0, first_ordinal: 0, zeroed: true };
        if let Ok(scan) = scan_segment(&header, &bytes) {
            prop_assert!(scan.commits.is_empty() && scan.torn_bytes <= bytes.len() as u64);
        }
        let ends = record_ranges(&bytes).last().map_or(0, |range| range.end);
        prop_assert!(ends <= bytes.len());
    }

    #[test]
    fn a_header_with_any_fields_is_decoded_without_a_panic(fields in vec(any::<u8>(), 40), tail in vec(any::<u8>(), 0..9000)) {
        let mut bytes = encoded(CommitPlace { salt: SALT, number: 0, first_ordinal: 0 }, &[]);
        bytes.truncate(48);
        bytes[8..16].copy_from_slice(&fields[..8]);
        bytes[24..48].copy_from_slice(&fields[16..]);
        bytes.extend(tail);
        let _ = decode_commit(&bytes, SALT);
        let header = SegmentHeader { salt: SALT, first_commit: 0, first_ordinal: 0, zeroed: false };
        let mut file = header.encode();
        file.extend(bytes);
        let _ = scan_segment(&header, &file);
    }

    #[test]
    fn a_newer_header_is_told_apart_from_a_damaged_one(version in 2..=u16::MAX, at in 12..44_usize) {
        let mut block = SegmentHeader { salt: SALT, first_commit: 0, first_ordinal: 0, zeroed: true }.encode();
        let mut damaged = block.clone();
        block[8..10].copy_from_slice(&version.to_le_bytes());
        prop_assert_eq!(SegmentHeader::decode(&block), Err(HeaderFault::NewerVersion(version)));
        damaged[at] ^= 1;
        prop_assert!(matches!(SegmentHeader::decode(&damaged), Err(HeaderFault::Invalid(_))));
    }
}
