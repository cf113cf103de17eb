//! The conversations whose home is this shard.

use std::sync::Arc;
use std::time::Instant;

use ringway_engine::conversation::{Hub, Number, Permission};
use ringway_engine::delivery::Place;
use ringway_engine::effect::{Delivery, HubEffect, Origin, Submission};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{ConversationId, Uid};
use ringway_engine::limits::PAGE_MESSAGES_MAX;
use ringway_engine::packet::schema::{Message, Sent, ServerPacket};
use ringway_engine::reorder::Reorder;
use ringway_store::ports::Page;

use super::Shard;
use crate::clock;
use crate::mail::{Audience, ConnectionRef, ToShard, ToUplink};
use crate::trace::Station;

/// A conversation at home: its hub, and the order of its batches among those of other nodes.
pub(super) struct Home {
    hub: Hub,
    order: Reorder<(Arc<Delivery>, Audience)>,
    /// Stands in one of the shard's lists of hubs with a batch to commit.
    due: bool,
}

impl Home {
    fn new(conv: ConversationId, now_ms: u64) -> Self {
        Self { hub: Hub::new(conv, now_ms), order: Reorder::default(), due: false }
    }
}

impl Shard {
    /// Takes a message for a hub of this shard.
    pub(super) fn submit(&mut self, mut message: Submission) {
        let now_us = clock::unix_us();
        let now_ms = now_us / 1_000;
        // It has a time when it came from another shard.
        self.metrics.stages.home.record_since(message.origin.taken_us, now_us);
        if message.origin.taken_us == 0 {
            message.origin.taken_us = now_us;
        }
        let conv = message.conv.clone();
        let mut effects = std::mem::take(&mut self.hub_effects);
        let home = self.hubs.entry_ref(&conv).or_insert_with(|| {
            self.metrics.counters.hubs.add(1);
            Home::new(conv.clone(), now_ms)
        });
        home.hub.handle_submit(message, now_ms, &mut self.ids, &mut effects);
        note_due(home, &conv, &mut self.due);
        self.carry_out_hub(&conv, Audience::default(), effects);
    }

    pub(super) fn handle_permission(&mut self, conv: &ConversationId, uid: &Uid, permission: Option<Permission>) {
        let Some(home) = self.hubs.get_mut(conv) else { return };
        let mut effects = std::mem::take(&mut self.hub_effects);
        home.hub.handle_permission(uid, permission, clock::unix_ms(), &mut self.ids, &mut effects);
        note_due(home, conv, &mut self.due);
        self.carry_out_hub(conv, Audience::default(), effects);
    }

    /// Commits what came together. What is left of a batch that was just delivered waits until that one is on its way:
    /// in a large room this takes long, and what its senders say next comes meanwhile.
    pub(super) fn commit_due(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        for conv in due.drain(..) {
            let Some(home) = self.hubs.get_mut(&conv) else { continue };
            home.due = false;
            let mut effects = std::mem::take(&mut self.hub_effects);
            home.hub.commit(&mut effects);
            self.carry_out_hub(&conv, Audience::default(), effects);
        }
        due.append(&mut self.due);
        self.due = due;
    }

    pub(super) fn handle_committed(
        &mut self,
        conv: &ConversationId,
        result: Result<&[Number], ErrorCode>,
        audience: Audience,
        at: Instant,
    ) {
        self.metrics.stages.commit.record(at.elapsed().as_micros() as u64);
        let Some(home) = self.hubs.get_mut(conv) else { return };
        let mut effects = std::mem::take(&mut self.hub_effects);
        home.hub.handle_committed(result, audience.formats, clock::unix_ms(), &mut self.frames, &mut effects);
        note_due(home, conv, &mut self.due_after);
        self.carry_out_hub(conv, audience, effects);
    }

    pub(super) fn permissions_changed(&mut self, conv: &ConversationId, uids: &[Uid]) {
        if let Some(home) = self.hubs.get_mut(conv) {
            home.hub.handle_permissions_changed(uids);
        }
    }

    pub(super) fn forget_permissions(&mut self) {
        self.hubs.values_mut().for_each(|home| home.hub.forget_permissions());
    }

