//! Between commands and WebSocket messages.

use ringway_engine::limits::{COMMANDS_PER_MESSAGE_MAX, MESSAGE_BYTES_MAX};
use ringway_engine::packet::schema::Command;
use ringway_engine::packet::{Format, encode_command};
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::limits::FRAME_BYTES_MAX;

/// Gathers commands into frames of about [`FRAME_BYTES_MAX`]; one command may be larger, up to what
/// the server takes. A command that no longer fits waits for the next frame.
#[derive(Debug)]
pub(super) struct Gather {
    format: Format,
    carried: Vec<u8>,
}

impl Gather {
    pub(super) fn new(format: Format) -> Self {
        Self { format, carried: Vec::new() }
    }

    /// One frame of what `next` gives, or `None` when it gives nothing.
    pub(super) fn frame(&mut self, mut next: impl FnMut() -> Option<Command>) -> Option<Frame> {
        let mut payload = std::mem::take(&mut self.carried);
        let mut count = usize::from(!payload.is_empty());
        let mut one = Vec::new();
        while payload.len() < FRAME_BYTES_MAX && count < COMMANDS_PER_MESSAGE_MAX {
            let Some(command) = next() else { break };
            one.clear();
            encode_command(self.format, &command, &mut one);
            if payload.len() + one.len() + 1 > MESSAGE_BYTES_MAX && !payload.is_empty() {
                self.carried = one;
                break;
            }
            if self.format == Format::Json && !payload.is_empty() {
                payload.push(b'\n');
            }
            payload.extend_from_slice(&one);
            count += 1;
        }
        if payload.is_empty() { None } else { into_frame(self.format, payload) }
    }
}

/// A frame of one command; `None` when the server would not take it.
pub(super) fn of_command(format: Format, command: &Command) -> Option<Frame> {
    let mut payload = Vec::new();
    encode_command(format, command, &mut payload);
    if payload.len() > MESSAGE_BYTES_MAX { None } else { into_frame(format, payload) }
}

fn into_frame(format: Format, payload: Vec<u8>) -> Option<Frame> {
    if format.is_text() {
        // serde_json writes UTF-8, so this never fails.
        String::from_utf8(payload).ok().map(Frame::text)
    } else {
        Some(Frame::binary(payload))
    }
}

/// The packet bytes of a frame; empty for pings and the like.
pub(super) fn payload(frame: &Frame) -> &[u8] {
    match frame {
        Frame::Text(text) => text.as_bytes(),
        Frame::Binary(bytes) => bytes,
        _ => &[],
    }
}

/// Code and reason of a close frame; 1005 when it has none (RFC 6455 §7.1.5).
pub(super) fn close_reason(close: Option<CloseFrame>) -> (u16, String) {
    close.map_or((1005, String::new()), |close| (close.code.into(), close.reason.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_share_frames_and_none_is_lost_at_the_bound() {
        for format in Format::ALL {
            let mut commands = [10, 20_000, 60_000, 40_000, 10, 10]
                .into_iter()
                .enumerate()
                .map(|(id, length)| Command::ack("x".repeat(length), 1, id as u64));
            let mut gather = Gather::new(format);
            let sizes: Vec<usize> =
                std::iter::from_fn(|| gather.frame(|| commands.next()).map(|frame| frame.len())).collect();
            assert_eq!(sizes.len(), 4, "{sizes:?}");
            assert!(sizes.iter().all(|&size| size <= MESSAGE_BYTES_MAX));
        }
    }
}
