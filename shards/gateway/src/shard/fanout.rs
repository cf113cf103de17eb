//! Deliveries and transient pushes to the devices of this shard.
//!
//! A batch is encoded once; here its buffer is only shared: the whole of it, or slices of it where a device
//! has seen a part or sent one itself. The answer `sent` stands in the sender's queue at the message's
//! place among the others, so a sender sees its conversation in order too.

use std::ops::Range;
use std::sync::Arc;

use ringway_engine::delivery::Verdict;
use ringway_engine::effect::{Delivery, DeliveryItem, Origin};
use ringway_engine::ids::{ConversationId, ConversationKind};
use ringway_engine::limits::{DELIVERY_LOW_WATER_BYTES, SLOW_READER_MS};
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::{Resync, ServerPacket};
use smallvec::SmallVec;

use super::{Keys, Shard};
use crate::clock;
use crate::mail::{Transient, TransientTo};
use crate::stages::Push;
use crate::trace::{Hop, Station};

/// A batch, and what is the same for every device that it is shown to.
struct Showing<'a> {
    delivery: &'a Arc<Delivery>,
    /// The conversation's stable hash.
    hash: u64,
    at_us: u64,
}

impl Shard {
    /// Shows a committed batch to the devices here and answers the senders among them.
    pub(super) fn show(&mut self, delivery: &Arc<Delivery>) {
        let index = self.index;
        let mut senders: Keys = delivery
            .items
            .iter()
            .flat_map(|item| &item.origins)
            .filter(|origin| origin.shard == index)
            .map(|origin| origin.connection)
            .collect();
        senders.sort_unstable();
        senders.dedup();
        let mut audience = std::mem::take(&mut self.shown_to);
        self.audience(&delivery.conv, &mut audience);
        // Once for all devices: a large group is shown thousands of times.
        let showing = Showing { delivery, hash: delivery.conv.stable_hash(), at_us: clock::unix_us() };
        // First, so that what they say next is there when a large room has been told.
        for key in &senders {
            self.show_to(*key, &showing, audience.contains(key));
        }
        for key in &audience {
            if senders.binary_search(key).is_err() {
                self.show_to(*key, &showing, true);
            }
        }
        audience.clear();
        self.shown_to = audience;
    }

    /// The connections here whose devices are in a conversation.
    fn audience(&self, conv: &ConversationId, keys: &mut Vec<u64>) {
        match conv.kind() {
            ConversationKind::Group(_) => keys.extend(self.groups.get(conv).into_iter().flatten()),
            ConversationKind::System(uid) => keys.extend(self.keys_of(uid)),
            ConversationKind::P2p(low, high) if low == high => keys.extend(self.keys_of(low)),
            ConversationKind::P2p(low, high) => keys.extend(self.keys_of(low).chain(self.keys_of(high))),
        }
    }

    /// One device's part of a batch. A sender that is no `member` any more gets its answers alone.
    fn show_to(&mut self, key: u64, showing: &Showing<'_>, member: bool) {
        let index = self.index;
        let delivery = showing.delivery;
        let Some(connection) = self.connection(key) else { return };
        let format = connection.format;
        let mut shown = 0;
        let mut run: Range<u32> = 0..0;
        for item in &delivery.items {
            let mut own =
                item.origins.iter().filter(|origin| origin.shard == index && origin.connection == key).peekable();
            if own.peek().is_some() {
                self.queue_run(key, delivery, format, &mut run);
                for origin in own {
                    self.answer_sent(key, showing, item, origin);
                }
                if member
                    && !item.duplicate
                    && let Some(connection) = self.connection(key)
                {
                    connection.device.handle_own(&delivery.conv, (item.epoch, item.seq));
                }
                continue;
            }
            if item.duplicate || !member {
                continue;
            }
            let range = item.range(format).clone();
            let Some(connection) = self.connection(key) else { return };
            let queued = connection.queued() + (run.end - run.start) as usize;
            let (at, bytes) = ((item.epoch, item.seq), (range.end - range.start) as usize);
            match connection.device.handle_live(&delivery.conv, at, bytes, queued) {
                Verdict::Push => {
                    shown += 1;
                    if run.start == run.end {
                        run = range;
                    } else {
                        run.end = range.end;
                        self.metrics.counters.frames_out.add(1);
                    }
                    self.note_shown(Station::Pushed, showing, item, key);
                    self.watch.handle_push(Push { at_us: showing.at_us, who: key, conv: showing.hash, seq: item.seq });
                    let taken_us = item.origins.first().map_or(0, |origin| origin.taken_us);
                    self.metrics.stages.push.record_since(taken_us, showing.at_us);
                }
                Verdict::Skip => self.queue_run(key, delivery, format, &mut run),
                Verdict::Resync => {
                    self.queue_run(key, delivery, format, &mut run);
                    self.tell_resync(key, &delivery.conv);
                }
            }
        }
        self.queue_run(key, delivery, format, &mut run);
        self.metrics.counters.delivered.add(shown);
        self.pump_backlog(key);
    }

