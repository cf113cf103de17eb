//! Frames that break a rule, each with its documented answer, whole and byte by byte.

use super::*;

fn check(what: &str, stream: &[u8], before: &[Seen], error: ProtocolError, close_code: u16) {
    for (how, (seen, result)) in [("at once", feed(stream)), ("by bytes", feed_byte_by_byte(stream))] {
        assert_eq!(seen, before, "{what}, {how}");
        assert_eq!(result, Err(error), "{what}, {how}");
        assert_eq!(error.close_code(), close_code, "{what}");
    }
}

#[test]
fn headers_that_break_a_rule_are_refused() {
    use ProtocolError::*;
    let table: &[(&str, Vec<u8>, ProtocolError, u16)] = &[
        ("no mask", b"\x81\x05Hello".to_vec(), Unmasked, 1002),
        ("no mask, control", b"\x89\x00".to_vec(), Unmasked, 1002),
        ("rsv1", announce(0xc1, 1, 1), ReservedBits, 1002),
        ("rsv2", announce(0xa1, 1, 1), ReservedBits, 1002),
        ("rsv3", announce(0x91, 1, 1), ReservedBits, 1002),
        ("rsv on control", announce(0xc9, 0, 0), ReservedBits, 1002),
        ("data opcode 3", announce(0x83, 0, 0), ReservedOpcode(3), 1002),
        ("data opcode 7", announce(0x87, 0, 0), ReservedOpcode(7), 1002),
        ("control opcode 11", announce(0x8b, 0, 0), ReservedOpcode(11), 1002),
        ("control opcode 15", announce(0x8f, 0, 0), ReservedOpcode(15), 1002),
        ("125 in two bytes", announce(0x81, 126, 125), Length, 1002),
        ("0 in two bytes", announce(0x82, 126, 0), Length, 1002),
        ("65535 in eight bytes", announce(0x81, 127, 65_535), Length, 1002),
        ("5 in eight bytes", announce(0x81, 127, 5), Length, 1002),
        ("2^63", announce(0x82, 127, 1 << 63), Length, 1002),
        ("2^64 - 1", announce(0x82, 127, u64::MAX), Length, 1002),
        ("2^62", announce(0x82, 127, 1 << 62), MessageTooBig, 1009),
        ("2^63 - 1", announce(0x82, 127, (1 << 63) - 1), MessageTooBig, 1009),
        ("64 KiB + 1", announce(0x81, 127, 65_537), MessageTooBig, 1009),
        ("ping without FIN", announce(0x09, 0, 0), ControlFragmented, 1002),
        ("pong without FIN", announce(0x0a, 5, 5), ControlFragmented, 1002),
        ("close without FIN", announce(0x08, 2, 2), ControlFragmented, 1002),
        ("ping of 126", announce(0x89, 126, 126), ControlTooLong, 1002),
        ("close of 2^62", announce(0x88, 127, 1 << 62), ControlTooLong, 1002),
        ("continuation of nothing", announce(0x80, 1, 1), ContinuationOfNothing, 1002),
        ("unfinished continuation of nothing", announce(0x00, 1, 1), ContinuationOfNothing, 1002),
    ];
    for (what, stream, error, code) in table {
        check(what, stream, &[], *error, *code);
        // The same behind a good message, which must still come through.
        let behind = [last(Opcode::Text, b"ok"), stream.clone()].concat();
        check(what, &behind, &[Seen::Text("ok".into())], *error, *code);
    }
}

#[test]
fn sequences_that_break_a_rule_are_refused() {
    use ProtocolError::*;
    let open = fragment(Opcode::Text, b"a");
    let half_bound = vec![0; 40_000];
    let table: &[(&str, Vec<u8>, ProtocolError, u16)] = &[
        ("text in a text", [open.clone(), last(Opcode::Text, b"b")].concat(), MessageInMessage, 1002),
        ("binary in a text", [open.clone(), fragment(Opcode::Binary, b"b")].concat(), MessageInMessage, 1002),
        (
            "17 fragments",
            [open.clone(), fragment(Opcode::Continuation, b"").repeat(16)].concat(),
            TooManyFragments,
            1008,
        ),
        (
            "fragments that add up",
            [fragment(Opcode::Binary, &half_bound), last(Opcode::Continuation, &half_bound)].concat(),
            MessageTooBig,
            1009,
        ),
        ("bad text", last(Opcode::Text, b"ab\xffcd"), Utf8, 1007),
        ("surrogate", last(Opcode::Text, b"\xed\xa0\x80"), Utf8, 1007),
        ("overlong", last(Opcode::Text, b"\xc0\xaf"), Utf8, 1007),
        ("above U+10FFFF", last(Opcode::Text, b"\xf4\x90\x80\x80"), Utf8, 1007),
        ("text that ends in a character", last(Opcode::Text, b"a\xe4\xb8"), Utf8, 1007),
        (
            "fragments that end in a character",
            [fragment(Opcode::Text, b"a\xe4"), last(Opcode::Continuation, b"\xb8")].concat(),
            Utf8,
            1007,
        ),
        ("close of one byte", last(Opcode::Close, b"\x03"), CloseCutShort, 1002),
        ("bad close reason", last(Opcode::Close, b"\x03\xe8\xff"), Utf8, 1007),
    ];
    for (what, stream, error, code) in table {
        check(what, stream, &[], *error, *code);
    }
}

