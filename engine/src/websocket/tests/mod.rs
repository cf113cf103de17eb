//! Tests of the decoder as its connection sees it; the other files test themselves.

mod chopping;
mod hostile_frames;
mod messages;
mod upgrade;

use std::ops::ControlFlow;

use super::{Decoder, Incoming, Limits, Opcode, ProtocolError, client_frame};

/// An [`Incoming`] that outlives its buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
}

impl From<Incoming<'_>> for Seen {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Incoming::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Incoming::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Incoming::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What came out of a decoder, and how it ended.
type Outcome = (Vec<Seen>, Result<(), ProtocolError>);

/// Feeds `stream` in parts that end at `cuts`.
fn feed_in_parts(decoder: &mut Decoder, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut seen = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([stream.len()]) {
        let mut part = stream[start..end].to_vec();
        start = end;
        let result = decoder.feed(&mut part, 0, &mut |incoming| {
            seen.push(incoming.into());
            ControlFlow::Continue(())
        });
        if result.is_err() {
            return (seen, result);
        }
    }
    (seen, Ok(()))
}

fn feed(stream: &[u8]) -> Outcome {
    feed_in_parts(&mut Decoder::new(), stream, &[])
}

fn feed_byte_by_byte(stream: &[u8]) -> Outcome {
    let cuts: Vec<usize> = (1..stream.len()).collect();
    feed_in_parts(&mut Decoder::new(), stream, &cuts)
}

/// A frame without FIN.
fn fragment(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut bytes = client_frame(opcode, payload, KEY);
    bytes[0] &= 0x7f;
    bytes
}

fn last(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    client_frame(opcode, payload, KEY)
}

/// A masked header that announces `length` in the form chosen by `form` (0..=125, 126 or 127).
fn announce(first: u8, form: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first, 0x80 | form];
    match form {
        126 => bytes.extend_from_slice(&(length as u16).to_be_bytes()),
        127 => bytes.extend_from_slice(&length.to_be_bytes()),
        _ => {}
    }
    bytes.extend_from_slice(&KEY);
    bytes
}
