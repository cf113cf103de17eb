//! Deadlines, acknowledgements, slow readers, drain: what happens by time.

use std::sync::atomic::Ordering;

use ringway_engine::effect::SessionEffect;
use ringway_engine::errors::CloseCode;
use ringway_engine::ids::ConversationKind;
use ringway_engine::limits::SLOW_READER_MS;
use ringway_engine::packet::Frames;
use ringway_engine::packet::schema::{Reconnect, ServerPacket};
use ringway_engine::session::Identity;
use ringway_ring::runtime;
use ringway_store::ports::CursorUpdate;
use smallvec::smallvec;

use super::connection::{self, Phase};
use super::{Shard, Shared};
use crate::clock;
use crate::mail::{ToUplink, TransientTo};

/// Hubs are looked over this often.
const SWEEP_MS: u64 = 10_000;
/// Connections whose commands are all answered are closed this long after the drain began.
const DRAIN_GRACE_MS: u64 = 500;
/// All others after this long.
const DRAIN_CLOSE_MS: u64 = 6_000;
/// And this is the end, whatever lingers.
const DRAIN_END_MS: u64 = 8_500;
/// Nodes that a client is told to go to.
const TOLD_NODES_MAX: usize = 8;
/// Clients are told to come back within this long, spread evenly.
const RECONNECT_SPREAD_MS: u64 = 5_000;

/// Ticks until the shard is finished.
pub(super) async fn run(shared: Shared, tick_ms: u64) {
    let mut swept_ms = clock::steady_ms();
    loop {
        runtime::sleep(tick_ms).await;
        let now_ms = clock::steady_ms();
        let mut shard = shared.borrow_mut();
        shard.fire_timers(now_ms);
        shard.flush_acks(now_ms);
        shard.expire_order(now_ms);
        for key in std::mem::take(&mut shard.stalled) {
            shard.pump_backlog(key);
        }
        if now_ms >= swept_ms + SWEEP_MS {
            swept_ms = now_ms;
            shard.sweep_hubs(clock::unix_ms());
            shard.names.sweep();
        }
        shard.drain_step(now_ms);
        shard.settle();
        shard.publish_loop();
        if shard.finished {
            return;
        }
    }
}

impl Shard {
    /// Shows what the loop has done so far.
    fn publish_loop(&self) {
        let Some(counts) = runtime::loop_counts() else { return };
        let of_loop = &self.metrics.of_loop;
        of_loop.polls.set(counts.polls);
        of_loop.cpu_us.set(counts.cpu_us);
        of_loop.turns.set(counts.turns);
        of_loop.completions.set(counts.completions);
        of_loop.wakes.set(counts.wakes);
    }

    /// Enters a session's next deadline.
    pub(super) fn schedule(&mut self, key: u64) {
        let Some(connection) = self.connection(key) else { return };
        if let Some(at_ms) = connection.session.deadline_ms() {
            self.schedule_at(key, at_ms);
        }
    }

    /// Looks at a connection no later than this. At most one entry of it counts, the earliest; others are
    /// ignored when they fire.
    pub(super) fn schedule_at(&mut self, key: u64, at_ms: u64) {
        let Some(connection) = self.connection(key) else { return };
        if at_ms < connection.timer_ms {
            connection.timer_ms = at_ms;
            self.wheel.schedule(at_ms, key as u32);
        }
    }

    fn fire_timers(&mut self, now_ms: u64) {
        let mut due = Vec::new();
        self.wheel.poll(now_ms, &mut due);
        for slot in due {
            // Perhaps of an earlier connection: what counts is when this one wants to be looked at.
            if let Some(key) = self.connections.get(slot).map(|found| connection::key(found.generation, slot)) {
                self.fire(key, now_ms);
            }
        }
    }

    fn fire(&mut self, key: u64, now_ms: u64) {
        let mut effects: Vec<SessionEffect<'_>> = Vec::new();
        let Some(connection) = self.connection(key).filter(|connection| connection.timer_ms <= now_ms) else { return };
        connection.timer_ms = u64::MAX;
        match connection.phase {
            // The handshake's deadline: there is nothing to say to a peer that says nothing.
            Phase::Proxy(_) | Phase::Upgrade(_) => connection.socket.shutdown(),
            Phase::Closing { cut_ms } if cut_ms <= now_ms => connection.socket.shutdown(),
            Phase::Closing { cut_ms } => self.schedule_at(key, cut_ms),
            Phase::Frames => {
                let stuck = connection.socket.is_blocked() && connection.progress_ms + SLOW_READER_MS <= now_ms;
                if stuck {
                    self.metrics.counters.slow_closed.add(1);
                    self.close(key, CloseCode::SlowReader);
                    return;
                }
                connection.session.handle_timer(now_ms, &mut effects);
                let sending = connection.socket.is_blocked();
                let deadline_ms = connection.session.deadline_ms();
                self.carry_out(key, &mut effects);
                // While a send is in flight its progress is looked at too.
                let look_ms = if sending { now_ms + SLOW_READER_MS / 4 } else { u64::MAX };
                if let Some(at_ms) = deadline_ms {
                    self.schedule_at(key, at_ms.min(look_ms).max(now_ms + 1));
                }
            }
        }
    }

