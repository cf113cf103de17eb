//! From queues to sockets: everything that one turn produced for a connection goes in one send.
//!
//! Whoever queues bytes marks the connection dirty and wakes the flusher, which stands behind all tasks
//! that are ready now; it hands the ring one buffer for each dirty connection. A connection whose peer does
//! not read stays out of it until the ring says that there was room. A send to a peer that never reads ends
//! when the ticker shuts the socket down.

use bytes::Bytes;
use ringway_engine::effect::SessionEffect;
use ringway_engine::errors::CloseCode;
use ringway_engine::limits::{DELIVERY_QUEUED_BYTES_MAX, DELIVERY_RESERVE_BYTES};
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::ServerPacket;
use ringway_ring::runtime;

use super::connection::Phase;
use super::{Shard, Shared};
use crate::clock;

/// How long a connection may linger after its close frame, for the peer to read it.
const LINGER_MS: u64 = 2_000;

/// Sends what the turn produced and wakes the other threads once.
pub(super) async fn run_flusher(shared: Shared) {
    let mut due_after = Vec::new();
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
        let (room, over) = {
            let mut shard = shared.borrow_mut();
            let room = shard.end_turn();
            std::mem::swap(&mut shard.due_after, &mut due_after);
            (room, shard.dirty.is_empty() && due_after.is_empty())
        };
        if !room {
            // A peer's ring is full: it works on it; look again soon.
            runtime::sleep(1).await;
        } else if !over {
            // More than one send for a connection: the first goes out now. Or a hub's next batch.
            runtime::turn().await;
        }
        shared.borrow_mut().due.append(&mut due_after);
    }
}

impl Shard {
    fn has_work(&self) -> bool {
        !(self.dirty.is_empty() && self.due.is_empty() && self.due_after.is_empty())
            || self.mail_waits()
            || self.owed.iter().any(|owed| !owed.is_empty())
    }

    fn mail_waits(&self) -> bool {
        self.uplink.has_unflushed() || self.peers.iter().flatten().any(super::Outbox::has_unflushed)
    }

    /// Hands over what the turn produced; false when a mailbox was full.
    pub(super) fn end_turn(&mut self) -> bool {
        self.commit_due();
        let room = self.flush_mail();
        self.send_dirty();
        self.settle();
        room
    }

    /// Hands mail over; false when a ring was full.
    pub(super) fn flush_mail(&mut self) -> bool {
        self.pay_owed();
        let mut room = self.uplink.flush();
        for peer in self.peers.iter_mut().flatten() {
            room &= peer.flush();
        }
        room
    }

