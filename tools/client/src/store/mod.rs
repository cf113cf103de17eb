//! The store by sequence: turns pushes, pages and own messages, in whatever order and however often
//! they come, into each message once, in the order of its conversation (pure: no socket, no clock).
//!
//! Feed it by `handle_*`; after each, take everything from `poll_message` and `poll_moved`.
//! `poll_sync` tells what to ask the server for, `deadline` when to look again. Times are
//! milliseconds of one steady clock.
//!
//! ```text
//!             push seq = point+1: shown, point moves         hole not filled for HOLE_WAIT_MS,
//!            ┌──────┐                                        `resync`, `recovered: false`, new epoch
//!            ▼      │      push seq > point+1: waits above
//!  unknown ─► dense ─┴────────────────────────────────► holed ───────────────► asking
//!                ▲                                        │ pushes fill it       │ pages until
//!                └────────────────────────────────────────┴──────────────────────┘ `more: false`
//! ```

mod keep;
mod run;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use ringway_engine::limits::{PAGE_MESSAGES_MAX, RESUME_POINTS_MAX};
use ringway_engine::packet::schema::{Message, Messages, ResumePoint, Sync};

use crate::limits::{
    AHEAD_BYTES_MAX, CONVERSATIONS_MAX, HOLE_RETRY_MS_MAX, HOLE_WAIT_MS, RESUME_BYTES_MAX, SYNCS_INFLIGHT_MAX,
};
pub use keep::{MemoryStore, MessageStore, Saved};
use run::{Origin, Run};

/// The places of all conversations of one device.
#[derive(Debug, Default)]
pub struct Store {
    runs: HashMap<String, Run>,
    due: BTreeSet<(u64, String)>,
    asked: usize,
    ahead_bytes: usize,
    touches: u64,
    ready: VecDeque<Arc<Message>>,
    moved: BTreeSet<String>,
}

impl Store {
    /// Starts from what an earlier run saved.
    #[must_use]
    pub fn new(saved: Vec<Saved>) -> Self {
        let mut store = Self::default();
        for one in saved {
            store.touches += 1;
            let mut run = Run::resumed(ResumePoint::from(one.point), &one.newest);
            run.touched = store.touches;
            store.runs.insert(one.conv, run);
        }
        store
    }

    /// A live push.
    pub fn handle_message(&mut self, message: Message, now_ms: u64) {
        self.offer(message, Origin::Live, now_ms);
    }

    /// A pushed backlog page.
    pub fn handle_backlog(&mut self, page: Messages, now_ms: u64) {
        for message in page.items {
            self.offer(message, Origin::Backlog, now_ms);
        }
    }

    /// This device's own message, made from its `sent` reply: it is not pushed.
    pub fn handle_own(&mut self, message: Message, now_ms: u64) {
        self.offer(message, Origin::Own, now_ms);
    }

    /// The server dropped pushes of `conv`.
    pub fn handle_resync(&mut self, conv: &str, now_ms: u64) {
        self.change(conv, now_ms, |run, _, _| {
            run.begin_at_start();
            run.wanted = true;
            run.due_ms = Some(now_ms);
        });
    }

    /// The reply to a `sync` that `poll_sync` gave.
    pub fn handle_page(&mut self, asked: &Sync, page: Messages, now_ms: u64) {
        let (more, empty) = (page.more, page.items.is_empty());
        self.asked = self.asked.saturating_sub(1);
        self.change(&asked.conv, now_ms, |run, out, _| {
            run.asked = false;
            let before = run.point;
            // What was wanted since the question was asked still is: the page may be older than that.
            run.wanted |= more;
            run.due_ms = None;
            run.offer_page(asked.after_seq, page.items, out);
            if empty || run.point == before {
                run.fruitless = run.fruitless.saturating_add(1);
                let wait = (HOLE_WAIT_MS << run.fruitless.min(6)).min(HOLE_RETRY_MS_MAX);
                run.due_ms = run.due_ms.or(Some(now_ms + wait));
            } else {
                run.fruitless = 0;
                let wait = if run.wanted { 0 } else { HOLE_WAIT_MS };
                run.due_ms = run.due_ms.or(Some(now_ms + wait));
            }
        });
    }

    /// A `sync` was refused: try again at `retry_at_ms`, or not at all.
    pub fn handle_sync_refused(&mut self, asked: &Sync, retry_at_ms: Option<u64>, now_ms: u64) {
        self.asked = self.asked.saturating_sub(1);
        self.change(&asked.conv, now_ms, |run, _, _| {
            run.asked = false;
            run.due_ms = retry_at_ms;
            run.wanted = true;
            if retry_at_ms.is_none() {
                run.give_up();
            }
        });
    }

    /// The points to put into `connect`: as many as fit, those used last first.
    #[must_use]
    pub fn resume_points(&self) -> BTreeMap<String, ResumePoint> {
        let mut known: Vec<_> =
            self.runs.iter().filter_map(|(conv, run)| Some((run.touched, conv, run.point?))).collect();
        known.sort_unstable_by_key(|&(touched, ..)| std::cmp::Reverse(touched));
        let mut bytes = 0;
        let fits = |(_, conv, _): &(u64, &String, ResumePoint)| {
            // Quotes, brackets and two numbers of at most 20 digits, in the larger of both formats.
            bytes += conv.len() + 48;
            bytes <= RESUME_BYTES_MAX
        };
        known
            .into_iter()
            .take(RESUME_POINTS_MAX)
            .take_while(fits)
            .map(|(_, conv, point)| (conv.clone(), point))
            .collect()
    }

