//! Messages out of a connection's bytes, however they were chopped.
//!
//! ```text
//!            header whole             payload whole
//! BETWEEN ----------------> PAYLOAD ----------------> BETWEEN
//!    |                         |
//!    +---- close frame, error, Break of the callback ----> CLOSED (takes nothing more)
//! ```
//!
//! Beside that runs the message in progress: opened by a data frame without FIN (or by one whose
//! payload is not all there yet), closed by the frame with FIN. Control frames may come in between.

use std::ops::ControlFlow;

use super::{
    frame::Opcode,
    header::{HEADER_BYTES_MAX, Header},
    mask,
    protocol_error::ProtocolError,
};
use crate::limits::{FRAGMENTS_MAX, MESSAGE_BYTES_MAX, PINGS_BURST_MAX, PINGS_PER_SECOND_MAX};

/// What one peer may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message, fragments added up. A frame that would pass it is refused from its header.
    pub message_bytes_max: usize,
    /// Frames of one message.
    pub fragments_max: u32,
    /// Pings a second, after a first burst of [`PINGS_BURST_MAX`]; above 1,000 it is no bound.
    pub pings_per_second_max: u32,
}

impl Limits {
    /// The bounds of [`limits`](crate::limits).
    pub const OF_CLIENTS: Self = Self {
        message_bytes_max: MESSAGE_BYTES_MAX,
        fragments_max: FRAGMENTS_MAX,
        pings_per_second_max: PINGS_PER_SECOND_MAX,
    };
}

