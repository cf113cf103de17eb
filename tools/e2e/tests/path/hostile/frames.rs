//! Frames that break RFC 6455 or a bound.

use std::time::{Duration, Instant};

use ringway_e2e::server::Server;
use ringway_e2e::wire::{Frame, Wire};
use ringway_engine::packet::Format;
use ringway_engine::websocket::{Opcode, client_frame};

use super::check_unharmed;

const MASK: [u8; 4] = [1, 2, 3, 4];

/// A frame with a first byte of one's own, masked, its length in as few bytes as it needs.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = client_frame(Opcode::Text, payload, MASK);
    bytes[0] = first;
    bytes
}

/// A header of a frame that announces `length` in eight bytes, and nothing behind it.
fn announced(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | 127];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&MASK);
    bytes
}

/// The payload in a frame whose length takes more bytes than it needs.
fn longwinded(payload: &[u8], eight: bool) -> Vec<u8> {
    let mut bytes = vec![0x81, 0x80 | if eight { 127 } else { 126 }];
    let length = (payload.len() as u64).to_be_bytes();
    bytes.extend_from_slice(if eight { &length } else { &length[6..] });
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

fn cases() -> Vec<(String, Format, Vec<u8>, u16)> {
    let json = |name: &str, bytes: Vec<u8>, code: u16| (name.to_owned(), Format::Json, bytes, code);
    let protobuf = |name: &str, bytes: Vec<u8>, code: u16| (name.to_owned(), Format::Protobuf, bytes, code);
    let mut cases = vec![
        json("unmasked", vec![0x81, 2, b'{', b'}'], 1002),
        json("unmasked ping", vec![0x89, 0], 1002),
        json("reserved bit 1", frame(0xc1, b"{}"), 1002),
        json("reserved bit 2", frame(0xa1, b"{}"), 1002),
        json("reserved bit 3", frame(0x91, b"{}"), 1002),
        json("a length of 5 in two bytes", longwinded(b"hello", false), 1002),
        json("a length of 200 in eight bytes", longwinded(&[b' '; 200], true), 1002),
        json("a length with the top bit", announced(0x81, 1 << 63), 1002),
        json("2^62 bytes", announced(0x81, 1 << 62), 1009),
        json("2^62 bytes of binary", announced(0x82, 1 << 62), 1009),
        json("64 KiB and one byte", announced(0x81, 64 * 1024 + 1), 1009),
        json("a whole message of 64 KiB and one byte", frame(0x81, &[b' '; 64 * 1024 + 1]), 1009),
        json("fragments of more than 64 KiB", [frame(0x01, &[b' '; 60_000]), announced(0x80, 65_536)].concat(), 1009),
        json("a fragmented ping", frame(0x09, b""), 1002),
        json("a fragmented close", frame(0x08, &[3, 232]), 1002),
        json("a ping of 126 bytes", frame(0x89, &[0; 126]), 1002),
        json("a pong of 126 bytes", frame(0x8a, &[0; 126]), 1002),
        json("a close of 126 bytes", close(1000, &[b'x'; 124]), 1002),
        json("a continuation of nothing", frame(0x80, b"{}"), 1002),
        json("a message in a message", [frame(0x01, b"{"), frame(0x81, b"}")].concat(), 1002),
        json("a close of one byte", frame(0x88, &[3]), 1002),
        json("close code 1005", close(1005, b""), 1002),
        json("close code 999", close(999, b""), 1002),
        json("close code 5000", close(5000, b""), 1002),
        json("a close reason that is not UTF-8", close(1000, &[0xff]), 1007),
        json("17 fragments", [vec![frame(0x01, b" ")], vec![frame(0x00, b" "); 16]].concat().concat(), 1008),
        json("empty fragments", [vec![frame(0x01, b"")], vec![frame(0x00, b""); 16]].concat().concat(), 1008),
        json("a flood of pings", vec![frame(0x89, b"p"); 40].concat(), 1008),
        json("text that is not UTF-8", frame(0x81, &[b'{', 0xff, b'}']), 1007),
        json("a surrogate", frame(0x81, &[0xed, 0xa0, 0x80]), 1007),
        json("an overlong slash", frame(0x81, &[0xc0, 0xaf]), 1007),
        json("UTF-8 cut short", frame(0x81, &[0xe2, 0x82]), 1007),
        json("UTF-8 broken over fragments", [frame(0x01, &[0xe2]), frame(0x80, b"x")].concat(), 1007),
        json("binary on json", frame(0x82, b"{}"), 1003),
        protobuf("text on protobuf", frame(0x81, b"{}"), 1003),
        json("no JSON", frame(0x81, b"hello"), 3500),
        json("an array", frame(0x81, b"[1]"), 3500),
        json("a string", frame(0x81, b"\"connect\""), 3500),
        json("half an object", frame(0x81, b"{\"id\":1,"), 3500),
        json("deep nesting", frame(0x81, "[".repeat(60_000).as_bytes()), 3500),
        json("too many commands", frame(0x81, "{}\n".repeat(1_025).as_bytes()), 3500),
        protobuf("no protobuf", frame(0x82, &[5, 0xff, 0xff, 0xff, 0xff, 0xff]), 3500),
        protobuf("a length that runs past the end", frame(0x82, &[200, 1, 8]), 3500),
        protobuf("a length without an end", frame(0x82, &[0xff; 20]), 3500),
        // Not hostile: the answer to a close is a close.
        json("a normal close", close(1000, b"bye"), 1000),
    ];
    for opcode in (3..8).chain(11..16) {
        cases.push(json(&format!("opcode {opcode}"), frame(0x80 | opcode, b"{}"), 1002));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_frame_closes_with_its_code_at_once() {
    let server = Server::start().unwrap();
    let ws = server.addresses().ws;
    for (name, format, bytes, expected) in cases() {
        let mut wire = Wire::open(ws).await.unwrap();
        wire.upgrade(ws, format.subprotocol()).await.unwrap();
        let began = Instant::now();
        // What stands behind the fault may meet a closed connection.
        let _ = wire.write(&bytes).await;
        let code = wire.close_code().await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
        assert_eq!(code, Some(expected), "{name}");
        assert!(began.elapsed() < Duration::from_secs(5), "{name}: {:?}", began.elapsed());
    }
    check_unharmed(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_allowed_is_not_closed() {
    let server = Server::start().unwrap();
    let ws = server.addresses().ws;
    let mut wire = Wire::open(ws).await.unwrap();
    wire.upgrade(ws, Format::Json.subprotocol()).await.unwrap();
    for n in 0..8_u8 {
        wire.write(&frame(0x89, &[n])).await.unwrap();
    }
    for n in 0..8_u8 {
        assert_eq!(wire.frame().await.unwrap(), Frame::Pong(vec![n].into()));
    }
    // Sixteen fragments, byte by byte, with a ping between them: one command.
    let text = b"{\"id\":7,\"ping\":{}}";
    let (first, rest) = text.split_at(3);
    let mut frames = vec![frame(0x01, first)];
    frames.extend(rest.iter().take(14).map(|byte| frame(0x00, &[*byte])));
    frames.push(frame(0x8a, b"unasked"));
    frames.push(frame(0x80, &rest[14..]));
    for byte in frames.concat() {
        wire.write(&[byte]).await.unwrap();
    }
    let Frame::Text(text) = wire.frame().await.unwrap() else { panic!("no text") };
    assert!(text.windows(4).any(|window| window == b"4010"), "{text:?}");
    // As large as it may be.
    let large = format!("{{\"id\":8,\"ping\":{{}}}}{}", " ".repeat(64 * 1024 - 18));
    assert_eq!(large.len(), 64 * 1024);
    wire.send(Opcode::Text, large.as_bytes()).await.unwrap();
    assert!(matches!(wire.frame().await.unwrap(), Frame::Text(_)));
}
