//! Frames on a socket: one reader and one writer a connection, each a future that ends when the connection does.
//!
//! A dropped future closes its half; frames half-way through it are lost, as words may be, and asks are failed by
//! whoever owns them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::counters::{Written, add};
use crate::error::ConnectionError;
use crate::frame::{self, Class, HEADER_BYTES, Head};
use crate::limits::{GREETING_BYTES_MAX, PeerLimits, READ_BYTES, WRITE_BYTES_MAX};
use crate::queue::Queue;
use crate::seal::Seal;

/// The reading half with what has been read and not been used.
pub(crate) struct FrameReader<R> {
    half: R,
    buffer: BytesMut,
}

/// What both halves know of the frames after the greeting.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) version: u8,
    pub(crate) limits: PeerLimits,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(half: R) -> Self {
        Self { half, buffer: BytesMut::new() }
    }

    /// The body of the next frame, which must be a greeting of this kind. The caller bounds the time.
    ///
    /// # Errors
    /// The socket's, or what came is something else.
    pub(crate) async fn greeting(&mut self, kind: u8) -> Result<Vec<u8>, ConnectionError> {
        loop {
            if let Some(frame) = frame::decode(&self.buffer, GREETING_BYTES_MAX)? {
                let Head { version, kind: found, .. } = frame.head;
                if version != 0 || found != kind {
                    return Err(ConnectionError::Misplaced { version, kind: found });
                }
                let (body, bytes) = (frame.body.to_vec(), frame.bytes);
                self.buffer.advance(bytes);
                return Ok(body);
            }
            self.buffer.reserve(HEADER_BYTES + GREETING_BYTES_MAX);
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Err(ConnectionError::ClosedEarly);
            }
        }
    }

    /// Goes on to the frames of the session.
    pub(crate) fn begin(self, session: Session, seal: Seal) -> SessionReader<R> {
        SessionReader { half: self.half, buffer: self.buffer, session, seal }
    }
}

/// The reading half after the greeting.
pub(crate) struct SessionReader<R> {
    half: R,
    buffer: BytesMut,
    session: Session,
    seal: Seal,
}

impl<R: AsyncRead + Unpin> SessionReader<R> {
    /// The next frame, checked in all but its body. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub(crate) async fn next(&mut self, bytes_in: &AtomicU64) -> Result<(Head, Bytes), ConnectionError> {
        let silence = Duration::from_millis(self.session.limits.dead_ms);
        loop {
            if let Some(frame) = frame::decode(&self.buffer, self.session.limits.frame_bytes_max)? {
                if !self.seal.is_next(frame.sealed, frame.body, &frame.tag) {
                    return Err(ConnectionError::Forged);
                }
                let (head, bytes) = (frame.head, frame.bytes);
                if head.version != self.session.version
                    || matches!(frame::class(head.kind), Class::Greeting | Class::Reserved)
                {
                    return Err(ConnectionError::Misplaced { version: head.version, kind: head.kind });
                }
                return Ok((head, self.buffer.split_to(bytes).freeze().slice(HEADER_BYTES..)));
            }
            if self.buffer.is_empty() && self.buffer.capacity() > 2 * READ_BYTES {
                self.buffer = BytesMut::new();
            }
            // Room grows with what has come, not with what a header promises.
            self.buffer.reserve(READ_BYTES);
            let read = timeout(silence, self.half.read_buf(&mut self.buffer));
            match read.await.map_err(|_| ConnectionError::Silent)?? {
                0 => return Err(ConnectionError::Closed),
                bytes => add(bytes_in, bytes as u64),
            }
        }
    }
}

/// Writes a greeting. The caller bounds the time.
///
/// # Errors
/// The socket's.
pub(crate) async fn write_greeting(
    half: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    body: &[u8],
) -> Result<(), ConnectionError> {
    let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
    frame::encode(&mut out, Head { version: 0, kind, request: 0 }, body, |_, _| Default::default());
    Ok(half.write_all(&out).await?)
}

/// Writes what is queued, as much of it as fits in one write, until the queue is closed and empty; then tells the
/// other end that nothing follows.
///
/// # Errors
/// The socket's, or the other end does not read.
pub(crate) async fn write_queue(
    mut half: impl AsyncWrite + Unpin,
    session: Session,
    mut seal: Seal,
    queue: &Queue,
    written: Written<'_>,
) -> Result<(), ConnectionError> {
    let mut out = Vec::new();
    loop {
        let frames = queue.take(WRITE_BYTES_MAX).await;
        if frames.is_empty() {
            return Ok(half.shutdown().await?);
        }
        out.clear();
        for frame in &frames {
            let head = Head { version: session.version, kind: frame.kind, request: frame.request };
            frame::encode(&mut out, head, &frame.body, |sealed, body| seal.next(sealed, body));
        }
        add(written.frames, frames.len() as u64);
        drop(frames);
        write_all(&mut half, &out, &session.limits, written).await?;
        if out.capacity() > 2 * WRITE_BYTES_MAX {
            out = Vec::new();
        }
    }
}

/// A slow reader is let be as long as it reads at all.
async fn write_all(
    half: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    limits: &PeerLimits,
    counters: Written<'_>,
) -> Result<(), ConnectionError> {
    let limit = Duration::from_millis(limits.write_ms);
    while !bytes.is_empty() {
        let written = timeout(limit, half.write(bytes)).await.map_err(|_| ConnectionError::Stuck)??;
        if written == 0 {
            return Err(ConnectionError::Closed);
        }
        bytes.advance(written);
        add(counters.writes, 1);
        add(counters.bytes, written as u64);
    }
    Ok(())
}
