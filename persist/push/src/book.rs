//! Who is waited for: one entry for each recipient and conversation, however many messages. Pure: `now` is an argument.
//!
//! ```text
//!            a message                  nudge_after_ms           push_after_ms
//!   (none) ────────────► Unseen ────────────────────► Nudged ────────────────────► Pushed
//!     ▲                    ▲ ▲   not acknowledged        │    not acknowledged        │
//!     │                    │ └── some of it acknowledged ┴────────────────────────────┤
//!     │                    └──────────────────────────────────────────────────────────┘
//!     └─── all of it acknowledged, or no member any more; or Pushed, and for PUSHED_KEPT_MS or room was wanted
//! ```
//!
//! Order of calls: `add` for each recipient of a message; `take_due`, then `settle` (or `settle_later`) for each user
//! that it names.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use ringway_engine::ids::{ConversationId, Uid};
use ringway_store::ports::{DevicePoint, Nudge, PushNotice};

use crate::config::RemindersConfig;
use crate::limits::{CHECK_RETRY_MS, PUSHED_KEPT_MS, WAITING_MAX};

/// What is remembered of a message.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) conv: ConversationId,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) msg_id: u64,
    pub(crate) from: String,
    pub(crate) kind: String,
    /// When it was taken, Unix milliseconds.
    pub(crate) taken_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Unseen,
    Nudged,
    Pushed,
}

#[derive(Debug)]
struct Waiting {
    stage: Stage,
    /// The first number that was not acknowledged at the last look.
    first: u64,
    /// From when on it counts.
    since_ms: u64,
    due_ms: u64,
    last: Arc<Noted>,
}

#[derive(Debug, Default)]
struct User {
    convs: HashMap<ConversationId, Waiting>,
    /// Its place among those that are due, if it has one.
    due_ms: Option<u64>,
    /// Its cursors are being read: it gets its place when they are.
    looked_at: bool,
}

/// What is to be done about an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Nudge(Nudge),
    Push(PushNotice),
}

/// See the module's doc.
#[derive(Debug)]
pub(crate) struct Book {
    config: RemindersConfig,
    users: HashMap<Uid, User>,
    due: BTreeSet<(u64, Uid)>,
    /// What was pushed, since when: the first of it makes room for new entries.
    pushed: BTreeSet<(u64, Uid, ConversationId)>,
    entries: usize,
    entries_max: usize,
}

impl Book {
    pub(crate) fn new(config: RemindersConfig) -> Self {
        let (users, due, pushed) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { config, users, due, pushed, entries: 0, entries_max: WAITING_MAX }
    }

    /// Entries.
    pub(crate) fn len(&self) -> usize {
        self.entries
    }

    /// Waits for a recipient of a message. False: there is no room.
    pub(crate) fn add(&mut self, uid: &Uid, message: &Arc<Noted>, now_ms: u64) -> bool {
        // An archive that lags, or a clock that was set, makes nobody late by itself.
        let since_ms = message.taken_ms.min(now_ms);
        let due_ms = (since_ms + self.config.nudge_after_ms).max(now_ms);
        let known = self.users.get_mut(uid).and_then(|user| user.convs.get_mut(&message.conv));
        if let Some(waiting) = known {
            if (message.epoch, message.seq) > (waiting.last.epoch, waiting.last.seq) {
                waiting.last = Arc::clone(message);
            }
            if waiting.stage == Stage::Pushed {
                // Something was read meanwhile, or this one is held back.
                waiting.due_ms = waiting.due_ms.min(due_ms);
            }
        } else {
            if self.entries >= self.entries_max && !self.make_room() {
                return false;
            }
            self.entries += 1;
            let (first, last) = (message.seq, Arc::clone(message));
            let waiting = Waiting { stage: Stage::Unseen, first, since_ms, due_ms, last };
            self.users.entry(uid.clone()).or_default().convs.insert(message.conv.clone(), waiting);
        }
        if self.users.get(uid).is_some_and(|user| !user.looked_at) {
            self.place(uid);
        }
        true
    }

