//! What a well-behaved peer sends comes through, and leaves nothing behind.

use super::*;
use crate::limits::{FRAGMENTS_MAX, MESSAGE_BYTES_MAX};

fn text(text: &str) -> Seen {
    Seen::Text(text.into())
}

#[test]
fn the_examples_of_the_rfc_are_read_as_printed() {
    // RFC 6455 §5.7
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(feed(&hello), (vec![text("Hello")], Ok(())));
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(feed(&pong), (vec![Seen::Pong(b"Hello".to_vec())], Ok(())));
}

#[test]
fn many_messages_in_one_read_come_in_order() {
    let stream =
        [last(Opcode::Text, b"one"), last(Opcode::Binary, b"\xff"), last(Opcode::Text, b""), last(Opcode::Ping, b"p")]
            .concat();
    let expected = vec![text("one"), Seen::Binary(vec![0xff]), text(""), Seen::Ping(b"p".to_vec())];
    assert_eq!(feed(&stream), (expected.clone(), Ok(())));
    assert_eq!(feed_byte_by_byte(&stream), (expected, Ok(())));
}

#[test]
fn control_frames_pass_between_fragments() {
    let stream = [
        fragment(Opcode::Text, "h\u{e9}".as_bytes().get(..2).unwrap()),
        last(Opcode::Ping, &[7; 125]),
        fragment(Opcode::Continuation, b""),
        last(Opcode::Pong, b""),
        last(Opcode::Continuation, b"\xa9!"),
        last(Opcode::Text, b"next"),
    ]
    .concat();
    let expected = vec![Seen::Ping(vec![7; 125]), Seen::Pong(vec![]), text("hé!"), text("next")];
    assert_eq!(feed(&stream), (expected.clone(), Ok(())));
    assert_eq!(feed_byte_by_byte(&stream), (expected, Ok(())));
}

#[test]
fn messages_at_their_bounds_come_through() {
    let largest = vec![b'x'; MESSAGE_BYTES_MAX];
    let expected = (vec![Seen::Binary(largest.clone())], Ok(()));
    assert_eq!(feed(&last(Opcode::Binary, &largest)), expected);
    let (head, tail) = largest.split_at(1_000);
    assert_eq!(feed(&[fragment(Opcode::Binary, head), last(Opcode::Continuation, tail)].concat()), expected);

    let middle = fragment(Opcode::Continuation, b"b").repeat(FRAGMENTS_MAX as usize - 2);
    let stream = [fragment(Opcode::Text, b"a"), middle, last(Opcode::Continuation, b"c")].concat();
    assert_eq!(feed(&stream), (vec![text("abbbbbbbbbbbbbbc")], Ok(())));
}

#[test]
fn a_close_is_read_with_and_without_code() {
    assert_eq!(feed(&last(Opcode::Close, b"")), (vec![Seen::Close(None)], Ok(())));
    let bye = last(Opcode::Close, "\u{3}\u{0}".as_bytes());
    assert_eq!(feed(&bye), (vec![], Err(ProtocolError::CloseCode(768))));
    let bye = last(Opcode::Close, b"\x03\xe8bye");
    assert_eq!(feed(&bye), (vec![Seen::Close(Some((1000, "bye".into())))], Ok(())));
    assert_eq!(feed_byte_by_byte(&bye), (vec![Seen::Close(Some((1000, "bye".into())))], Ok(())));
}

#[test]
fn nothing_is_taken_after_a_close() {
    let stream = [last(Opcode::Close, b""), last(Opcode::Ping, b""), b"\xff\xff\xff".to_vec()].concat();
    assert_eq!(feed(&stream), (vec![Seen::Close(None)], Ok(())));
    assert_eq!(feed_byte_by_byte(&stream), (vec![Seen::Close(None)], Ok(())));
}

#[test]
fn a_break_drops_the_rest() {
    let mut decoder = Decoder::new();
    let mut seen = Vec::new();
    let mut stream = [last(Opcode::Text, b"1"), last(Opcode::Text, b"2"), fragment(Opcode::Text, b"3")].concat();
    for _ in 0..2 {
        let result = decoder.feed(&mut stream, 0, &mut |incoming| {
            seen.push(Seen::from(incoming));
            ControlFlow::Break(())
        });
        assert_eq!(result, Ok(()));
    }
    assert_eq!(seen, [text("1")]);
    assert_eq!(decoder.heap_bytes(), 0);
}

#[test]
fn nothing_is_taken_after_an_error() {
    let mut decoder = Decoder::new();
    let (_, result) = feed_in_parts(&mut decoder, &[fragment(Opcode::Text, b"a"), announce(0xc1, 0, 0)].concat(), &[]);
    assert_eq!(result, Err(ProtocolError::ReservedBits));
    assert_eq!(decoder.heap_bytes(), 0);
    assert_eq!(feed_in_parts(&mut decoder, &last(Opcode::Text, b"b"), &[]), (vec![], Ok(())));
}

#[test]
fn an_idle_decoder_holds_no_heap_memory() {
    let mut decoder = Decoder::new();
    let stream = [
        fragment(Opcode::Text, &[b'x'; 5_000]),
        last(Opcode::Ping, &[1; 100]),
        last(Opcode::Continuation, &[b'y'; 5_000]),
    ]
    .concat();
    let mut held_max = 0;
    for part in stream.chunks(7) {
        assert_eq!(feed_in_parts(&mut decoder, part, &[]).1, Ok(()));
        held_max = held_max.max(decoder.heap_bytes());
    }
    assert!((10_000..25_000).contains(&held_max), "held {held_max}");
    assert_eq!(decoder.heap_bytes(), 0);
    assert!(size_of::<Decoder>() <= 192, "{} bytes in each connection", size_of::<Decoder>());
}

#[test]
fn a_message_of_16_mib_in_tiny_pieces_stays_linear() {
    // With anything quadratic in it, this would take minutes: a quarter of a million pieces each way.
    static LIMITS: Limits = Limits { message_bytes_max: 16 << 20, fragments_max: u32::MAX, ..Limits::OF_CLIENTS };
    let body = "消息ab".repeat((16 << 20) / 8);
    let frame = last(Opcode::Text, body.as_bytes());
    let cuts: Vec<usize> = (64..frame.len()).step_by(64).collect();
    let (seen, result) = feed_in_parts(&mut Decoder::with_limits(&LIMITS), &frame, &cuts);
    assert_eq!(result, Ok(()));
    assert!(seen == [text(&body)]);

    let mut stream = fragment(Opcode::Text, b"");
    for piece in body.as_bytes().chunks(64) {
        stream.extend_from_slice(&fragment(Opcode::Continuation, piece));
    }
    stream.extend_from_slice(&last(Opcode::Continuation, b""));
    let cuts: Vec<usize> = (1_000..stream.len()).step_by(1_000).collect();
    let (seen, result) = feed_in_parts(&mut Decoder::with_limits(&LIMITS), &stream, &cuts);
    assert_eq!(result, Ok(()));
    assert!(seen == [text(&body)]);
}
