//! The mask of RFC 6455 §5.3: byte `i` of a payload is XORed with byte `i mod 4` of the key.

/// Applies `key` to `bytes`, which begin at byte `offset` of their payload. Its own inverse.
///
/// Works by 8-byte words, into which the 4-byte key fits twice.
pub(super) fn apply(bytes: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset % 4);
    let [a, b, c, d] = key;
    let key_word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key_word).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(key_word.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_byte(bytes: &[u8], key: [u8; 4], offset: usize) -> Vec<u8> {
        bytes.iter().enumerate().map(|(i, byte)| byte ^ key[(offset + i) % 4]).collect()
    }

    proptest! {
        #[test]
        fn masking_by_words_equals_masking_by_bytes(
            bytes in prop::collection::vec(any::<u8>(), 0..200), key: [u8; 4], offset in 0..64_usize, skip in 0..9_usize,
        ) {
            // `skip` moves the slice off its allocation's alignment.
            let skip = skip.min(bytes.len());
            let mut words = bytes.clone();
            apply(&mut words[skip..], key, offset);
            prop_assert_eq!(&words[..skip], &bytes[..skip]);
            prop_assert_eq!(&words[skip..], &by_byte(&bytes[skip..], key, offset)[..]);
        }

        #[test]
        fn masking_in_two_parts_equals_masking_at_once(
            bytes in prop::collection::vec(any::<u8>(), 0..200), key: [u8; 4], cut: prop::sample::Index,
        ) {
            let cut = if bytes.is_empty() { 0 } else { cut.index(bytes.len()) };
            let mut parts = bytes.clone();
            let (head, tail) = parts.split_at_mut(cut);
            apply(head, key, 0);
            apply(tail, key, cut);
            prop_assert_eq!(parts, by_byte(&bytes, key, 0));
        }
    }
}