/// What came in whole. Borrowed from the read buffer, or from the decoder if it came in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// Wants a pong with the same payload, at most 125 bytes.
    Ping(&'a [u8]),
    /// Answers a ping, or was sent unasked.
    Pong(&'a [u8]),
    /// The peer sends nothing more: code, if it gave one, and reason.
    Close(Option<(u16, &'a str)>),
}

/// The callback of [`Decoder::feed`].
type On<'a> = &'a mut dyn FnMut(Incoming<'_>) -> ControlFlow<()>;

/// The receiving half of one connection, server side: every frame must be masked. What is incomplete is
/// boxed: between messages, which is nearly always, a decoder is small.
///
/// Order of calls: [`feed`](Self::feed) with each read, until it fails or the callback has seen a
/// close; from then on it takes nothing.
#[derive(Debug)]
pub struct Decoder {
    limits: &'static Limits,
    closed: bool,
    /// When the pings seen so far are paid for, at the allowed rate (the "theoretical arrival time"
    /// of the generic cell rate algorithm).
    pings_paid_ms: u64,
    partial: Option<Box<Partial>>,
}

/// What is not whole yet.
#[derive(Debug, Default)]
struct Partial {
    /// The start of a header.
    head: [u8; HEADER_BYTES_MAX],
    head_len: u8,
    /// The frame whose payload is not all there.
    payload: Option<Payload>,
    /// The message whose last frame is not all there.
    message: Option<Message>,
    /// The payload of a control frame, at most 125 bytes.
    control: Vec<u8>,
}

impl Partial {
    fn is_empty(&self) -> bool {
        self.head_len == 0 && self.payload.is_none() && self.message.is_none() && self.control.is_empty()
    }
}

/// A frame between its header and its last byte.
#[derive(Debug)]
struct Payload {
    header: Header,
    received: usize,
    remaining: usize,
}

/// A data message between its first byte and its last.
#[derive(Debug)]
struct Message {
    is_text: bool,
    fragments: u32,
    /// Grows with what is received, by doubling, so at most twice `message_bytes_max`.
    bytes: Vec<u8>,
    /// For text: how much of `bytes` is known to be whole UTF-8 characters. At most 3 bytes follow.
    checked: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder with the bounds of [`limits`](crate::limits).
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(&Limits::OF_CLIENTS)
    }

    /// A decoder with other bounds: the conformance echo takes messages of 16 MiB.
    #[must_use]
    pub fn with_limits(limits: &'static Limits) -> Self {
        Self { limits, closed: false, pings_paid_ms: 0, partial: None }
    }

    /// Takes what a socket read and hands over every message that is whole by now, in order.
    ///
    /// `input` is scratch memory: payloads are unmasked in it, and a message that lies in it whole is
    /// handed over without a copy. What is incomplete is copied out, so the buffer may be reused for
    /// the next connection at once. `now_ms` is a monotonic clock, for the rate of pings.
    ///
    /// `on` may answer `Break` to stop: the rest of `input`, and all later input, is dropped. The
    /// same holds after a close frame and after an error.
    ///
    /// # Errors
    /// See [`ProtocolError`]; messages before the breach have been handed over. The connection is to
    /// be closed with [`ProtocolError::close_code`].
    pub fn feed(&mut self, input: &mut [u8], now_ms: u64, on: On<'_>) -> Result<(), ProtocolError> {
        if self.closed {
            return Ok(());
        }
        let ended = self.take_frames(input, now_ms, on);
        if !matches!(ended, Ok(ControlFlow::Continue(()))) {
            self.closed = true;
            self.partial = None;
        }
        self.partial.take_if(|partial| partial.is_empty());
        ended.map(drop)
    }

    /// Heap bytes of payloads that are incomplete; 0 between messages.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            partial.control.capacity() + partial.message.as_ref().map_or(0, |message| message.bytes.capacity())
        })
    }

    fn partial(&mut self) -> &mut Partial {
        self.partial.get_or_insert_default()
    }

    /// The message that is not whole yet.
    fn message(&mut self) -> Option<&mut Message> {
        self.partial.as_mut()?.message.as_mut()
    }

    fn take_frames(&mut self, mut rest: &mut [u8], now_ms: u64, on: On<'_>) -> Result<ControlFlow<()>, ProtocolError> {
        loop {
            let mut frame = match self.partial.as_mut().and_then(|partial| partial.payload.take()) {
                Some(frame) => frame,
                None => match self.take_header(&mut rest)? {
                    Some(header) => self.open(header, now_ms)?,
                    None => return Ok(ControlFlow::Continue(())),
                },
            };
            if rest.is_empty() && frame.remaining > 0 {
                self.partial().payload = Some(frame);
                return Ok(ControlFlow::Continue(()));
            }
            let (part, after) = rest.split_at_mut(frame.remaining.min(rest.len()));
            rest = after;
            mask::apply(part, frame.header.mask_key, frame.received);
            let is_first = frame.received == 0;
            frame.received += part.len();
            frame.remaining -= part.len();
            let is_last = frame.remaining == 0;
            let flow = match frame.header.opcode {
                Opcode::Continuation | Opcode::Text | Opcode::Binary => {
                    self.take_data(&frame.header, part, is_first && is_last, is_last, on)?
                }
                Opcode::Close | Opcode::Ping | Opcode::Pong => {
                    self.take_control(frame.header.opcode, part, is_first, is_last, on)?
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
            if !is_last {
                self.partial().payload = Some(frame);
                return Ok(ControlFlow::Continue(()));
            }
        }
    }

    /// Takes a header off the start of `rest`. `None`: all of `rest` was kept, it is not whole yet.
    fn take_header(&mut self, rest: &mut &mut [u8]) -> Result<Option<Header>, ProtocolError> {
        let kept = self.partial.as_ref().map_or(0, |partial| usize::from(partial.head_len));
        if kept == 0
            && let Some((header, size)) = Header::parse(rest)?
        {
            skip(rest, size);
            return Ok(Some(header));
        }
        if rest.is_empty() {
            return Ok(None);
        }
        // Never full here: a whole header would have been taken.
        let partial = self.partial();
        let (_, room) = partial.head.split_at_mut(kept);
        let add = room.len().min(rest.len());
        for (to, from) in room.iter_mut().zip(rest.iter()) {
            *to = *from;
        }
        let (head, _) = partial.head.split_at(kept + add);
        match Header::parse(head)? {
            Some((header, size)) => {
                partial.head_len = 0;
                skip(rest, size.saturating_sub(kept));
                Ok(Some(header))
            }
            None => {
                partial.head_len = (kept + add) as u8;
                Ok(None)
            }
        }
    }

    /// The rules that depend on the frames before: order of fragments, sizes, rate of pings. Nothing
    /// is allocated for the length that the header announces.
    fn open(&mut self, header: Header, now_ms: u64) -> Result<Payload, ProtocolError> {
        let limits = self.limits;
        match (header.opcode, self.message()) {
            (Opcode::Continuation, None) => return Err(ProtocolError::ContinuationOfNothing),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(ProtocolError::MessageInMessage),
            (Opcode::Continuation, Some(message)) => {
                message.fragments = message.fragments.saturating_add(1);
                if message.fragments > limits.fragments_max {
                    return Err(ProtocolError::TooManyFragments);
                }
                check_size(message.bytes.len(), header.length, limits)?;
            }
            (Opcode::Text | Opcode::Binary, None) => check_size(0, header.length, limits)?,
            (Opcode::Ping, _) => self.count_ping(now_ms)?,
            (Opcode::Close | Opcode::Pong, _) => {}
        }
        let remaining = usize::try_from(header.length).map_err(|_| ProtocolError::MessageTooBig)?;
        Ok(Payload { header, received: 0, remaining })
    }

    fn count_ping(&mut self, now_ms: u64) -> Result<(), ProtocolError> {
        let rate = self.limits.pings_per_second_max.max(1);
        let interval_ms = u64::from(1_000 / rate);
        let paid_ms = self.pings_paid_ms.max(now_ms);
        if paid_ms - now_ms > interval_ms * u64::from(PINGS_BURST_MAX - 1) {
            return Err(ProtocolError::TooManyPings);
        }
        self.pings_paid_ms = paid_ms.saturating_add(interval_ms);
        Ok(())
    }

    /// `part` is the next piece of a data frame, `is_whole` that it is all of it, `is_last` that it ends it.
    fn take_data(
        &mut self,
        header: &Header,
        part: &[u8],
        is_whole: bool,
        is_last: bool,
        on: On<'_>,
    ) -> Result<ControlFlow<()>, ProtocolError> {
        let is_text = header.opcode == Opcode::Text;
        if is_whole && header.is_final && self.message().is_none() {
            return Ok(on(if is_text { Incoming::Text(utf8(part)?) } else { Incoming::Binary(part) }));
        }
        let begin = || Message { is_text, fragments: 1, bytes: Vec::new(), checked: 0 };
        let message = self.partial().message.get_or_insert_with(begin);
        message.add(part)?;
        if !(is_last && header.is_final) {
            return Ok(ControlFlow::Continue(()));
        }
        match self.partial().message.take() {
            // The second look at text that was checked as it came is what safe code pays for a `str`.
            Some(message) if message.is_text => Ok(on(Incoming::Text(utf8(&message.bytes)?))),
            Some(message) => Ok(on(Incoming::Binary(&message.bytes))),
            None => Ok(ControlFlow::Continue(())),
        }
    }

    fn take_control(
        &mut self,
        opcode: Opcode,
        part: &[u8],
        is_first: bool,
        is_last: bool,
        on: On<'_>,
    ) -> Result<ControlFlow<()>, ProtocolError> {
        if is_first && is_last {
            return hand_over_control(opcode, part, on);
        }
        self.partial().control.extend_from_slice(part);
        if !is_last {
            return Ok(ControlFlow::Continue(()));
        }
        let payload = std::mem::take(&mut self.partial().control);
        hand_over_control(opcode, &payload, on)
    }
}

impl Message {
    /// Appends, and for text looks at what is new: each byte is checked once, but for the at most three
    /// of a character that was cut.
    fn add(&mut self, part: &[u8]) -> Result<(), ProtocolError> {
        self.bytes.extend_from_slice(part);
        if !self.is_text {
            return Ok(());
        }
        let unchecked = self.bytes.get(self.checked..).unwrap_or_default();
        match simdutf8::compat::from_utf8(unchecked) {
            Ok(_) => self.checked = self.bytes.len(),
            // A character that more bytes may still complete.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(ProtocolError::Utf8),
        }
        Ok(())
    }
}

fn skip(rest: &mut &mut [u8], count: usize) {
    let (_, after) = std::mem::take(rest).split_at_mut(count);
    *rest = after;
}

fn check_size(received: usize, more: u64, limits: &Limits) -> Result<(), ProtocolError> {
    let room = limits.message_bytes_max.saturating_sub(received);
    if more > room as u64 { Err(ProtocolError::MessageTooBig) } else { Ok(()) }
}

fn utf8(bytes: &[u8]) -> Result<&str, ProtocolError> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| ProtocolError::Utf8)
}

fn hand_over_control(opcode: Opcode, payload: &[u8], on: On<'_>) -> Result<ControlFlow<()>, ProtocolError> {
    match opcode {
        Opcode::Ping => Ok(on(Incoming::Ping(payload))),
        Opcode::Pong => Ok(on(Incoming::Pong(payload))),
        _ => {
            let close = parse_close(payload)?;
            // A peer must send nothing after its close; if it does, it is not read (§5.5.1).
            let _ = on(Incoming::Close(close));
            Ok(ControlFlow::Break(()))
        }
    }
}

fn parse_close(payload: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(ProtocolError::CloseCutShort) };
    };
    let code = u16::from_be_bytes(*code);
    // RFC 6455 §7.4 and IANA's registry, which has added 1012 to 1014. 1004 to 1006 and 1015 must
    // never be on the wire.
    match code {
        1000..=1003 | 1007..=1014 | 3000..=4999 => Ok(Some((code, utf8(reason)?))),
        _ => Err(ProtocolError::CloseCode(code)),
    }
}