    /// Forgets what was pushed longest ago. False: nothing was.
    fn make_room(&mut self) -> bool {
        let Some((_, uid, conv)) = self.pushed.pop_first() else { return false };
        let Some(user) = self.users.get_mut(&uid) else { return false };
        self.entries -= usize::from(user.convs.remove(&conv).is_some());
        if !user.looked_at {
            self.place(&uid);
        }
        true
    }

    /// Takes a user's entries off the list of what was pushed, before they are changed.
    fn unlist(&mut self, uid: &Uid) {
        for (conv, waiting) in self.users.get(uid).iter().flat_map(|user| &user.convs) {
            if waiting.stage == Stage::Pushed {
                self.pushed.remove(&(waiting.since_ms, uid.clone(), conv.clone()));
            }
        }
    }

    /// Puts those that were pushed on it again.
    fn list(&mut self, uid: &Uid) {
        for (conv, waiting) in self.users.get(uid).iter().flat_map(|user| &user.convs) {
            if waiting.stage == Stage::Pushed {
                self.pushed.insert((waiting.since_ms, uid.clone(), conv.clone()));
            }
        }
    }

    /// Puts a user where it belongs among those that are due; forgets it when nothing is left.
    fn place(&mut self, uid: &Uid) {
        let Some(user) = self.users.get_mut(uid) else { return };
        user.looked_at = false;
        let due_ms = user.convs.values().map(|waiting| waiting.due_ms).min();
        if let Some(before) = user.due_ms {
            self.due.remove(&(before, uid.clone()));
        }
        user.due_ms = due_ms;
        match due_ms {
            Some(due_ms) => drop(self.due.insert((due_ms, uid.clone()))),
            None => drop(self.users.remove(uid)),
        }
    }

    /// Users whose cursors are to be read, at most `count`.
    pub(crate) fn take_due(&mut self, now_ms: u64, count: usize) -> Vec<Uid> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some((due_ms, uid)) = self.due.first().cloned()
            && due_ms <= now_ms
        {
            self.due.pop_first();
            if let Some(user) = self.users.get_mut(&uid) {
                user.due_ms = None;
                user.looked_at = true;
            }
            if self.forget_old(&uid, now_ms) {
                taken.push(uid);
            }
        }
        taken
    }

    /// Forgets what was pushed long ago. Whether there is anything left to be looked at.
    fn forget_old(&mut self, uid: &Uid, now_ms: u64) -> bool {
        self.unlist(uid);
        let Some(user) = self.users.get_mut(uid) else { return false };
        let before = user.convs.len();
        user.convs.retain(|_, waiting| {
            waiting.stage != Stage::Pushed || now_ms.saturating_sub(waiting.since_ms) < PUSHED_KEPT_MS
        });
        self.entries -= before - user.convs.len();
        let is_due = user.convs.values().any(|waiting| waiting.due_ms <= now_ms);
        self.list(uid);
        if !is_due {
            self.place(uid);
        }
        is_due
    }

    /// A user's cursors could not be read.
    pub(crate) fn settle_later(&mut self, uid: &Uid, now_ms: u64) {
        if let Some(user) = self.users.get_mut(uid) {
            for waiting in user.convs.values_mut().filter(|waiting| waiting.due_ms <= now_ms) {
                waiting.due_ms = now_ms + CHECK_RETRY_MS;
            }
        }
        self.place(uid);
    }

    /// Where a user's devices stand.
    pub(crate) fn settle(&mut self, uid: &Uid, points: &[DevicePoint], now_ms: u64) -> Vec<Effect> {
        self.unlist(uid);
        let Some(user) = self.users.get_mut(uid) else { return Vec::new() };
        let before = user.convs.len();
        let acknowledged: HashMap<&ConversationId, u64> =
            points.iter().map(|point| (&point.conv, point.user_cursor.unwrap_or(0).max(point.floor))).collect();
        let mut effects = Vec::new();
        user.convs.retain(|conv, waiting| {
            // Who is not in it has nothing to look at.
            let Some(up_to) = acknowledged.get(conv).copied() else { return false };
            if up_to >= waiting.last.seq {
                return false;
            }
            effects.extend(waiting.look(uid, up_to, now_ms, &self.config));
            true
        });
        self.entries -= before - user.convs.len();
        self.list(uid);
        self.place(uid);
        effects
    }
}