#[test]
fn close_codes_that_must_not_be_sent_are_refused() {
    for code in 0..=u16::MAX {
        let (seen, result) = feed(&last(Opcode::Close, &code.to_be_bytes()));
        if matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            assert_eq!((seen, result), (vec![Seen::Close(Some((code, String::new())))], Ok(())));
        } else {
            assert_eq!((seen, result), (vec![], Err(ProtocolError::CloseCode(code))));
            assert_eq!(ProtocolError::CloseCode(code).close_code(), 1002);
        }
    }
}

#[test]
fn a_huge_announced_length_allocates_nothing() {
    for length in [1 << 62, 65_537, 65_536, 60_000] {
        let mut decoder = Decoder::new();
        let form = if length > 65_535 { 127 } else { 126 };
        let _ = feed_in_parts(&mut decoder, &announce(0x82, form, length), &[]);
        assert_eq!(decoder.heap_bytes(), 0, "length {length}");
    }
}

#[test]
fn bad_text_is_refused_before_its_message_ends() {
    // Autobahn 6.4: the byte that no text can have there is enough, in a fragment or in part of a frame.
    let good = "κόσμε".as_bytes();
    for bad in [&b"\xf4\x90"[..], b"\xed\xa0", b"\xff", b"\xc0", b"\xe0\x80", b"a\x80"] {
        let text = [good, bad].concat();
        let (seen, result) = feed(&fragment(Opcode::Text, &text));
        assert_eq!((seen, result), (vec![], Err(ProtocolError::Utf8)), "{bad:x?} in a fragment");

        let mut long = text.clone();
        long.resize(1_000, b'x');
        let frame = last(Opcode::Text, &long);
        let header = frame.len() - 1_000;
        let (seen, result) = feed(&frame[..header + text.len()]);
        assert_eq!((seen, result), (vec![], Err(ProtocolError::Utf8)), "{bad:x?} in part of a frame");
        let (_, before) = feed(&frame[..header + good.len()]);
        assert_eq!(before, Ok(()));
    }
}

/// Sends pings at the given times and says how many were taken before the flood was seen.
fn pings_taken(limits: &'static Limits, times_ms: impl IntoIterator<Item = u64>) -> (usize, Result<(), ProtocolError>) {
    let mut decoder = Decoder::with_limits(limits);
    let mut taken = 0;
    for now_ms in times_ms {
        let result = decoder.feed(&mut last(Opcode::Ping, b""), now_ms, &mut |_| {
            taken += 1;
            ControlFlow::Continue(())
        });
        if result.is_err() {
            return (taken, result);
        }
    }
    (taken, Ok(()))
}

#[test]
fn a_flood_of_pings_is_refused() {
    let flood = Err(ProtocolError::TooManyPings);
    assert_eq!(ProtocolError::TooManyPings.close_code(), 1008);
    let limits = &Limits::OF_CLIENTS;
    assert_eq!(pings_taken(limits, [5_000; 20]), (8, flood), "a burst of 8");
    assert_eq!(pings_taken(limits, (0..1_000).map(|i| i * 500)), (1_000, Ok(())), "two a second for ever");
    assert_eq!(pings_taken(limits, (0..1_000).map(|i| i * 400)).1, flood, "2.5 a second in the end");
    let rested = [0; 8].into_iter().chain([4_000; 8]).chain([4_000]);
    assert_eq!(pings_taken(limits, rested), (16, flood), "the burst comes back with rest");
    static RAISED: Limits = Limits { pings_per_second_max: u32::MAX, ..Limits::OF_CLIENTS };
    assert_eq!(pings_taken(&RAISED, [0; 500]), (500, Ok(())), "no bound above 1,000 a second");
}
