//! One connection: its socket, its protocol state, and what is queued for it.
//!
//! ```text
//!  Proxy ──header──► Upgrade ──101──► Frames ──close──► closing (flush, half-close, linger) ──► gone
//! ```
//!
//! Lives in its shard's table under a key of slot and generation, so that an answer which comes too late
//! never reaches the connection that took its slot. An idle connection holds no buffer and no task.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use ringway_engine::delivery::Device;
use ringway_engine::errors::CloseCode;
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::ResumePoint;
use ringway_engine::session::{Identity, Session};
use ringway_engine::websocket::Decoder;
use ringway_ring::socket::{self, Chunk, Socket};
use ringway_ring::tls::TlsStream;

use super::send_queue::{SEND_BYTES_MAX, SendQueue};
use crate::groups::Groups;

/// How far the peer has come.
#[derive(Debug)]
pub(crate) enum Phase {
    /// A PROXY header is expected; bytes so far.
    Proxy(Kept),
    /// The upgrade request is expected; bytes so far.
    Upgrade(Kept),
    /// Upgraded.
    Frames,
    /// A close frame was queued; whatever comes is dropped. The connection is cut for good at this time.
    Closing { cut_ms: u64 },
}

/// Bytes that are not enough yet; most come whole.
type Kept = Option<Box<Vec<u8>>>;

/// The key of a connection in its shard's table.
pub(super) fn key(generation: u32, slot: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(slot)
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
    pub(crate) owner: Option<Arc<Identity>>,
    /// Groups that the device is attached to.
    pub(crate) groups: Groups,
    /// What waits to be sent.
    queue: SendQueue,
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
            groups: Groups::default(),
            queue: SendQueue::default(),
            dirty: false,
            finish: false,
            notified: false,
            progress_ms: 0,
            timer_ms: u64::MAX,
            behind_balancer: false,
            parked: false,
        }
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued(&self) -> usize {
        self.queue.bytes()
    }

    /// The user, while it is on the shard's map.
    pub(crate) fn owner_uid(&self) -> Option<&str> {
        self.owner.as_ref().map(|owner| owner.uid.as_str())
    }

    /// Whether anything waits to be sent.
    pub(crate) fn has_output(&self) -> bool {
        !self.queue.is_empty() || self.tls.as_ref().is_some_and(|tls| tls.has_output())
    }

    /// Queues bytes, in order.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        self.queue.push(bytes);
    }

    /// Drops all that is not in flight.
    pub(crate) fn drop_queue(&mut self) {
        self.queue.clear();
    }

    /// Takes the next send: one buffer as it is, or several gathered.
    pub(crate) fn take_chunk(&mut self) -> Option<Chunk> {
        if self.tls.is_some() {
            return self.take_sealed(socket::spare());
        }
        self.queue.take(socket::spare)
    }

    /// As `take_chunk`, encrypted.
    fn take_sealed(&mut self, mut spare: Vec<u8>) -> Option<Chunk> {
        let mut tls = self.tls.take()?;
        while (spare.is_empty() || spare.len() + self.queue.next_bytes() <= SEND_BYTES_MAX)
            && let Some(bytes) = self.queue.pop()
        {
            if tls.seal(&bytes, &mut spare).is_err() {
                // Nothing can be said any more on a stream that has failed.
                self.drop_queue();
                break;
            }
        }
        tls.take_output(&mut spare);
        if self.finish && self.queue.is_empty() && !self.notified {
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
            && (self.session.is_full() || self.queued() > ringway_engine::limits::DELIVERY_QUEUED_BYTES_MAX)
    }

    /// Queues a close frame as the last thing.
    pub(crate) fn push_close(&mut self, code: CloseCode) {
        let frame = ringway_engine::websocket::close_frame(code as u16, code.name());
        self.push(frame);
        self.finish = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the table in the README adds up; whoever makes one larger answers for it there.
    #[test]
    fn an_idle_connection_stays_small() {
        assert!(size_of::<Connection>() - size_of::<Device>() <= 240);
        assert!(size_of::<Session>() <= 72 && size_of::<Decoder>() <= 32 && size_of::<Identity>() <= 32);
        assert!(size_of::<crate::mail::ToShard>() <= 80 && size_of::<crate::mail::ToUplink>() <= 88);
    }
}
