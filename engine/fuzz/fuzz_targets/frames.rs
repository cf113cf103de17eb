//! A stream fed at once, in chops and byte by byte gives the same messages and the same error.
//!
//! Input: one byte that chooses the form of the rest, four bytes that seed the chops, then either raw
//! bytes of a stream, or instructions for frames, so that masks and lengths need not be guessed.
#![no_main]

use std::ops::ControlFlow;

use libfuzzer_sys::fuzz_target;
use ringway_engine::{
    limits::MESSAGE_BYTES_MAX,
    websocket::{Decoder, Incoming, ProtocolError},
};

fuzz_target!(|data: &[u8]| {
    let Some((&[form, s0, s1, s2, s3], rest)) = data.split_first_chunk::<5>() else { return };
    let stream = if form & 1 == 0 { rest.to_vec() } else { frames(rest) };
    let mut state = u32::from_le_bytes([s0, s1, s2, s3]);
    let whole = feed(&stream, || usize::MAX);
    let chopped = feed(&stream, || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 27) as usize + 1
    });
    assert_eq!(whole, chopped);
    assert_eq!(whole, feed(&stream, || 1));
});

/// Three bytes for each frame: its first byte as on the wire, how its length is written and whether
/// it is masked, and the length; then the payload, as far as there is one.
fn frames(mut instructions: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some((&[first, form, length], rest)) = instructions.split_first_chunk::<3>() {
        let (payload, rest) = rest.split_at(usize::from(length).min(rest.len()));
        instructions = rest;
        let masked = if form & 0x10 == 0 { 0x80 } else { 0 };
        let length = payload.len();
        stream.push(first);
        match form % 16 {
            0 => {
                stream.push(masked | 127);
                stream.extend_from_slice(&(length as u64).to_be_bytes());
            }
            1 => {
                stream.push(masked | 126);
                stream.extend_from_slice(&(length as u16).to_be_bytes());
            }
            _ if length > 125 => {
                stream.extend_from_slice(&[masked | 126, 0, length as u8]);
            }
            _ => stream.push(masked | length as u8),
        }
        let key = if masked == 0 { [0; 4] } else { [0x37, 0xfa, 0x21, form] };
        if masked != 0 {
            stream.extend_from_slice(&key);
        }
        stream.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    stream
}

/// Everything that came out, and how it ended.
fn feed(stream: &[u8], mut chop: impl FnMut() -> usize) -> (Vec<String>, Result<(), ProtocolError>) {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let (part, after) = rest.split_at(chop().min(rest.len()));
        rest = after;
        let result = decoder.feed(&mut part.to_vec(), 0, &mut |incoming: Incoming<'_>| {
            seen.push(format!("{incoming:?}"));
            ControlFlow::Continue(())
        });
        assert!(decoder.heap_bytes() <= 2 * MESSAGE_BYTES_MAX + 1_024);
        if let Err(error) = result {
            assert!(matches!(error.close_code(), 1002 | 1007..=1009));
            return (seen, result);
        }
    }
    (seen, Ok(()))
}
