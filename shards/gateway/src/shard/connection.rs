//! One connection: its socket, its protocol state, and what is queued for it.
//!
//! ```text
//!  Proxy ──header──► Upgrade ──101──► Frames ──close──► closing (flush, half-close, linger) ──► gone
//! ```
//!
//! Lives in its shard's table under a key of slot and generation, so that an answer which comes too late
//! never reaches the connection that took its slot. An idle connection holds no buffer and no task.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use bytes::Bytes;
use ringway_engine::delivery::Device;
use ringway_engine::errors::CloseCode;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::ResumePoint;
use ringway_engine::session::Session;
use ringway_engine::websocket::Decoder;
use ringway_ring::socket::{self, Chunk, Socket};
use ringway_ring::tls::TlsStream;

/// Most bytes of one send; what is queued beyond goes into the next.
const SEND_BYTES_MAX: usize = 64 * 1024;

/// How far the peer has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// A PROXY header is expected; bytes so far.
    Proxy(Vec<u8>),
    /// The upgrade request is expected; bytes so far.
    Upgrade(Vec<u8>),
    /// Upgraded.
    Frames,
    /// A close frame was queued; whatever comes is dropped.
    Closing,
}

/// What is kept between the upgrade and the answer to `connect`.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    /// Token of the upgrade's `Authorization` until `connect` has used it.
    pub(crate) bearer: Option<String>,
    /// Resume points of `connect`, until it is known where the device stands.
    pub(crate) resume: BTreeMap<String, ResumePoint>,
}

/// A connection; see the module's head.
pub(crate) struct Connection {
    pub(crate) generation: u32,
    pub(crate) socket: Socket,
    pub(crate) phase: Phase,
    pub(crate) format: Format,
    pub(crate) session: Session,
    pub(crate) device: Device,
    pub(crate) decoder: Decoder,
    pub(crate) tls: Option<Box<TlsStream>>,
    /// The client's address, as far as trusted peers tell.
    pub(crate) address: IpAddr,
    /// What the opening needs; none once it is over.
    pub(crate) opening: Option<Box<Opening>>,
    /// User and device, while it is on the shard's map.
    pub(crate) owner: Option<(Uid, DeviceId)>,
    /// Groups that the device is attached to.
    pub(crate) groups: Vec<ConversationId>,
    /// What is sent next; empty when nothing waits. Most connections never have more than this.
    next: Bytes,
    /// What comes after it.
    queue: VecDeque<Bytes>,
    queued_bytes: usize,
    /// Stands in the shard's list of connections to flush.
    pub(crate) dirty: bool,
    /// Half-close once the queue is out.
    pub(crate) finish: bool,
    /// TLS only: the peer was told that nothing more comes.
    notified: bool,
    /// When the queue last moved.
    pub(crate) progress_ms: u64,
    /// The timer entry that counts.
    pub(crate) timer_ms: u64,
    /// When a closing connection is cut for good.
    pub(crate) cut_ms: u64,
    /// The peer is a balancer that is trusted to say who the client is.
    pub(crate) behind_balancer: bool,
    /// The socket is paused: see `is_full`.
    pub(crate) parked: bool,
}

impl Connection {
    pub(crate) fn new(generation: u32, socket: Socket, session: Session, address: IpAddr, phase: Phase) -> Self {
        Self {
            generation,
            socket,
            phase,
            format: Format::Json,
            session,
            device: Device::default(),
            decoder: Decoder::new(),
            tls: None,
            address,
            opening: None,
            owner: None,
            groups: Vec::new(),
            next: Bytes::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            dirty: false,
            finish: false,
            notified: false,
            progress_ms: 0,
            timer_ms: u64::MAX,
            cut_ms: u64::MAX,
            behind_balancer: false,
            parked: false,
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.queued_bytes
    }

    /// Whether anything waits to be sent.
    pub(crate) fn has_output(&self) -> bool {
        !self.next.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_output())
    }

    /// Queues bytes, in order.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.queued_bytes += bytes.len();
        if self.next.is_empty() {
            self.next = bytes;
        } else {
            self.queue.push_back(bytes);
        }
    }

    /// Drops all that is not in flight.
    pub(crate) fn drop_queue(&mut self) {
        self.next = Bytes::new();
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
    }

    /// Takes the next send: one buffer as it is, or several gathered.
    pub(crate) fn take_chunk(&mut self) -> Option<Chunk> {
        if self.tls.is_some() {
            return self.take_sealed(socket::spare());
        }
        if self.next.len() > SEND_BYTES_MAX {
            // In pieces, so that a slow but reading peer shows progress.
            self.queued_bytes -= SEND_BYTES_MAX;
            return Some(Chunk::Shared(self.next.split_to(SEND_BYTES_MAX)));
        }
        let first = self.pop()?;
        if self.next.is_empty() || first.len() + self.next.len() > SEND_BYTES_MAX {
            return Some(Chunk::Shared(first));
        }
        let mut gathered = socket::spare();
        gathered.extend_from_slice(&first);
        while gathered.len() + self.next.len() <= SEND_BYTES_MAX
            && let Some(bytes) = self.pop()
        {
            gathered.extend_from_slice(&bytes);
        }
        Some(Chunk::Owned(gathered))
    }

    /// Takes the next buffer. An idle connection keeps no memory of its bursts.
    fn pop(&mut self) -> Option<Bytes> {
        let next = std::mem::replace(&mut self.next, self.queue.pop_front().unwrap_or_default());
        if self.queue.is_empty() && self.queue.capacity() > 0 {
            self.queue = VecDeque::new();
        }
        self.queued_bytes -= next.len();
        (!next.is_empty()).then_some(next)
    }

    /// As `take_chunk`, encrypted.
    fn take_sealed(&mut self, mut spare: Vec<u8>) -> Option<Chunk> {
        let mut tls = self.tls.take()?;
        while (spare.is_empty() || spare.len() + self.next.len() <= SEND_BYTES_MAX)
            && let Some(bytes) = self.pop()
        {
            if tls.seal(&bytes, &mut spare).is_err() {
                // Nothing can be said any more on a stream that has failed.
                self.drop_queue();
                break;
            }
        }
        tls.take_output(&mut spare);
        if self.finish && self.next.is_empty() && !self.notified {
            self.notified = true;
            // Without a finished handshake there is no way to say it, and no need.
            let _ = tls.close_notify(&mut spare);
        }
        self.tls = Some(tls);
        (!spare.is_empty()).then_some(Chunk::Owned(spare))
    }

    /// Whether no more may be taken in: enough commands are in flight, or the client does not read answers.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self.phase, Phase::Frames)
            && (self.session.is_full() || self.queued_bytes > ringway_engine::limits::DELIVERY_QUEUED_BYTES_MAX)
    }

    /// Queues a close frame as the last thing.
    pub(crate) fn push_close(&mut self, code: CloseCode) {
        let frame = ringway_engine::websocket::close_frame(code as u16, code.name());
        self.push(frame);
        self.phase = Phase::Closing;
        self.finish = true;
    }
}
