//! Any bytes: `Event::decode` neither panics nor over-reads, and what it takes it can write again.
//!
//! An even first byte: the rest is an event as it stands. An odd one: the rest is a body that gets a
//! valid header and checksum, because guessing would never get past those to the structure check.
#![no_main]

use crc_fast::{CrcAlgorithm::Crc32Iscsi, checksum};
use libfuzzer_sys::fuzz_target;
use ringway_engine::event::Event;

fuzz_target!(|data: &[u8]| {
    let Some((&form, rest)) = data.split_first() else { return };
    let bytes = if form & 1 == 0 { rest.to_vec() } else { sealed(form >> 1, rest) };
    if let Ok(event) = Event::decode(&bytes) {
        assert_eq!(Event::decode(&event.encode()), Ok(event));
    }
});

fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = b"RW\x01".to_vec();
    bytes.push(kind);
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(checksum(Crc32Iscsi, body) as u32).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}
