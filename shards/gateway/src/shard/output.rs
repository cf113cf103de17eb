//! From queues to sockets: everything that one turn produced for a connection goes in one send.
//!
//! Whoever queues bytes marks the connection dirty and wakes the flusher, which stands behind all tasks
//! that are ready now; it starts a writer for each dirty connection that has none. One send is in flight a
//! connection; a writer goes on until the queue is empty. A send to a peer that never reads ends when the
//! ticker shuts the socket down.

use std::rc::Rc;

use bytes::Bytes;
use ringway_engine::effect::SessionEffect;
use ringway_engine::errors::CloseCode;
use ringway_engine::limits::{DELIVERY_QUEUED_BYTES_MAX, DELIVERY_RESERVE_BYTES};
use ringway_engine::packet;
use ringway_engine::packet::schema::ServerPacket;
use ringway_ring::runtime;
use ringway_ring::socket::Socket;

use super::connection::{Chunk, Phase};
use super::{Shard, Shared};
use crate::clock;

/// How long a connection may linger after its close frame, for the peer to read it.
const LINGER_MS: u64 = 2_000;
/// Largest write buffer that is kept for the next gathered send.
const SPARE_BYTES_MAX: usize = 64 * 1024;

/// Starts writers for what the turn produced and wakes the other threads once.
pub(super) async fn run_flusher(shared: Shared) {
    loop {
        std::future::poll_fn(|context| {
            let mut shard = shared.borrow_mut();
            if shard.finished {
                return std::task::Poll::Pending;
            }
            if shard.has_work() {
                return std::task::Poll::Ready(());
            }
            shard.flusher = Some(context.waker().clone());
            std::task::Poll::Pending
        })
        .await;
        let (writers, room) = {
            let mut shard = shared.borrow_mut();
            let room = shard.flush_mail();
            (shard.take_writers(), room)
        };
        for (key, socket) in writers {
            runtime::spawn_local(write(Rc::clone(&shared), socket, key));
        }
        if !room {
            // A peer's ring is full: it works on it; look again soon.
            runtime::sleep(1).await;
        }
    }
}

async fn write(shared: Shared, socket: Rc<Socket>, key: u64) {
    loop {
        let chunk = {
            let mut shard = shared.borrow_mut();
            let mut spare = std::mem::take(&mut shard.spare);
            let Some(connection) = shard.connection(key) else { return };
            let chunk = connection.take_chunk(&mut spare);
            if chunk.is_none() {
                connection.sending = false;
                if connection.finish {
                    socket.shutdown_write();
                }
                shard.spare = spare;
                shard.pump_backlog(key);
                shard.settle();
                return;
            }
            shard.spare = spare;
            chunk
        };
        let (result, bytes) = match chunk {
            None => return,
            Some(Chunk::Shared(bytes)) => {
                let count = bytes.len();
                (socket.send(bytes).await, count)
            }
            Some(Chunk::Owned(buffer)) => {
                let count = buffer.len();
                let (result, buffer) = socket.send_vec(buffer).await;
                let mut shard = shared.borrow_mut();
                if buffer.capacity() > shard.spare.capacity() && buffer.capacity() <= SPARE_BYTES_MAX {
                    shard.spare = buffer;
                }
                (result, count)
            }
        };
        let mut shard = shared.borrow_mut();
        if result.is_err() {
            // The reader sees the end and takes the connection out.
            socket.shutdown();
            return;
        }
        shard.metrics.counters.writes.add(1);
        shard.metrics.counters.bytes_out.add(bytes as u64);
        let now_ms = clock::steady_ms();
        let Some(connection) = shard.connection(key) else { return };
        connection.progress_ms = now_ms;
        if !connection.is_parked()
            && let Some(reader) = connection.parked.take()
        {
            reader.wake();
        }
    }
}

impl Shard {
    fn has_work(&self) -> bool {
        !self.dirty.is_empty() || self.mail_waits() || self.owed.iter().any(|owed| !owed.is_empty())
    }

    fn mail_waits(&self) -> bool {
        self.uplink.has_unflushed() || self.peers.iter().flatten().any(super::Outbox::has_unflushed)
    }

    /// Hands mail over; false when a ring was full.
    fn flush_mail(&mut self) -> bool {
        self.pay_owed();
        let mut room = self.uplink.flush();
        for peer in self.peers.iter_mut().flatten() {
            room &= peer.flush();
        }
        room
    }