    /// A batch that another node has committed: encoded here, once, for the members that are here.
    pub(super) fn handle_arrived(&mut self, conv: &ConversationId, messages: Vec<Message>, audience: Audience) {
        let now_ms = clock::unix_ms();
        let home = self.hubs.entry_ref(conv).or_insert_with(|| {
            self.metrics.counters.hubs.add(1);
            Home::new(conv.clone(), now_ms)
        });
        let delivery = home.hub.handle_arrived(messages, audience.formats, now_ms, &mut self.frames);
        let hash = conv.stable_hash();
        for item in &delivery.items {
            self.note(Station::Arrived, item.msg_id, hash, item.seq, 0);
        }
        self.metrics.counters.arrived.add(delivery.items.len() as u64);
        self.put_in_order(Arc::new(delivery), audience);
    }

    /// Delivers a batch when its turn has come among those of other nodes.
    fn put_in_order(&mut self, delivery: Arc<Delivery>, audience: Audience) {
        let mut new = delivery.items.iter().filter(|item| !item.duplicate);
        let Some((first, wait_ms)) = new.next().map(|item| (item, self.reorder_wait_ms)).filter(|(_, ms)| *ms > 0)
        else {
            return self.deliver(&delivery, audience);
        };
        let (epoch, last) = (first.epoch, new.next_back().unwrap_or(first).seq);
        let Some(home) = self.hubs.get_mut(&delivery.conv) else { return self.deliver(&delivery, audience) };
        let (conv, was_holding) = (delivery.conv.clone(), home.order.is_holding());
        let batch = (Arc::clone(&delivery), audience);
        let ready = home.order.push(epoch, (first.seq, last), batch, clock::steady_ms(), wait_ms);
        if home.order.is_holding() && !was_holding {
            self.metrics.counters.reordered.add(1);
            self.holding.push(conv);
        }
        for (delivery, audience) in ready {
            self.deliver(&delivery, audience);
        }
    }

    /// Lets go what has waited long enough for a hole to be closed.
    pub(super) fn expire_order(&mut self, now_ms: u64) {
        for conv in std::mem::take(&mut self.holding) {
            let Some(home) = self.hubs.get_mut(&conv) else { continue };
            let ready = home.order.expire(now_ms);
            if home.order.is_holding() {
                self.holding.push(conv);
            }
            for (delivery, audience) in ready {
                self.deliver(&delivery, audience);
            }
        }
    }

    fn carry_out_hub(&mut self, conv: &ConversationId, audience: Audience, mut effects: Vec<HubEffect>) {
        let home = self.index;
        for effect in effects.drain(..) {
            match effect {
                HubEffect::AskPermission(uid) => {
                    self.uplink.push(ToUplink::Permission { home, conv: conv.clone(), uid });
                }
                HubEffect::Commit(entries) => {
                    self.metrics.counters.batches.add(1);
                    let hash = conv.stable_hash();
                    self.metrics.counters.batched.add(entries.len() as u64);
                    for entry in &entries {
                        let at_us = self.note(Station::Batched, entry.event.msg_id, hash, 0, 0);
                        self.metrics.stages.batch.record_since(entry.taken_us, at_us);
                    }
                    let at = Instant::now();
                    self.uplink.push(ToUplink::Commit { home, conv: conv.clone(), entries, at });
                }
                HubEffect::Refuse(origin, code) => self.refuse(origin, code),
                HubEffect::Deliver(delivery) => self.put_in_order(delivery, audience),
            }
        }
        self.hub_effects = effects;
    }

    /// Tells a command that it failed, wherever it came from.
    pub(super) fn refuse(&mut self, origin: Origin, code: ErrorCode) {
        if origin.shard == Origin::SERVER {
            self.uplink.push(ToUplink::ServerAnswer { token: origin.command, result: Err(code) });
        } else if origin.shard == self.index {
            self.answer(origin.connection, &ServerPacket::error(origin.command, code, code.name()));
        } else {
            self.tell(origin.shard, ToShard::Refuse { origin, code });
        }
    }

