//! One connection: its socket, its protocol state, and what is queued for it.
//!
//! ```text
//!  Proxy ──header──► Upgrade ──101──► Frames ──close──► closing (flush, half-close, linger) ──► gone
//! ```
//!
//! Lives in its shard's table under a key of slot and generation, so that an answer which comes too late
//! never reaches the connection that took its slot. An idle connection holds no read buffer.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::task::Waker;

use bytes::Bytes;
use ringway_engine::delivery::Device;
use ringway_engine::errors::CloseCode;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::ResumePoint;
use ringway_engine::session::Session;
use ringway_engine::websocket::Decoder;
use ringway_ring::socket::Socket;
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

/// What a send carries.
pub(crate) enum Chunk {
    /// One buffer, perhaps shared with other connections.
    Shared(Bytes),
    /// Several, gathered.
    Owned(Vec<u8>),
}

/// A connection; see the module's head.
pub(crate) struct Connection {
    pub(crate) generation: u32,
    pub(crate) socket: Rc<Socket>,
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
    /// A send is in flight.
    pub(crate) sending: bool,
    /// Stands in the shard's list of connections to flush.
    pub(crate) dirty: bool,
    /// Half-close once the queue is out.
    pub(crate) finish: bool,
    /// TLS only: the peer was told that nothing more comes.
    notified: bool,
    /// When the queue last moved, or became non-empty; Unix milliseconds.
    pub(crate) progress_ms: u64,
    /// The timer entry that counts.
    pub(crate) timer_ms: u64,
    /// When a closing connection is cut for good.
    pub(crate) cut_ms: u64,
    /// The reader, while it must not read.
    pub(crate) parked: Option<Waker>,
}

impl Connection {
    pub(crate) fn new(generation: u32, socket: Rc<Socket>, session: Session, address: IpAddr, phase: Phase) -> Self {
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
            sending: false,
            dirty: false,
            finish: false,
            notified: false,
            progress_ms: 0,
            timer_ms: u64::MAX,
            cut_ms: u64::MAX,
            parked: None,
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
    pub(crate) fn push(&mut self, bytes: Bytes, now_ms: u64) {
        if bytes.is_empty() {
            return;
        }
        if self.next.is_empty() && !self.sending {
            self.progress_ms = now_ms;
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

    /// Takes the next send: one buffer as it is, or several gathered into `spare`, which is then taken too.
    pub(crate) fn take_chunk(&mut self, spare: &mut Vec<u8>) -> Option<Chunk> {
        if self.tls.is_some() {
            return self.take_sealed(std::mem::take(spare));
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
        let mut gathered = std::mem::take(spare);
        gathered.clear();
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
        spare.clear();
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

    /// Whether the reader must wait: enough commands are in flight, or the client does not read answers.
    pub(crate) fn is_parked(&self) -> bool {
        matches!(self.phase, Phase::Frames)
            && (self.session.is_full() || self.queued_bytes > ringway_engine::limits::DELIVERY_QUEUED_BYTES_MAX)
    }

    /// Queues a close frame as the last thing.
    pub(crate) fn push_close(&mut self, code: CloseCode, now_ms: u64) {
        let frame = ringway_engine::websocket::close_frame(code as u16, code.name());
        self.push(frame, now_ms);
        self.phase = Phase::Closing;
        self.finish = true;
    }
}
