//! The hub of one conversation on this node: it puts messages in order.
//!
//! ```text
//!             handle_submit             commit: one batch in flight
//!  senders ───────────────────► queue ──────► Commit ──► log, numbers
//!              │ permission?      ▲              │
//!              └── unknown ─► waiting            ▼ handle_committed
//!                                             sent + Deliver (encoded once a format)
//! ```
//!
//! The shard calls `commit` when it has taken in all that a turn brought, so that what came together is one batch.
//!
//! Lives on the conversation's home shard and is called by it alone. Invariants: at most one batch is in
//! flight, so a sender's order holds and batches grow under load by themselves; a (sender, client message
//! id) that is queued or in flight is not queued again, its sender is answered with the other; a sender's
//! messages wait together while its permission is asked. If a hub is lost with its process, nothing that
//! was acknowledged is lost with it: numbers come from durable messages alone.

use std::collections::VecDeque;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use smallvec::{SmallVec, smallvec};

use crate::delivery::Place;
use crate::effect::{Batch, BatchEntry, Delivery, DeliveryItem, HubEffect, Origin, Submission};
use crate::errors::ErrorCode;
use crate::event::MessageEvent;
use crate::ids::{ConversationId, Uid};
use crate::limits::{
    BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, DENIAL_TTL_MS, HUB_IDLE_MS, HUB_QUEUE_BYTES_MAX, HUB_QUEUE_MAX,
    PERMISSION_AGAIN_MS, PERMISSION_STALE_MS, PERMISSION_TTL_MS, PERMISSIONS_MAX, RECENT_BYTES_MAX,
    RECENT_MESSAGES_MAX,
};
use crate::packet::schema::Message;
use crate::packet::{Format, Frames};
use crate::snowflake::Snowflake;

/// Whether a user may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// May send.
    Allowed,
    /// May not, and this is why.
    Denied(ErrorCode),
}

/// A permission that is remembered.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    permission: Permission,
    /// Until when it is not asked for again.
    until_ms: u64,
    asking: bool,
}

impl Remembered {
    fn serves(&self, now_ms: u64) -> bool {
        let stale_ms = if self.permission == Permission::Allowed { PERMISSION_STALE_MS } else { 0 };
        now_ms < self.until_ms + stale_ms
    }

    /// Whether it is time to ask for it again; once each time.
    fn is_to_be_asked(&mut self, now_ms: u64) -> bool {
        now_ms >= self.until_ms && !std::mem::replace(&mut self.asking, true)
    }
}

/// A number as the sequencer gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number {
    /// Generation of the sequencer.
    pub epoch: u64,
    /// Dense from 1.
    pub seq: u64,
    /// Id of the message that holds the number.
    pub msg_id: u64,
    /// When that message was taken, Unix milliseconds.
    pub ts_ms: u64,
}

/// Which wire formats the audience reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Formats {
    /// Somebody reads JSON.
    pub json: bool,
    /// Somebody reads protobuf.
    pub protobuf: bool,
}

#[derive(Debug)]
struct Pending {
    event: Arc<MessageEvent>,
    retry: bool,
    origins: SmallVec<[Origin; 1]>,
}

/// A message with its number.
#[derive(Debug)]
struct Recent {
    epoch: u64,
    seq: u64,
    event: Arc<MessageEvent>,
}

/// The hub; see the module's head.
#[derive(Debug)]
pub struct Hub {
    conv: ConversationId,
    queue: VecDeque<Pending>,
    inflight: SmallVec<[Pending; 1]>,
    waiting: HashMap<Uid, Vec<Submission>, RandomState>,
    waiting_len: usize,
    /// Body bytes in `queue` and `waiting`.
    queued_bytes: usize,
    permissions: HashMap<Uid, Remembered, RandomState>,
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    active_ms: u64,
}

impl Hub {
    /// A hub that knows nothing yet.
    #[must_use]
    pub fn new(conv: ConversationId, now_ms: u64) -> Self {
        Self {
            conv,
            queue: VecDeque::new(),
            inflight: SmallVec::new(),
            waiting: HashMap::default(),
            waiting_len: 0,
            queued_bytes: 0,
            permissions: HashMap::default(),
            recent: VecDeque::new(),
            recent_bytes: 0,
            active_ms: now_ms,
        }
    }

    /// Takes a message. Effects: a refusal or a question; it goes out with a [`Hub::commit`] to come.
    pub fn handle_submit(&mut self, message: Submission, now_ms: u64, ids: &mut Snowflake, out: &mut Vec<HubEffect>) {
        self.active_ms = now_ms;
        if self.queue.len() + self.waiting_len >= HUB_QUEUE_MAX || self.queued_bytes >= HUB_QUEUE_BYTES_MAX {
            out.push(HubEffect::Refuse(message.origin, ErrorCode::Busy));
            return;
        }
        let Some(from) = message.from.clone() else {
            self.enqueue(message, now_ms, ids);
            return;
        };
        if let Some(waiting) = self.waiting.get_mut(&from) {
            self.queued_bytes += message.body.len();
            waiting.push(message);
            self.waiting_len += 1;
            return;
        }
        match self.permissions.get_mut(&from).filter(|remembered| remembered.serves(now_ms)) {
            Some(remembered) => {
                if remembered.is_to_be_asked(now_ms) {
                    out.push(HubEffect::AskPermission(from));
                }
                match remembered.permission {
                    Permission::Allowed => self.enqueue(message, now_ms, ids),
                    Permission::Denied(code) => out.push(HubEffect::Refuse(message.origin, code)),
                }
            }
            None => {
                self.queued_bytes += message.body.len();
                self.waiting.insert(from.clone(), vec![message]);
                self.waiting_len += 1;
                out.push(HubEffect::AskPermission(from));
            }
        }
    }