    /// Hands the ring one buffer for each connection that has something to send and nothing on its way.
    pub(super) fn send_dirty(&mut self) {
        let now_ms = clock::steady_ms();
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|key| self.send_next(*key, now_ms));
        // What is to go on, and what was marked meanwhile; the room is kept.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
    }

    /// Sends one buffer of a connection; true when it must be looked at again in the next turn.
    fn send_next(&mut self, key: u64, now_ms: u64) -> bool {
        let Some(connection) = self.connection(key) else { return false };
        if connection.socket.is_sending() {
            // Out at the end of this turn; or it waits for room, and `handle_sent` tells.
            connection.dirty = !connection.socket.is_blocked();
            return connection.dirty;
        }
        let Some(chunk) = connection.take_chunk() else {
            connection.dirty = false;
            if connection.finish {
                connection.socket.shutdown_write();
            }
            self.pump_backlog(key);
            return false;
        };
        let bytes = chunk.bytes().len();
        if connection.socket.send(chunk).is_err() {
            // It was asked above: never.
            tracing::error!(key, "a send was refused, the connection ends");
            connection.socket.shutdown();
            return false;
        }
        connection.progress_ms = now_ms;
        connection.dirty = connection.has_output() || connection.finish;
        let again = connection.dirty;
        self.metrics.counters.writes.add(1);
        self.metrics.counters.bytes_out.add(bytes as u64);
        self.unpark(key);
        if !again {
            self.pump_backlog(key);
        }
        again
    }

    /// A send that had to wait for room is out.
    pub(super) fn handle_sent(&mut self, key: u64) {
        let now_ms = clock::steady_ms();
        let Some(connection) = self.connection(key) else { return };
        connection.progress_ms = now_ms;
        self.mark_dirty(key);
        self.settle();
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
        loop {
            if let Some(message) = self.own.pop_front() {
                self.handle_mail(message);
            } else if let Some(key) = self.unparked.pop() {
                self.go_on(key);
            } else {
                break;
            }
        }
        if self.has_work() {
            self.wake_flusher();
        }
    }

    /// Queues a frame that is shared with other connections.
    pub(super) fn queue(&mut self, key: u64, frame: Bytes) {
        let Some(connection) = self.connection(key) else { return };
        if !matches!(connection.phase, Phase::Frames) {
            return;
        }
        if connection.queued() > DELIVERY_QUEUED_BYTES_MAX + DELIVERY_RESERVE_BYTES {
            self.metrics.counters.slow_closed.add(1);
            self.close(key, CloseCode::SlowReader);
            return;
        }
        connection.push(frame);
        self.metrics.counters.frames_out.add(1);
        self.mark_dirty(key);
    }

    /// Queues a packet for one connection.
    pub(super) fn reply(&mut self, key: u64, packet: &ServerPacket) {
        let Some(format) = self.format_of(key) else { return };
        if packet.error.is_some() {
            self.metrics.counters.errors.add(1);
        }
        let frame = self.frames.encode(format, packet);
        self.queue(key, frame);
    }

    /// What a connection reads; none if it takes nothing more, and encoding for it would be work for nobody.
    pub(super) fn format_of(&mut self, key: u64) -> Option<Format> {
        let connection = self.connection(key).filter(|connection| matches!(connection.phase, Phase::Frames));
        connection.map(|connection| connection.format)
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

    /// A command in flight is done; more may be taken in.
    pub(super) fn answered(&mut self, key: u64) {
        let Some(connection) = self.connection(key) else { return };
        connection.session.handle_answered();
        self.unpark(key);
    }

    /// Notes that a connection may take in again, if it was kept from it; carried out before the turn ends.
    fn unpark(&mut self, key: u64) {
        if let Some(connection) = self.connection(key)
            && connection.parked
            && !connection.is_full()
        {
            self.unparked.push(key);
        }
    }

    /// Ends a connection with a close frame; what was queued before it goes out first.
    pub(super) fn close(&mut self, key: u64, code: CloseCode) {
        let mut effects: Vec<SessionEffect<'_>> = Vec::new();
        let Some(connection) = self.connection(key) else { return };
        connection.session.close(code, &mut effects);
        self.carry_out(key, &mut effects);
    }

    /// Carries out the session's close: the frame is the last thing queued.
    pub(super) fn finish_session(&mut self, key: u64, code: CloseCode) {
        self.detach(key);
        let Some(connection) = self.connection(key) else { return };
        if !matches!(connection.phase, Phase::Frames) {
            return;
        }
        if code == CloseCode::SlowReader {
            // It would not read the rest either; make room for the frame that says why.
            connection.drop_queue();
        }
        connection.push_close(code);
        self.metrics.counters.closed_by_server.add(1);
        self.close_after_output(key);
    }

    /// Half-closes once the queue is out, and cuts the connection if it does not end by itself.
    pub(super) fn close_after_output(&mut self, key: u64) {
        let cut_ms = clock::steady_ms() + LINGER_MS;
        self.detach(key);
        let Some(connection) = self.connection(key) else { return };
        if matches!(connection.phase, Phase::Closing { .. }) {
            return;
        }
        connection.phase = Phase::Closing { cut_ms };
        connection.finish = true;
        if connection.parked {
            // What still comes is dropped, and its end must be seen.
            self.unparked.push(key);
        }
        self.mark_dirty(key);
        self.schedule_at(key, cut_ms);
    }
}