    fn take_writers(&mut self) -> Vec<(u64, Rc<Socket>)> {
        let dirty = std::mem::take(&mut self.dirty);
        let mut writers = Vec::with_capacity(dirty.len());
        for key in dirty {
            let Some(connection) = self.connection(key) else { continue };
            connection.dirty = false;
            if !connection.sending && (connection.has_output() || connection.finish) {
                connection.sending = true;
                writers.push((key, Rc::clone(&connection.socket)));
            }
        }
        writers
    }

    /// Notes that a connection has something to send.
    pub(super) fn mark_dirty(&mut self, key: u64) {
        let Some(connection) = self.connection(key) else { return };
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(key);
        }
    }

    /// Work of this turn is done: what the shard told itself is handled, the flusher woken.
    pub(super) fn settle(&mut self) {
        while let Some(message) = self.own.pop_front() {
            self.handle_mail(message);
        }
        if self.has_work() {
            self.wake_flusher();
        }
    }

    /// Queues a frame that is shared with other connections.
    pub(super) fn queue(&mut self, key: u64, frame: Bytes) {
        let now_ms = clock::steady_ms();
        let Some(connection) = self.connection(key) else { return };
        if !matches!(connection.phase, Phase::Frames) {
            return;
        }
        if connection.queued() > DELIVERY_QUEUED_BYTES_MAX + DELIVERY_RESERVE_BYTES {
            self.metrics.counters.slow_closed.add(1);
            self.close(key, CloseCode::SlowReader);
            return;
        }
        connection.push(frame, now_ms);
        self.metrics.counters.frames_out.add(1);
        self.mark_dirty(key);
    }

    /// Queues a packet for one connection.
    pub(super) fn reply(&mut self, key: u64, packet: &ServerPacket) {
        // Encoding for a connection that takes nothing more would be work for nobody.
        let connection = self.connection(key).filter(|connection| matches!(connection.phase, Phase::Frames));
        let Some(format) = connection.map(|connection| connection.format) else { return };
        if packet.error.is_some() {
            self.metrics.counters.errors.add(1);
        }
        self.queue(key, packet::encode_frame(format, packet));
    }

    /// Queues the answer to a command in flight.
    pub(super) fn answer(&mut self, key: u64, packet: &ServerPacket) {
        self.answered(key);
        self.reply(key, packet);
    }

    /// A page or list was answered; the session's next read may go.
    pub(super) fn read_done(&mut self, key: u64) {
        let mut effects = Vec::new();
        if let Some(connection) = self.connection(key) {
            connection.session.handle_read_done(&mut effects);
            self.carry_out(key, &mut effects);
        }
    }

    /// A command in flight is done; its reader may go on.
    pub(super) fn answered(&mut self, key: u64) {
        let Some(connection) = self.connection(key) else { return };
        connection.session.handle_answered();
        if !connection.is_parked()
            && let Some(reader) = connection.parked.take()
        {
            reader.wake();
        }
    }

    /// Ends a connection with a close frame; what was queued before it goes out first.
    pub(super) fn close(&mut self, key: u64, code: CloseCode) {
        let mut effects: Vec<SessionEffect> = Vec::new();
        let Some(connection) = self.connection(key) else { return };
        connection.session.close(code, &mut effects);
        self.carry_out(key, &mut effects);
    }

    /// Carries out the session's close: the frame is the last thing queued.
    pub(super) fn finish_session(&mut self, key: u64, code: CloseCode) {
        let now_ms = clock::steady_ms();
        self.detach(key);
        let Some(connection) = self.connection(key) else { return };
        if !matches!(connection.phase, Phase::Frames) {
            return;
        }
        if code == CloseCode::SlowReader {
            // It would not read the rest either; make room for the frame that says why.
            connection.drop_queue();
        }
        connection.push_close(code, now_ms);
        self.metrics.counters.closed_by_server.add(1);
        self.close_after_output(key);
    }

    /// Half-closes once the queue is out, and cuts the connection if it does not end by itself.
    pub(super) fn close_after_output(&mut self, key: u64) {
        let cut_ms = clock::steady_ms() + LINGER_MS;
        self.detach(key);
        let Some(connection) = self.connection(key).filter(|connection| connection.cut_ms == u64::MAX) else { return };
        connection.phase = Phase::Closing;
        connection.finish = true;
        connection.cut_ms = cut_ms;
        if let Some(reader) = connection.parked.take() {
            reader.wake();
        }
        self.mark_dirty(key);
        self.schedule_at(key, cut_ms);
    }
}