    /// The answer to [`HubEffect::AskPermission`]. `None`: nobody could tell; what is remembered goes on to serve, and
    /// messages that waited, because nothing was, are refused as temporary.
    pub fn handle_permission(
        &mut self,
        uid: &Uid,
        permission: Option<Permission>,
        now_ms: u64,
        ids: &mut Snowflake,
        out: &mut Vec<HubEffect>,
    ) {
        let waiting = self.waiting.remove(uid).unwrap_or_default();
        self.waiting_len -= waiting.len();
        match (permission, self.permissions.get_mut(uid)) {
            (Some(permission), _) => self.remember_permission(uid.clone(), permission, now_ms),
            (None, Some(remembered)) if remembered.serves(now_ms) => {
                (remembered.until_ms, remembered.asking) = (now_ms + PERMISSION_AGAIN_MS, false);
            }
            (None, _) => {}
        }
        for message in waiting {
            self.queued_bytes -= message.body.len();
            match permission {
                Some(Permission::Allowed) => self.enqueue(message, now_ms, ids),
                Some(Permission::Denied(code)) => out.push(HubEffect::Refuse(message.origin, code)),
                None => out.push(HubEffect::Refuse(message.origin, ErrorCode::Unavailable)),
            }
        }
    }

    /// Forgets what was cached of these users: their standing changed.
    pub fn handle_permissions_changed(&mut self, uids: &[Uid]) {
        for uid in uids {
            self.permissions.remove(uid);
        }
    }

    /// Forgets everybody's.
    pub fn forget_permissions(&mut self) {
        self.permissions.clear();
    }

    /// A batch that another node has committed, in the order of its numbers.
    pub fn handle_arrived(
        &mut self,
        messages: Vec<Message>,
        formats: Formats,
        now_ms: u64,
        frames: &mut Frames,
    ) -> Delivery {
        self.active_ms = now_ms;
        let items = messages.into_iter().map(|message| {
            let (seq, epoch, msg_id, ts_ms) = (message.seq, message.epoch, message.msg_id, message.ts);
            let event = Arc::new(MessageEvent::of_message(message));
            let [json, protobuf] = frames.append_message(formats, &event, epoch, seq);
            self.remember(Recent { epoch, seq, event });
            DeliveryItem { seq, epoch, msg_id, ts_ms, origins: smallvec![], json, protobuf, duplicate: false }
        });
        let items = items.collect();
        self.delivery(items, frames)
    }

    /// The answer to [`HubEffect::Commit`]: one number for each entry in its order, or why there is none.
    /// After an error nothing of the batch is acknowledged. The next batch may go out.
    pub fn handle_committed(
        &mut self,
        result: Result<&[Number], ErrorCode>,
        formats: Formats,
        now_ms: u64,
        frames: &mut Frames,
        out: &mut Vec<HubEffect>,
    ) {
        self.active_ms = now_ms;
        let batch = std::mem::take(&mut self.inflight);
        match result {
            Ok(numbers) => {
                let delivery = self.deliver(batch, numbers, formats, frames);
                out.push(HubEffect::Deliver(Arc::new(delivery)));
            }
            Err(code) => {
                let origins = batch.into_iter().flat_map(|pending| pending.origins);
                out.extend(origins.map(|origin| HubEffect::Refuse(origin, code)));
            }
        }
    }

    /// Messages above `after`, at least one and at most `limit`, when the recent ring holds
    /// them without a gap.
    #[must_use]
    pub fn recent_after(&self, (epoch, after): Place, limit: usize) -> Option<Vec<Arc<Message>>> {
        let first = self.recent.front().filter(|recent| recent.epoch == epoch)?.seq;
        let skip = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        let message = |recent: &Recent| Arc::new(recent.event.to_message(recent.epoch, recent.seq));
        let items: Vec<_> = self.recent.iter().skip(skip).take(limit).map(message).collect();
        // Nothing here may mean that more is elsewhere: the store knows.
        (!items.is_empty()).then_some(items)
    }