    /// Queues a run of frames that lie together in the batch's buffer.
    fn queue_run(&mut self, key: u64, delivery: &Delivery, format: Format, run: &mut Range<u32>) {
        if run.start < run.end {
            self.queue(key, delivery.buffer(format).slice(run.start as usize..run.end as usize));
            *run = 0..0;
        }
    }

    fn note_shown(&mut self, station: Station, showing: &Showing<'_>, item: &DeliveryItem, key: u64) {
        self.note_at(showing.at_us, station, showing, item, key);
    }

    fn note_at(&mut self, at_us: u64, station: Station, showing: &Showing<'_>, item: &DeliveryItem, key: u64) {
        let (conv, shard) = (showing.hash, self.index);
        self.trace.note(Hop { at_us, station, msg_id: item.msg_id, conv, seq: item.seq, who: key, shard });
    }

    fn answer_sent(&mut self, key: u64, showing: &Showing<'_>, item: &DeliveryItem, origin: &Origin) {
        // Only now does the connection's own shard know which message the command has become.
        self.note_at(origin.taken_us, Station::Received, showing, item, key);
        self.note_shown(Station::Sent, showing, item, key);
        self.metrics.stages.sent.record_since(origin.taken_us, showing.at_us);
        self.answered(key);
        if let Some(format) = self.format_of(key) {
            let frame = self.frames.sent(format, origin.command, showing.delivery.conv.as_str(), item);
            self.queue(key, frame);
        }
    }

    pub(super) fn tell_resync(&mut self, key: u64, conv: &ConversationId) {
        self.metrics.counters.resyncs.add(1);
        self.schedule_at(key, clock::steady_ms() + SLOW_READER_MS);
        let resync = Resync { conv: conv.as_str().to_owned() };
        self.reply(key, &ServerPacket { resync: Some(resync), ..ServerPacket::default() });
    }

    /// A batch could not be handed to this shard: its devices read the store instead.
    pub(super) fn handle_missed(&mut self, conv: &ConversationId, epoch: u64, first: u64, head: u64) {
        let mut audience = std::mem::take(&mut self.shown_to);
        self.audience(conv, &mut audience);
        for key in audience.drain(..) {
            if let Some(connection) = self.connection(key) {
                if connection.device.handle_missed(conv, epoch, first, head) {
                    self.tell_resync(key, conv);
                }
                self.pump_backlog(key);
            }
        }
        self.shown_to = audience;
    }

    /// Shows a push that is never stored. A device that does not read gets none.
    pub(super) fn show_transient(&mut self, push: &Transient) {
        let mut keys = std::mem::take(&mut self.shown_to);
        match &push.to {
            TransientTo::Group(conv) => self.audience(conv, &mut keys),
            TransientTo::Users(uids) => {
                let mut uids: SmallVec<[_; 2]> = uids.iter().collect();
                uids.dedup();
                keys.extend(uids.iter().flat_map(|uid| self.keys_of(uid.as_str())));
            }
        }
        for key in keys.drain(..) {
            if push.except == Some(self.reference(key)) {
                continue;
            }
            let Some(connection) = self.connection(key) else { continue };
            if !connection.session.is_active() || connection.queued() > DELIVERY_LOW_WATER_BYTES {
                continue;
            }
            let frame = match connection.format {
                Format::Json => push.json.clone(),
                Format::Protobuf => push.protobuf.clone(),
            };
            if frame.is_empty() {
                continue;
            }
            self.metrics.counters.transients.add(1);
            self.queue(key, frame);
        }
        self.shown_to = keys;
    }
}