    /// Hands on what devices acknowledged, of those whose time has come.
    pub(super) fn flush_acks(&mut self, now_ms: u64) {
        let mut updates = Vec::new();
        while let Some((_, key)) = self.acked.pop_front_if(|(at_ms, _)| *at_ms <= now_ms) {
            self.take_acks(key, &mut updates);
        }
        self.hand_on(updates);
    }

    /// The same for one device, at once: its session ends, and its last words count, or it can hold no more.
    pub(super) fn flush_acks_of(&mut self, key: u64) {
        let mut updates = Vec::new();
        self.take_acks(key, &mut updates);
        self.hand_on(updates);
    }

    /// Adds a device's acknowledgements, and tells the other party of one-to-one conversations.
    fn take_acks(&mut self, key: u64, updates: &mut Vec<CursorUpdate>) {
        let Some(connection) = self.connection(key) else { return };
        let acks = connection.device.take_acks();
        let Some(owner) = connection.owner.clone() else { return };
        let Identity { uid, device } = &*owner;
        for (conv, epoch, seq) in acks {
            if let ConversationKind::P2p(low, high) = conv.kind()
                && low != high
                && conv.names(uid.as_str())
                && let Ok(other) = self.names.user(if uid.as_str() == low { high } else { low })
            {
                let receipt = |frames: &mut Frames, format| frames.delivered(format, conv.as_str(), uid.as_str(), seq);
                self.broadcast(Some(key), TransientTo::Users(smallvec![other]), receipt);
            }
            updates.push(CursorUpdate { uid: uid.clone(), device: device.clone(), conv, epoch, seq });
        }
    }

    fn hand_on(&mut self, updates: Vec<CursorUpdate>) {
        if !updates.is_empty() {
            self.uplink.push(ToUplink::Acknowledge(updates));
        }
    }

    /// SIGTERM: accept no more, tell everybody when to come back.
    pub(super) fn begin_drain(&mut self, now_ms: u64) {
        if self.draining_ms.is_some() {
            return;
        }
        self.draining_ms = Some(now_ms);
        if let Some(waker) = self.accept_waker.take() {
            waker.wake();
        }
        let keys = self.keys();
        let count = keys.len().max(1) as u64;
        let elsewhere = self.live.elsewhere();
        for (n, key) in keys.into_iter().enumerate() {
            let after_ms = DRAIN_GRACE_MS + n as u64 * RECONNECT_SPREAD_MS / count;
            // Each client is told another first, so that they spread.
            let (before, first) = elsewhere.split_at(n % elsewhere.len().max(1));
            let to = first.iter().chain(before).take(TOLD_NODES_MAX).cloned().collect();
            let reconnect = Reconnect { after_ms, to };
            if self.connection(key).is_some_and(|connection| connection.session.is_active()) {
                self.reply(key, &ServerPacket { reconnect: Some(reconnect), ..ServerPacket::default() });
            }
        }
    }

    fn drain_step(&mut self, now_ms: u64) {
        let Some(began_ms) = self.draining_ms else { return };
        let passed = now_ms.saturating_sub(began_ms);
        if passed >= DRAIN_GRACE_MS {
            for key in self.keys() {
                let Some(connection) = self.connection(key) else { continue };
                let busy = connection.session.has_inflight() && passed < DRAIN_CLOSE_MS;
                match connection.phase {
                    Phase::Frames if !busy => self.close(key, CloseCode::Draining),
                    Phase::Proxy(_) | Phase::Upgrade(_) => connection.socket.shutdown(),
                    Phase::Frames | Phase::Closing { .. } => {}
                }
            }
        }
        // A shard without connections is still home to conversations of the others.
        if self.live.connections.load(Ordering::Relaxed) == 0 || passed >= DRAIN_END_MS {
            self.finish();
        }
    }

    pub(super) fn keys(&self) -> Vec<u64> {
        self.connections.iter().map(|(slot, found)| connection::key(found.generation, slot)).collect()
    }

    /// The shard's main future returns; everything on it is dropped.
    pub(super) fn finish(&mut self) {
        self.finished = true;
        if let Some(waker) = self.finish_waker.take() {
            waker.wake();
        }
    }
}
