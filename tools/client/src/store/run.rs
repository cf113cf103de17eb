//! The dense run of one conversation: what has been shown, and what waits above a hole.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringway_engine::packet::schema::{Message, ResumePoint};

use crate::limits::{AHEAD_MAX, FLOATED_MAX, REMEMBERED_MAX};

/// Where a message came from, which says what may be concluded from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A live push: others may have been lost before it.
    Live,
    /// A backlog page: read from the store, dense from where the server starts it.
    Backlog,
    /// This device's own message, known from `sent`, which may overtake pushes.
    Own,
}

/// A message that was shown.
#[derive(Debug, Clone, Copy)]
struct Shown {
    seq: u64,
    epoch: u64,
    msg_id: u64,
}

/// One conversation. `point` is `None` until the first push tells where this device's part begins.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Everything up to here was shown.
    pub(super) point: Option<ResumePoint>,
    /// The newest epoch seen.
    epoch: u64,
    ahead: BTreeMap<u64, Arc<Message>>,
    ahead_bytes: usize,
    shown: VecDeque<Shown>,
    /// Own messages shown before the beginning was known: rising, inclusive stretches of sequences.
    floated: VecDeque<(u64, u64)>,
    /// A `sync` is owed whether there is a hole or not.
    pub(super) wanted: bool,
    /// When the next `sync` is due.
    pub(super) due_ms: Option<u64>,
    /// A `sync` is in flight.
    pub(super) asked: bool,
    /// Syncs in a row that brought nothing.
    pub(super) fruitless: u32,
    /// Order of last use.
    pub(super) touched: u64,
}

impl Run {
    pub(super) fn resumed(point: ResumePoint, newest: &[(u64, u64, u64)]) -> Self {
        let skip = newest.len().saturating_sub(REMEMBERED_MAX);
        let shown = newest.iter().skip(skip).map(|&(seq, epoch, msg_id)| Shown { seq, epoch, msg_id }).collect();
        Self { point: Some(point), epoch: point.epoch, shown, ..Self::default() }
    }

    /// Bytes of bodies above the hole.
    pub(super) fn ahead_bytes(&self) -> usize {
        self.ahead_bytes
    }

    /// Messages wait above something that is missing.
    pub(super) fn has_hole(&self) -> bool {
        self.point.is_some() && !self.ahead.is_empty()
    }

    /// Takes a pushed message or an own one; what can be shown now goes to `out`. `room` is false
    /// when nothing more may wait above holes.
    pub(super) fn offer(&mut self, message: Message, origin: Origin, room: bool, out: &mut Vec<Arc<Message>>) {
        let message = Arc::new(message);
        if message.seq == 0 {
            return;
        }
        if self.point.is_none() && !self.find_beginning(&message, origin, out) {
            return;
        }
        if message.epoch > self.epoch {
            self.enter_epoch(&message, origin);
        }
        let Some(point) = self.point else { return };
        if message.seq <= point.seq {
            return;
        }
        if message.epoch < self.epoch && message.epoch < point.epoch {
            // Numbered by a generation that no longer counts: the store has it under its final number.
            self.wanted = true;
            return;
        }
        if message.seq == point.seq + 1 {
            self.accept(message, out);
            self.drain(out);
        } else if self.floated.iter().any(|&(from, to)| (from..=to).contains(&message.seq)) {
            // Shown already; the run passes it when it gets there.
        } else if room {
            self.wait_above(message);
        } else {
            self.wanted = true;
        }
    }

    /// Takes the reply to a `sync` after `after`. Such a page is the truth: dense, and if it begins
    /// higher than asked, what lies between is not for this user.
    pub(super) fn offer_page(&mut self, after: u64, items: Vec<Message>, out: &mut Vec<Arc<Message>>) {
        let Some(point) = self.point else { return };
        let Some(first) = items.first() else { return };
        if first.epoch > self.epoch && point.seq > 0 && !self.shown.is_empty() {
            // What was shown below may have been renumbered too: read again from further down.
            self.epoch = first.epoch;
            self.floated.clear();
            self.rewind(after);
            return;
        }
        for message in items {
            if self.point.is_some_and(|point| message.seq <= point.seq) {
                continue;
            }
            self.epoch = self.epoch.max(message.epoch);
            self.accept(Arc::new(message), out);
            self.pass_floated();
        }
        self.drain(out);
    }

    /// The reader's place is unknown and pushes were dropped: read from the start.
    pub(super) fn begin_at_start(&mut self) {
        if self.point.is_none() {
            self.point = Some(ResumePoint { epoch: 0, seq: 0 });
        }
    }

    /// Forgets what waits above a hole: the server will not fill it.
    pub(super) fn give_up(&mut self) {
        self.wanted = false;
        self.ahead.clear();
        self.ahead_bytes = 0;
    }