impl Waiting {
    /// Something is unread.
    fn look(&mut self, uid: &Uid, up_to: u64, now_ms: u64, config: &RemindersConfig) -> Option<Effect> {
        if up_to >= self.first {
            // Somebody is reading: what is left counts from the newest of it.
            self.first = up_to + 1;
            self.stage = Stage::Unseen;
            self.since_ms = self.last.taken_ms.min(now_ms);
        }
        let (nudge_ms, push_ms) = (self.since_ms + config.nudge_after_ms, self.since_ms + config.push_after_ms);
        let (effect, due_ms) = match self.stage {
            Stage::Pushed => (None, self.since_ms + PUSHED_KEPT_MS),
            _ if now_ms >= push_ms => {
                self.stage = Stage::Pushed;
                self.since_ms = now_ms;
                (Some(Effect::Push(self.notice(uid))), now_ms + PUSHED_KEPT_MS)
            }
            Stage::Unseen if now_ms >= nudge_ms => {
                self.stage = Stage::Nudged;
                let Noted { conv, epoch, seq, .. } = self.last.as_ref().clone();
                (Some(Effect::Nudge(Nudge { uid: uid.clone(), conv, epoch, seq })), push_ms)
            }
            Stage::Unseen => (None, nudge_ms),
            Stage::Nudged => (None, push_ms),
        };
        self.due_ms = due_ms;
        effect
    }