    /// Hands a batch to every shard that holds members or senders of it.
    fn deliver(&mut self, delivery: &Arc<Delivery>, audience: Audience) {
        let hash = delivery.conv.stable_hash();
        let mut shards = audience.shards;
        let formats = u64::from(audience.formats.json) + u64::from(audience.formats.protobuf);
        for item in &delivery.items {
            self.note(Station::Fanned, item.msg_id, hash, item.seq, 0);
            if item.duplicate {
                self.metrics.counters.duplicates.add(1);
            } else {
                self.metrics.counters.numbered.add(1);
                self.metrics.counters.encodings.add(formats);
            }
            for origin in &item.origins {
                if origin.shard == Origin::SERVER {
                    let sent = Sent {
                        conv: delivery.conv.as_str().to_owned(),
                        msg_id: item.msg_id,
                        epoch: item.epoch,
                        seq: item.seq,
                        ts: item.ts_ms,
                    };
                    self.uplink.push(ToUplink::ServerAnswer { token: origin.command, result: Ok(sent) });
                } else {
                    shards |= 1 << (origin.shard % 64);
                }
            }
        }
        for shard in 0..self.shards.min(64) {
            if shards & (1 << shard) == 0 || shard == usize::from(self.index) {
                continue;
            }
            self.deliver_to_peer(shard, delivery);
        }
        if shards & (1 << self.index) != 0 {
            self.show(delivery);
        }
    }

    fn deliver_to_peer(&mut self, shard: usize, delivery: &Arc<Delivery>) {
        let Some(Some(peer)) = self.peers.get_mut(shard) else { return };
        let has_answers = delivery.items.iter().flat_map(|item| &item.origins).any(|o| usize::from(o.shard) == shard);
        // Answers to commands may not be dropped; what only shows messages may.
        if has_answers || !peer.is_congested() {
            peer.push(ToShard::Deliver(Arc::clone(delivery)));
            return;
        }
        let mut new = delivery.items.iter().filter(|item| !item.duplicate).map(|item| (item.epoch, item.seq));
        let Some(first) = new.next() else { return };
        let last = new.next_back().unwrap_or(first);
        self.metrics.counters.missed.add(1);
        if let Some(owed) = self.owed.get_mut(shard) {
            let owed = owed.entry_ref(&delivery.conv).or_insert((first, last));
            *owed = if last.0 > owed.1.0 { (first, last) } else { (owed.0, owed.1.max(last)) };
        }
    }

    /// Tells peers what they missed, once their mailboxes have room.
    pub(super) fn pay_owed(&mut self) {
        for (peer, owed) in self.peers.iter_mut().zip(&mut self.owed) {
            let Some(peer) = peer.as_mut().filter(|peer| !owed.is_empty() && !peer.is_congested()) else { continue };
            for (conv, ((_, first), (epoch, head))) in owed.drain() {
                peer.push(ToShard::Missed { conv, epoch, first, head });
            }
        }
    }

    /// A catch-up read: from the hub's recent ring when it reaches back far enough, else from the store.
    pub(super) fn read_recent(&mut self, to: ConnectionRef, conv: ConversationId, after: Place) {
        let hub = self.hubs.get(&conv).map(|home| &home.hub);
        let recent = hub.and_then(|hub| Some((hub.recent_after(after, PAGE_MESSAGES_MAX)?, hub.head())));
        match recent {
            Some((items, head)) => {
                let epoch = items.last().map_or(0, |message| message.epoch);
                let more = items.last().is_some_and(|message| message.seq < head);
                let page = Some(Page { items, epoch, head, more });
                self.tell(to.shard, ToShard::CatchUpPage { connection: to.connection, conv, page });
            }
            None => self.uplink.push(ToUplink::CatchUp { to, conv, after }),
        }
    }

    /// Drops hubs that had nothing to do for long.
    pub(super) fn sweep_hubs(&mut self, now_ms: u64) {
        let before = self.hubs.len();
        self.hubs.retain(|_, home| !home.hub.is_idle(now_ms) || home.order.is_holding());
        self.metrics.counters.hubs.sub((before - self.hubs.len()) as u64);
    }
}

fn note_due(home: &mut Home, conv: &ConversationId, due: &mut Vec<ConversationId>) {
    if home.hub.is_due() && !home.due {
        home.due = true;
        due.push(conv.clone());
    }
}