    /// Sets the point from the first message, if it can. An own message cannot: backlog below it
    /// may still be on its way. It is shown at once and waits to be passed.
    fn find_beginning(&mut self, message: &Arc<Message>, origin: Origin, out: &mut Vec<Arc<Message>>) -> bool {
        if origin == Origin::Own && message.seq > 1 {
            self.float(message, out);
            return false;
        }
        self.epoch = self.epoch.max(message.epoch);
        self.point = Some(ResumePoint { epoch: message.epoch, seq: message.seq - 1 });
        true
    }

    fn float(&mut self, message: &Arc<Message>, out: &mut Vec<Arc<Message>>) {
        self.show(message, out);
        self.epoch = self.epoch.max(message.epoch);
        match self.floated.back_mut() {
            Some((from, to)) if (*from..=*to).contains(&message.seq) => {}
            Some((_, to)) if *to + 1 == message.seq => *to = message.seq,
            _ => self.floated.push_back((message.seq, message.seq)),
        }
        if self.floated.len() > FLOATED_MAX {
            self.floated.pop_front();
        }
    }

    /// A new generation of the sequencer: what it numbered again lies below, down to a floor that only
    /// the server knows. Backlog starts at that floor by itself; otherwise the remembered stretch is read
    /// again, and what was shown is told by its id.
    fn enter_epoch(&mut self, message: &Message, origin: Origin) {
        self.epoch = message.epoch;
        self.floated.clear();
        let Some(point) = self.point else { return };
        if origin == Origin::Backlog {
            if message.seq <= point.seq {
                let seq = message.seq - 1;
                self.point = Some(ResumePoint { epoch: self.epoch_at(seq), seq });
            }
        } else if point.seq > 0 && !self.shown.is_empty() {
            self.rewind(message.seq - 1);
        }
    }

    fn rewind(&mut self, at_most: u64) {
        let Some(point) = self.point else { return };
        let lowest = self.shown.iter().map(|shown| shown.seq - 1).min().unwrap_or(point.seq);
        let seq = point.seq.min(at_most).min(lowest);
        self.point = Some(ResumePoint { epoch: self.epoch_at(seq), seq });
        let epoch = self.epoch;
        self.ahead.retain(|_, other| other.epoch >= epoch);
        self.ahead_bytes = self.ahead.values().map(|other| other.body.len()).sum();
        self.wanted = true;
        self.due_ms = Some(0);
    }

    fn epoch_at(&self, seq: u64) -> u64 {
        self.shown.iter().rev().find(|shown| shown.seq == seq).map_or(0, |shown| shown.epoch)
    }

    fn accept(&mut self, message: Arc<Message>, out: &mut Vec<Arc<Message>>) {
        self.point = Some(ResumePoint { epoch: message.epoch, seq: message.seq });
        if self.floated.front().is_some_and(|(from, to)| (*from..=*to).contains(&message.seq)) {
            return;
        }
        self.show(&message, out);
    }

    fn show(&mut self, message: &Arc<Message>, out: &mut Vec<Arc<Message>>) {
        let known = self.shown.iter_mut().rev().find(|shown| shown.msg_id == message.msg_id);
        if let Some(known) = known {
            known.seq = message.seq;
            known.epoch = message.epoch;
            return;
        }
        self.shown.push_back(Shown { seq: message.seq, epoch: message.epoch, msg_id: message.msg_id });
        if self.shown.len() > REMEMBERED_MAX {
            self.shown.pop_front();
        }
        out.push(Arc::clone(message));
    }

    fn drain(&mut self, out: &mut Vec<Arc<Message>>) {
        self.pass_floated();
        while let Some(point) = self.point
            && let Some(entry) = self.ahead.first_entry()
            && *entry.key() <= point.seq + 1
        {
            let message = entry.remove();
            self.ahead_bytes -= message.body.len();
            if message.seq == point.seq + 1 && message.epoch >= point.epoch {
                self.accept(message, out);
                self.pass_floated();
            }
        }
    }

    /// Own messages that follow the run were shown before: only the point moves.
    fn pass_floated(&mut self) {
        while let Some(point) = self.point
            && let Some(&(from, to)) = self.floated.front()
            && from <= point.seq + 1
        {
            self.floated.pop_front();
            if to > point.seq {
                self.point = Some(ResumePoint { epoch: self.epoch.max(point.epoch), seq: to });
            }
        }
    }

    fn wait_above(&mut self, message: Arc<Message>) {
        self.ahead_bytes += message.body.len();
        if let Some(other) = self.ahead.insert(message.seq, message) {
            self.ahead_bytes -= other.body.len();
        }
        if self.ahead.len() > AHEAD_MAX
            && let Some((_, highest)) = self.ahead.pop_last()
        {
            self.ahead_bytes -= highest.body.len();
            self.wanted = true;
        }
    }
}
