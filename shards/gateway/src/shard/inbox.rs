//! What other threads say to this shard.

use ringway_engine::packet::schema::{Changed, Kicked, ServerPacket};
use ringway_ring::mailbox::Inbox;

use super::{Shard, Shared};
use crate::clock;
use crate::mail::ToShard;

/// Messages taken in one turn; the rest waits for the next, so that sockets are served between.
const TURN_MAX: usize = 256;

/// Takes mail until every other thread is gone.
pub(super) async fn run(shared: Shared, mut inbox: Inbox<ToShard>) {
    while inbox.wait().await {
        let mut shard = shared.borrow_mut();
        let taken = inbox.drain(TURN_MAX, &mut |_, message| shard.handle_mail(message));
        let counters = &shard.metrics.counters;
        counters.turns.add(1);
        counters.mail.add(taken as u64);
        counters.wakes.set(inbox.woken());
        counters.mailbox_depth.set(taken as u64);
        shard.settle();
    }
    let mut shard = shared.borrow_mut();
    shard.finish();
}

impl Shard {
    pub(super) fn handle_mail(&mut self, message: ToShard) {
        match message {
            ToShard::Opened { connection, identity, expires_ms, groups } => {
                self.handle_opened(connection, identity, expires_ms, groups);
            }
            ToShard::Refused { connection, code } => {
                let mut effects = Vec::new();
                if let Some(found) = self.connection(connection) {
                    found.session.handle_refused(code, &mut effects);
                    self.carry_out(connection, &mut effects);
                }
            }
            ToShard::Attached { connection, session, standings } => {
                self.handle_attached(connection, session, &standings);
            }
            ToShard::Committed { conv, result, audience, at } => {
                self.handle_committed(&conv, result.as_deref().map_err(|code| *code), audience, at);
            }
            ToShard::Permission { conv, uid, permission } => self.handle_permission(&conv, &uid, permission),
            ToShard::Answer { connection, packet, read } => {
                self.answer(connection, &packet);
                if read {
                    self.read_done(connection);
                }
            }
            ToShard::SyncPage { connection, id, conv, page, complete } => {
                self.handle_sync_page(connection, id, &conv, *page, complete);
            }
            ToShard::CatchUpPage { connection, conv, page } => self.handle_catch_up_page(connection, &conv, page),
            ToShard::Refreshed { connection, id, expires_ms } => {
                if let Some(found) = self.connection(connection) {
                    found.session.handle_refreshed(expires_ms);
                    self.schedule(connection);
                    self.answer(connection, &ServerPacket::reply_ok(id));
                }
            }
            ToShard::Kick { connection, reason } => {
                let kicked = Kicked { reason: reason.name().to_owned() };
                self.reply(connection, &ServerPacket { kicked: Some(kicked), ..ServerPacket::default() });
                self.close(connection, reason.close_code());
            }
            ToShard::Joined { uid, conv, from, head } => self.handle_joined(&uid, &conv, from, head),
            ToShard::Left { uid, conv } => self.handle_left(&uid, &conv),
            ToShard::PermissionsChanged { conv, uids } => self.permissions_changed(&conv, &uids),
            ToShard::Submit(message) => self.submit(*message),
            ToShard::Deliver(delivery) => self.show(&delivery),
            ToShard::Missed { conv, epoch, first, head } => self.handle_missed(&conv, epoch, first, head),
            ToShard::Arrived { conv, messages, audience } => self.handle_arrived(&conv, messages, audience),
            ToShard::Standings { connection, standings, unacknowledged } => {
                self.handle_standings(connection, &standings, unacknowledged);
            }
            ToShard::ForgetPermissions => self.forget_permissions(),
            ToShard::Refuse { origin, code } => self.refuse(origin, code),
            ToShard::Transient(push) => self.show_transient(&push),
            ToShard::Recent { to, conv, after } => self.read_recent(to, conv, after),
            ToShard::Trace { msg_id, conv, seq, reply } => {
                // Who asked may have given up.
                let _ = reply.send(self.trace.find(msg_id, conv, seq));
            }
            ToShard::Barrier(reply) => {
                let _ = reply.send(());
            }
            ToShard::Drain => self.begin_drain(clock::steady_ms()),
        }
    }

    /// Tells a user's connection that it joined or left a conversation.
    pub(super) fn tell_changed(&mut self, key: u64, conv: &str, kind: &str) {
        let changed = Changed { conv: conv.to_owned(), kind: kind.to_owned() };
        self.reply(key, &ServerPacket { changed: Some(changed), ..ServerPacket::default() });
    }
}
