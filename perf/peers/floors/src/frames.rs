//! Frames of RFC 6455 as a server meets them: the client's come masked, ours go out bare.

/// A client's frame, unmasked in place.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// First byte: FIN and opcode.
    pub head: u8,
    /// Payload.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// What kind of frame.
    pub fn opcode(&self) -> u8 {
        self.head & 0x0f
    }
}

/// The client closes.
pub const CLOSE: u8 = 8;
/// To be answered with the same payload.
pub const PING: u8 = 9;
/// The answer.
pub const PONG: u8 = 10;
/// First byte of a whole text message.
pub const TEXT_HEAD: u8 = 0x81;
/// First byte of a whole pong.
pub const PONG_HEAD: u8 = 0x80 | PONG;

/// Takes the frame at the start of `bytes` and unmasks it; answers it and what follows. `None` when it is not whole
/// yet; then nothing was changed.
pub fn next(bytes: &mut [u8]) -> Option<(Frame<'_>, &mut [u8])> {
    let (head, payload_at, length) = match *bytes {
        [head, second @ 0x80..=0xfd, ..] => (head, 2, usize::from(second & 0x7f)),
        [head, 0xfe, a, b, ..] => (head, 4, usize::from(u16::from_be_bytes([a, b]))),
        [head, 0xff, a, b, c, d, e, f, g, h, ..] => {
            (head, 10, usize::try_from(u64::from_be_bytes([a, b, c, d, e, f, g, h])).ok()?)
        }
        _ => return None,
    };
    let (_, rest) = bytes.split_at_mut_checked(payload_at)?;
    let (key, rest) = rest.split_first_chunk_mut::<4>()?;
    let (payload, rest) = rest.split_at_mut_checked(length)?;
    unmask(*key, payload);
    Some((Frame { head, payload }, rest))
}

fn unmask(key: [u8; 4], payload: &mut [u8]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends one bare frame.
pub fn append(out: &mut Vec<u8>, head: u8, payload: &[u8]) {
    match payload.len() {
        length @ 0..=125 => out.extend_from_slice(&[head, length as u8]),
        length @ 126..=65_535 => {
            let [a, b] = (length as u16).to_be_bytes();
            out.extend_from_slice(&[head, 126, a, b]);
        }
        length => {
            out.extend_from_slice(&[head, 127]);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(length: usize) {
        let payload: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let mut bare = Vec::new();
        append(&mut bare, 0x82, &payload);
        let head = bare.len() - length;
        let key = [1, 2, 3, 250];
        let mut masked = bare[..head].to_vec();
        masked[1] |= 0x80;
        masked.extend_from_slice(&key);
        masked.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        masked.push(7);
        for end in 0..masked.len() - 1 {
            assert_eq!(next(&mut masked.clone()[..end]), None, "{end} of {length}");
        }
        let (frame, rest) = next(&mut masked).unwrap();
        assert_eq!(frame, Frame { head: 0x82, payload: &payload });
        assert_eq!(rest, [7]);
    }

    #[test]
    fn a_masked_frame_of_any_length_is_read_once_it_is_whole() {
        for length in [0, 1, 7, 8, 125, 126, 300] {
            check(length);
        }
        let mut out = Vec::new();
        append(&mut out, 0x82, &vec![0; 65_536]);
        assert_eq!(out[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