    /// The answer to the points given: where the server cannot push all that was missed, page.
    pub fn handle_connected(&mut self, recovered: &BTreeMap<String, bool>, now_ms: u64) {
        for (conv, &complete) in recovered {
            if complete {
                if let Some(run) = self.runs.get_mut(conv) {
                    run.wanted = false;
                }
            } else {
                self.handle_resync(conv, now_ms);
            }
        }
    }

    /// The connection is gone: what was asked will not be answered.
    pub fn handle_disconnected(&mut self, now_ms: u64) {
        self.asked = 0;
        let asked: Vec<String> = self.runs.iter().filter(|(_, run)| run.asked).map(|(conv, _)| conv.clone()).collect();
        for conv in asked {
            self.change(&conv, now_ms, |run, _, _| {
                run.asked = false;
                run.wanted = true;
                run.due_ms = Some(now_ms + HOLE_WAIT_MS);
            });
        }
    }

    /// The next `sync` to send, if one is due.
    pub fn poll_sync(&mut self, now_ms: u64) -> Option<Sync> {
        while self.asked < SYNCS_INFLIGHT_MAX {
            let (due_ms, conv) = self.due.first().cloned()?;
            if due_ms > now_ms {
                return None;
            }
            self.due.pop_first();
            let Some(run) = self.runs.get_mut(&conv) else { continue };
            run.due_ms = None;
            if let Some(point) = run.point
                && (run.wanted || run.has_hole())
            {
                run.asked = true;
                run.wanted = false;
                self.asked += 1;
                return Some(Sync { conv, after_seq: point.seq, limit: PAGE_MESSAGES_MAX as u32, before_seq: 0 });
            }
        }
        None
    }

    /// When `poll_sync` may have something.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if self.asked >= SYNCS_INFLIGHT_MAX {
            return None;
        }
        self.due.first().map(|(due_ms, _)| *due_ms)
    }

    /// The next message to show.
    pub fn poll_message(&mut self) -> Option<Arc<Message>> {
        self.ready.pop_front()
    }

    /// A conversation whose point moved, and where it is now.
    pub fn poll_moved(&mut self) -> Option<(String, ResumePoint)> {
        while let Some(conv) = self.moved.pop_first() {
            if let Some(point) = self.runs.get(&conv).and_then(|run| run.point) {
                return Some((conv, point));
            }
        }
        None
    }

    /// Up to where a conversation is complete.
    #[must_use]
    pub fn point(&self, conv: &str) -> Option<ResumePoint> {
        self.runs.get(conv).and_then(|run| run.point)
    }

    fn offer(&mut self, message: Message, origin: Origin, now_ms: u64) {
        let conv = message.conv.clone();
        self.change(&conv, now_ms, |run, out, room| run.offer(message, origin, room, out));
    }

    /// Runs `edit` on a conversation and settles what follows from it: messages to show, the point's
    /// move, bytes above holes, and when to ask.
    fn change(&mut self, conv: &str, now_ms: u64, edit: impl FnOnce(&mut Run, &mut Vec<Arc<Message>>, bool)) {
        if !self.runs.contains_key(conv) {
            self.forget_oldest();
        }
        self.touches += 1;
        let room = self.ahead_bytes < AHEAD_BYTES_MAX;
        let run = self.runs.entry(conv.to_owned()).or_default();
        run.touched = self.touches;
        let (point, bytes, due_ms) = (run.point, run.ahead_bytes(), run.due_ms);
        let mut shown = Vec::new();
        edit(run, &mut shown, room);

        self.ahead_bytes = self.ahead_bytes + run.ahead_bytes() - bytes;
        let progressed = run.point != point;
        if !run.asked && run.point.is_some() && (run.wanted || run.has_hole()) {
            // As long as pushes move the point, the hole is being filled.
            if run.due_ms.is_none() || (progressed && !run.wanted && run.due_ms == due_ms) {
                run.due_ms = Some(now_ms + HOLE_WAIT_MS);
            }
        } else {
            run.due_ms = None;
        }
        if run.due_ms != due_ms {
            if let Some(due_ms) = due_ms {
                self.due.remove(&(due_ms, conv.to_owned()));
            }
            if let Some(due_ms) = run.due_ms {
                self.due.insert((due_ms, conv.to_owned()));
            }
        }
        if progressed {
            self.moved.insert(conv.to_owned());
        }
        self.ready.extend(shown);
    }

    fn forget_oldest(&mut self) {
        if self.runs.len() < CONVERSATIONS_MAX {
            return;
        }
        // One scan for many: a sixteenth goes at once.
        let mut order: Vec<(u64, String)> = self
            .runs
            .iter()
            .filter(|(_, run)| !run.asked && !run.has_hole())
            .map(|(conv, run)| (run.touched, conv.clone()))
            .collect();
        order.sort_unstable();
        for (_, conv) in order.into_iter().take(CONVERSATIONS_MAX / 16) {
            if let Some(run) = self.runs.remove(&conv)
                && let Some(due_ms) = run.due_ms
            {
                self.due.remove(&(due_ms, conv));
            }
        }
    }
}
