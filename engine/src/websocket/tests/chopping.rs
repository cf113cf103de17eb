//! However a stream is chopped, the same messages and the same error come out of it.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

/// A frame as a peer might send it: mostly right, now and then wrong in one place.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        4 => Just(Opcode::Text),
        2 => Just(Opcode::Binary),
        6 => Just(Opcode::Continuation),
        1 => Just(Opcode::Ping),
        1 => Just(Opcode::Pong),
        1 => Just(Opcode::Close),
    ];
    let payload = prop_oneof![
        4 => "\\PC{0,60}".prop_map(String::into_bytes),
        2 => vec(any::<u8>(), 0..40),
        1 => "\\PC{100,300}".prop_map(String::into_bytes),
        1 => Just(b"\x03\xe8bye".to_vec()),
    ];
    let damage = prop_oneof![15 => Just(None), 1 => any::<(Index, u8)>().prop_map(Some)];
    (opcode, payload, any::<[u8; 4]>(), prop::bool::weighted(0.6), damage).prop_map(
        |(opcode, payload, key, is_final, damage)| {
            let mut bytes = client_frame(opcode, &payload, key);
            if !is_final && !matches!(opcode, Opcode::Ping | Opcode::Pong | Opcode::Close) {
                bytes[0] &= 0x7f;
            }
            if let Some((at, flip)) = damage {
                let at = at.index(bytes.len().min(8));
                bytes[at] ^= flip;
            }
            bytes
        },
    )
}

/// Fragments of one text, cut anywhere, even inside characters.
fn any_fragmented_text() -> impl Strategy<Value = (String, Vec<u8>)> {
    ("\\PC{0,80}", vec(any::<Index>(), 0..6)).prop_map(|(text, cuts)| {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.sort_unstable();
        let mut stream = Vec::new();
        let mut start = 0;
        for end in cuts {
            let opcode = if stream.is_empty() { Opcode::Text } else { Opcode::Continuation };
            stream.extend(fragment(opcode, &text.as_bytes()[start..end]));
            start = end;
        }
        let opcode = if stream.is_empty() { Opcode::Text } else { Opcode::Continuation };
        stream.extend(last(opcode, &text.as_bytes()[start..]));
        (text, stream)
    })
}

fn sorted(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

proptest! {
    #[test]
    fn chopping_changes_nothing(frames in vec(any_frame(), 0..12), cuts in vec(any::<Index>(), 0..20)) {
        let stream = frames.concat();
        let whole = feed(&stream);
        let parts = feed_in_parts(&mut Decoder::new(), &stream, &sorted(&cuts, stream.len()));
        prop_assert_eq!(&whole, &parts);
        prop_assert_eq!(whole, feed_byte_by_byte(&stream));
    }

    #[test]
    fn chopping_changes_nothing_in_noise(stream in vec(any::<u8>(), 0..200), cuts in vec(any::<Index>(), 0..20)) {
        let parts = feed_in_parts(&mut Decoder::new(), &stream, &sorted(&cuts, stream.len()));
        prop_assert_eq!(feed(&stream), parts);
    }

    #[test]
    fn a_fragmented_text_comes_out_as_it_went_in(
        (text, stream) in any_fragmented_text(), cuts in vec(any::<Index>(), 0..10),
    ) {
        let parts = feed_in_parts(&mut Decoder::new(), &stream, &sorted(&cuts, stream.len()));
        prop_assert_eq!(parts, (vec![Seen::Text(text)], Ok(())));
    }

    #[test]
    fn text_is_taken_exactly_when_it_is_utf8(
        bytes in vec(prop_oneof![any::<u8>(), 0x80..0xc0_u8, Just(0xe4), Just(0xf0)], 0..24), cuts in vec(any::<Index>(), 0..4),
    ) {
        let stream = last(Opcode::Text, &bytes);
        let (seen, result) = feed_in_parts(&mut Decoder::new(), &stream, &sorted(&cuts, stream.len()));
        match String::from_utf8(bytes) {
            Ok(text) => prop_assert_eq!((seen, result), (vec![Seen::Text(text)], Ok(()))),
            Err(_) => prop_assert_eq!((seen, result), (vec![], Err(ProtocolError::Utf8))),
        }
    }
}
