//! WebSocket frames of RFC 6455 as a client meets them: the server's come unmasked, ours are masked with
//! one fixed key, so that a prepared frame can be patched where it lies.

use ringway_engine::packet::Format;

use super::Unreadable;

/// The mask key of every frame. Predictable keys harm where proxies can be fooled, not on a test machine.
pub(crate) const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Opcodes that matter here.
pub(crate) const TEXT: u8 = 1;
/// A binary message.
pub(crate) const BINARY: u8 = 2;
/// The server closes.
pub(crate) const CLOSE: u8 = 8;
/// To be answered with the same payload.
pub(crate) const PING: u8 = 9;
/// The answer.
pub(crate) const PONG: u8 = 10;

/// The opcode of a format's messages.
pub(crate) fn data_opcode(format: Format) -> u8 {
    if format.is_text() { TEXT } else { BINARY }
}

/// A whole frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Opcode.
    pub(crate) opcode: u8,
    /// Payload.
    pub(crate) payload: &'a [u8],
}

/// The frame at the start of `bytes` and what follows it; `None` when it is not whole yet.
///
/// # Errors
/// A fragment or a masked frame: the server never sends them.
pub(crate) fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, &[u8])>, Unreadable> {
    let Some(([first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        return Err(Unreadable);
    }
    let (length, rest) = match second {
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Ok(None),
        },
        short => (u64::from(*short), rest),
    };
    let split = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    Ok(split.map(|(payload, rest)| (Frame { opcode: first & 0x0f, payload }, rest)))
}

/// Appends one masked frame.
pub(crate) fn append(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=65_535 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use ringway_engine::websocket::{Opcode, client_frame, frame};

    use super::*;

    #[test]
    fn the_frames_of_the_engine_are_read_and_ours_are_its_own() {
        for length in [0, 125, 126, 65_535, 65_536] {
            let payload = vec![b'x'; length];
            let theirs = frame(Opcode::Binary, &payload);
            assert_eq!(next(&theirs), Ok(Some((Frame { opcode: BINARY, payload: &payload }, &b""[..]))));
            assert_eq!(next(&theirs[..theirs.len() - 1]), Ok(None));
            let mut ours = Vec::new();
            append(&mut ours, BINARY, &payload);
            assert_eq!(ours, client_frame(Opcode::Binary, &payload, MASK));
            assert_eq!(next(&ours), Err(Unreadable), "masked");
        }
    }
}