    fn notice(&self, uid: &Uid) -> PushNotice {
        let Noted { conv, seq, msg_id, from, kind, .. } = self.last.as_ref().clone();
        PushNotice { uid: uid.clone(), conv, seq, msg_id, from, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_store::conformance::{conv, uid};

    const T: u64 = 1_000_000;

    struct Case {
        book: Book,
        now_ms: u64,
    }

    impl Case {
        fn new() -> Self {
            Self { book: Book::new(RemindersConfig::default()), now_ms: T }
        }

        fn message(&mut self, seq: u64) {
            assert!(self.message_to("b", seq));
        }

        fn message_to(&mut self, to: &str, seq: u64) -> bool {
            let noted = Noted {
                conv: conv(&format!("p2p:a:{to}")),
                epoch: 1,
                seq,
                msg_id: seq + 100,
                from: "a".into(),
                kind: "text".into(),
                taken_ms: self.now_ms,
            };
            self.book.add(&uid(to), &Arc::new(noted), self.now_ms)
        }

        /// What happens until then, when the user's devices stand at `cursor`.
        fn check(&mut self, until_ms: u64, cursor: u64, expected: &[&str]) {
            let mut seen = Vec::new();
            while self.now_ms < until_ms {
                self.now_ms += 100;
                for user in self.book.take_due(self.now_ms, 10) {
                    let (head, user_cursor) = (99, Some(cursor));
                    let conv = conv(&format!("p2p:a:{user}"));
                    let point = DevicePoint { conv, epoch: 1, head, floor: 0, device_cursor: None, user_cursor };
                    seen.extend(self.book.settle(&user, &[point], self.now_ms).into_iter().map(
                        |effect| match effect {
                            Effect::Nudge(nudge) => format!("nudge {} at {}", nudge.seq, self.now_ms - T),
                            Effect::Push(notice) => format!("push {} at {}", notice.seq, self.now_ms - T),
                        },
                    ));
                }
            }
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn whoever_acknowledges_is_left_alone() {
        let mut case = Case::new();
        case.message(1);
        case.check(T + 20_000, 1, &[]);
        assert!(case.book.len() == 0 && case.book.users.is_empty() && case.book.due.is_empty());
    }

    #[test]
    fn a_nudge_comes_first_and_then_one_push_however_many_follow() {
        let mut case = Case::new();
        case.message(1);
        case.message(2);
        case.check(T + 12_000, 0, &["nudge 2 at 3000", "push 2 at 10000"]);
        for seq in 3..9 {
            case.message(seq);
            case.check(T + seq * 10_000, 0, &[]);
        }
        // Read, and silent again.
        case.now_ms = T + 100_000;
        case.message(9);
        case.check(T + 120_000, 8, &["nudge 9 at 103000", "push 9 at 110000"]);
    }

    #[test]
    fn whoever_reads_on_is_not_pushed() {
        let mut case = Case::new();
        case.message(1);
        case.check(T + 4_000, 0, &["nudge 1 at 3000"]);
        case.message(2);
        // The first is acknowledged, the second has its own time.
        case.check(T + 10_500, 1, &["nudge 2 at 10000"]);
        case.check(T + 13_000, 1, &[]);
        case.check(T + 15_000, 1, &["push 2 at 14000"]);
    }

    #[test]
    fn what_was_pushed_is_forgotten_after_a_while() {
        let mut case = Case::new();
        case.message(1);
        case.check(T + 11_000, 0, &["nudge 1 at 3000", "push 1 at 10000"]);
        case.now_ms = T + PUSHED_KEPT_MS + 10_000;
        assert!(case.book.take_due(case.now_ms, 10).is_empty());
        assert!(case.book.len() == 0 && case.book.users.is_empty() && case.book.due.is_empty());
        assert!(case.book.pushed.is_empty());
    }

    #[test]
    fn what_was_pushed_longest_ago_makes_room_and_what_is_waited_for_does_not() {
        let mut case = Case::new();
        case.book.entries_max = 3;
        case.message(1);
        case.check(T + 10_000, 0, &["nudge 1 at 3000", "push 1 at 10000"]);
        assert!(case.message_to("c", 1));
        case.check(T + 20_000, 0, &["nudge 1 at 13000", "push 1 at 20000"]);
        assert!(case.message_to("d", 20) && case.message_to("e", 20));
        assert!(!case.book.users.contains_key(&uid("b")), "it was the first");
        // Read, and silent again: waited for.
        case.now_ms += 1;
        assert!(case.message_to("c", 9));
        case.check(T + 23_001, 8, &["nudge 20 at 23001", "nudge 20 at 23001", "nudge 9 at 23001"]);
        assert!(!case.message_to("f", 1), "no room: {:?}", case.book);
        assert_eq!((case.book.len(), case.book.pushed.len()), (3, 0));
        case.check(T + 60_000, 20, &[]);
        assert!(case.book.len() == 0 && case.book.users.is_empty() && case.book.pushed.is_empty());
    }

    #[test]
    fn a_look_that_failed_comes_again_and_news_meanwhile_are_not_lost() {
        let mut case = Case::new();
        case.message(1);
        assert_eq!(case.book.take_due(T + 3_000, 10), [uid("b")]);
        case.now_ms = T + 3_000;
        case.message(2);
        assert!(case.book.take_due(T + 60_000, 10).is_empty(), "it is being looked at");
        case.book.settle_later(&uid("b"), T + 3_000);
        case.check(T + 5_500, 0, &["nudge 2 at 5000"]);
    }

    #[test]
    fn whoever_is_no_member_any_more_is_not_reminded() {
        let mut case = Case::new();
        case.message(1);
        assert_eq!(case.book.take_due(T + 3_000, 10), [uid("b")]);
        assert!(case.book.settle(&uid("b"), &[], T + 3_000).is_empty());
        assert_eq!(case.book.len(), 0);
    }
}
