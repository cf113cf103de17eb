//! Any bytes as a peer's stream, hello or body: no panic, and what is taken can be written and read again.
//!
//! The first byte chooses: 0, the rest is a stream of frames as it stands; 1, the rest is cut into frames with valid
//! headers and checksums, because guessing would never get past those; 2, the rest is a hello; above that it is a
//! body of that kind.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rkyv::util::AlignedVec;

/// The decoders need nothing of their crate, and its runtime would slow every build of the targets.
#[path = "../../../shards/peer/src/body.rs"]
#[allow(dead_code, reason = "decoding is what is fuzzed")]
mod body;
#[path = "../../../shards/peer/src/frame.rs"]
#[allow(dead_code, reason = "decoding is what is fuzzed")]
mod frame;
#[path = "../../../shards/peer/src/hello.rs"]
#[allow(dead_code, reason = "decoding is what is fuzzed")]
mod hello;
#[path = "../../../shards/peer/src/limits.rs"]
#[allow(dead_code, reason = "only what the decoders use")]
mod limits;

use body::{Body, align};
use frame::{HEADER_BYTES, Head, TAG_BYTES};
use hello::Hello;

const BODY_BYTES_MAX: usize = 4_096;

fuzz_target!(|data: &[u8]| {
    let Some((&form, rest)) = data.split_first() else { return };
    match form {
        0 => stream(rest),
        1 => stream(&sealed(rest)),
        2 => {
            if let Some(hello) = Hello::decode(rest) {
                assert!(hello::is_node_name(&hello.node));
                assert_eq!(Hello::decode(&hello.encode()), Some(hello));
            }
        }
        kind => {
            if let Ok(body) = Body::decode(kind, align(&mut AlignedVec::new(), rest)) {
                assert_eq!(body.kind(), kind);
                assert_eq!(Body::decode(kind, &body.encode()), Ok(body));
            }
        }
    }
});

fn stream(mut bytes: &[u8]) {
    while let Ok(Some(found)) = frame::decode(bytes, BODY_BYTES_MAX) {
        assert!(found.body.len() <= BODY_BYTES_MAX && found.bytes == HEADER_BYTES + found.body.len());
        let mut again = Vec::new();
        frame::encode(&mut again, found.head, found.body, |sealed, _| {
            assert_eq!(sealed, found.sealed);
            found.tag
        });
        assert_eq!(again, bytes[..found.bytes]);
        let _ = Body::decode(found.head.kind, align(&mut AlignedVec::new(), found.body));
        bytes = &bytes[found.bytes..];
    }
}

/// Two bytes for each frame: its kind, and the bytes of its body; then the body, as far as there is one.
fn sealed(mut instructions: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some((&[kind, length], rest)) = instructions.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at(usize::from(length).min(rest.len()));
        instructions = rest;
        let head = Head { version: 1, kind, request: stream.len() as u64 };
        frame::encode(&mut stream, head, body, |_, _| [kind; TAG_BYTES]);
    }
    stream
}