    /// The highest number this hub has seen, 0 if none.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.recent.back().map_or(0, |recent| recent.seq)
    }

    /// Whether the hub may be dropped.
    #[must_use]
    pub fn is_idle(&self, now_ms: u64) -> bool {
        self.queue.is_empty()
            && self.inflight.is_empty()
            && self.waiting.is_empty()
            && self.active_ms.abs_diff(now_ms) >= HUB_IDLE_MS
    }

    fn remember_permission(&mut self, uid: Uid, permission: Permission, now_ms: u64) {
        if self.permissions.len() >= PERMISSIONS_MAX {
            self.permissions.retain(|_, remembered| remembered.until_ms > now_ms);
            if self.permissions.len() >= PERMISSIONS_MAX {
                let oldest = self.permissions.iter().min_by_key(|entry| entry.1.until_ms).map(|entry| entry.0.clone());
                oldest.map(|oldest| self.permissions.remove(&oldest));
            }
        }
        let ttl_ms = if permission == Permission::Allowed { PERMISSION_TTL_MS } else { DENIAL_TTL_MS };
        self.permissions.insert(uid, Remembered { permission, until_ms: now_ms + ttl_ms, asking: false });
    }

    fn enqueue(&mut self, message: Submission, now_ms: u64, ids: &mut Snowflake) {
        let from = message.from.as_ref().map_or("", Uid::as_str);
        let known = self.inflight.iter_mut().chain(&mut self.queue);
        // Scanned from the newest: a repeat follows its first soon. Only repeats are looked for at all.
        if message.retry
            && let Some(first) = known
                .rev()
                .find(|pending| pending.event.client_msg_id == message.client_msg_id && pending.event.from == from)
        {
            first.origins.push(message.origin);
            return;
        }
        self.queued_bytes += message.body.len();
        let event = MessageEvent {
            conv: self.conv.as_str().into(),
            msg_id: ids.next_id(now_ms),
            from: from.into(),
            client_msg_id: message.client_msg_id,
            kind: message.kind,
            body: message.body,
            enc: message.enc,
            ts_ms: now_ms,
        };
        self.queue.push_back(Pending {
            event: Arc::new(event),
            retry: message.retry,
            origins: smallvec![message.origin],
        });
    }

    /// Whether [`Hub::commit`] has something to send out.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.inflight.is_empty() && !self.queue.is_empty()
    }

    /// Sends out the next batch, if there is one and none is in flight.
    pub fn commit(&mut self, out: &mut Vec<HubEffect>) {
        if !self.is_due() {
            return;
        }
        let mut bytes = 0;
        while let Some(next) = self.queue.front() {
            bytes += next.event.body.len();
            if self.inflight.len() >= BATCH_MESSAGES_MAX || (bytes > BATCH_BYTES_MAX && !self.inflight.is_empty()) {
                break;
            }
            self.inflight.extend(self.queue.pop_front());
        }
        self.queued_bytes -= self.inflight.iter().map(|pending| pending.event.body.len()).sum::<usize>();
        let entry = |pending: &Pending| {
            let taken_us = pending.origins.first().map_or(0, |origin| origin.taken_us);
            BatchEntry { event: pending.event.clone(), retry: pending.retry, taken_us }
        };
        let entries: Batch = self.inflight.iter().map(entry).collect();
        out.push(HubEffect::Commit(entries));
    }

    fn deliver(
        &mut self,
        batch: SmallVec<[Pending; 1]>,
        numbers: &[Number],
        formats: Formats,
        frames: &mut Frames,
    ) -> Delivery {
        let items = batch.into_iter().zip(numbers).map(|(pending, number)| {
            let Pending { event, origins, .. } = pending;
            let &Number { epoch, seq, msg_id, ts_ms } = number;
            // A number that another message holds is a repeat's. This message's own is shown whoever asked
            // for it first: the daemon, which reads the log too, may have been quicker.
            let duplicate = msg_id != event.msg_id;
            let [json, protobuf] = if duplicate {
                [0..0, 0..0]
            } else {
                let places = frames.append_message(formats, &event, epoch, seq);
                self.remember(Recent { epoch, seq, event });
                places
            };
            DeliveryItem { seq, epoch, msg_id, ts_ms, origins, json, protobuf, duplicate }
        });
        let items = items.collect();
        self.delivery(items, frames)
    }

    fn delivery(&self, items: SmallVec<[DeliveryItem; 1]>, frames: &mut Frames) -> Delivery {
        let (json, protobuf) = (frames.take(Format::Json), frames.take(Format::Protobuf));
        Delivery { conv: self.conv.clone(), items, json, protobuf }
    }

    fn remember(&mut self, message: Recent) {
        if self.recent.back().is_some_and(|last| (last.epoch, last.seq + 1) != (message.epoch, message.seq)) {
            // Numbers that this hub has not seen lie between, or they began anew; the ring must stay dense.
            self.recent.clear();
            self.recent_bytes = 0;
        }
        self.recent_bytes += message.event.body.len();
        self.recent.push_back(message);
        while self.recent.len() > RECENT_MESSAGES_MAX || (self.recent_bytes > RECENT_BYTES_MAX && self.recent.len() > 1)
        {
            self.recent_bytes -= self.recent.pop_front().map_or(0, |oldest| oldest.event.body.len());
        }
    }
}

#[cfg(test)]
#[path = "conversation_tests.rs"]
mod tests;
