//! What one device has been shown of each conversation, and what it may be shown next.
//!
//! ```text
//!              gap, backlog                 page reached the head
//!      Live ───────────────► Behind ◄─────► Paging ───────────────► Live
//!        │ queue past its bound    next page
//!        ▼
//!     Resync ── client's `sync` reached the head ──► Live (or Behind, if more came meanwhile)
//! ```
//!
//! Lives on the connection's shard. Invariants: what is pushed of a conversation rises by one, or follows
//! a `resync`; nothing live is pushed while older messages are outstanding; one page read in flight a
//! device. A conversation without a track is live: its next message starts one. That is sound because the
//! shard sees every message of the conversation from the moment the device is attached, or is told of the
//! first one it missed (`handle_missed`). Among several nodes one of another node may be overtaken by it: a message
//! from below where a track was started so was perhaps never shown, and the device is told to read (`resync`).
//!
//! **Epochs.** Numbers of two epochs cannot be compared: some of the earlier may have become other messages. A
//! device that meets a later epoch falls behind, keeps its place of the earlier one, and asks for the page with it:
//! whoever reads knows from which number on the later epoch differs.

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::by_conversation::ByConversation;
use crate::ids::ConversationId;
use crate::limits::{ACKS_GATHERED_MAX, DELIVERY_LOW_WATER_BYTES, DELIVERY_QUEUED_BYTES_MAX, DEVICE_CONVERSATIONS_MAX};

/// A place in a conversation: epoch and sequence. A place of a later epoch is the later one.
pub type Place = (u64, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Live,
    Behind,
    Paging,
    Resync,
}

#[derive(Debug)]
struct Track {
    /// The highest place pushed, or skipped as the device's own.
    sent: Place,
    /// The highest place known to exist; meaningful while not live.
    head: Place,
    /// If a message started the track: the place before it. Zero if it was told where the device stands.
    began: Place,
    mode: Mode,
}

impl Track {
    /// Live, with everything up to here.
    fn at(sent: Place) -> Self {
        Self { sent, head: sent, began: Place::default(), mode: Mode::Live }
    }

    /// Whether it lies below the message that started the track, and so was perhaps never shown.
    fn lacks(&self, at: Place) -> bool {
        at.0 == self.began.0 && at <= self.began && at.1 > 0
    }

    /// From here on the device reads by itself.
    fn resync(&mut self, head: Place) {
        self.mode = Mode::Resync;
        self.head = self.sent.max(head);
        self.began = Place::default();
    }
}

/// What to do with a live message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Queue it.
    Push,
    /// It was shown already, or a catch-up read will bring it.
    Skip,
    /// The device reads too slowly, or may have missed it: queue a `resync` for the conversation instead.
    Resync,
}

/// A page that the device waits for: everything above `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Conversation.
    pub conv: ConversationId,
    /// Items come after it. Its epoch may be over.
    pub after: Place,
}

/// What became of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageOutcome {
    /// Push its items; ask for the next page when the queue has room.
    Push,
    /// It brought nothing although more exists (a hole upstream): ask again later.
    Stalled,
    /// Nobody waits for it any more.
    Ignore,
}

/// What a page that was read ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageEnd {
    /// Epoch of the page's numbers.
    pub epoch: u64,
    /// Its last sequence; `None` if it is empty.
    pub last: Option<u64>,
    /// Head of the conversation when it was read.
    pub head: u64,
    /// Whether there is more, or will be: the page may end at a hole.
    pub more: bool,
}

/// Live messages that passed by: the latest epoch, and the first and last sequence of it.
type Passed = HashMap<ConversationId, (u64, u64, u64), RandomState>;

/// What a device has to do that is not up to date.
#[derive(Debug, Default)]
struct Backlog {
    /// While it is not known where the device stands.
    early: Option<Passed>,
    behind: VecDeque<ConversationId>,
    paging: Option<ConversationId>,
}

impl Backlog {
    fn is_over(&self) -> bool {
        self.early.is_none() && self.paging.is_none() && self.behind.is_empty()
    }
}

/// Delivery state of one device.
#[derive(Debug, Default)]
pub struct Device {
    tracks: ByConversation<Track>,
    backlog: Option<Box<Backlog>>,
    acks: Vec<(ConversationId, u64, u64)>,
}

impl Device {
    /// The device is on the map, but where it stands is still being asked: nothing is pushed until
    /// [`Device::begin`].
    pub fn hold(&mut self) {
        self.backlog().early = Some(Passed::default());
    }

    /// Where the device stands was told by `handle_backlog` and `handle_unrecovered`; `head_of` is the epoch and
    /// the head that were known then. What passed by since is backlog too.
    pub fn begin(&mut self, head_of: impl Fn(&ConversationId) -> Place) {
        // Nothing was shown yet, so nothing is to be read again.
        let early = self.backlog.as_mut().and_then(|backlog| backlog.early.take());
        self.backlog.take_if(|backlog| backlog.is_over());
        for (conv, (epoch, first, last)) in early.unwrap_or_default() {
            let known = head_of(&conv);
            if known.1 == 0 {
                let _ = self.handle_missed(&conv, epoch, first, last);
            } else if (epoch, last) > known {
                // The track begins at what was known, whatever its epoch.
                self.tracks.get_or_insert_with(&conv, || Track::at(known));
                let _ = self.handle_missed(&conv, epoch, first, last);
            }
        }
    }

    /// A backlog, told before anything live of that conversation: everything in `(from, head]` is to come.
    pub fn handle_backlog(&mut self, conv: ConversationId, from: Place, head: Place) {
        if head > from {
            self.tracks.insert(conv.clone(), Track { head, mode: Mode::Behind, ..Track::at(from) });
            self.backlog().behind.push_back(conv);
        }
    }

    /// The user joined while connected: everything above `from` is for the device, `head` is there already. Keeps
    /// a track even without backlog, so that a message which passed by meanwhile shows as a gap.
    pub fn handle_joined(&mut self, conv: ConversationId, from: Place, head: Place) {
        self.tracks.insert(conv.clone(), Track::at(from));
        self.handle_backlog(conv, from, head);
    }

    /// The client must page by itself; nothing is pushed until its `sync` has reached the head.
    pub fn handle_unrecovered(&mut self, conv: ConversationId, head: Place) {
        self.tracks.insert(conv, Track { head, mode: Mode::Resync, ..Track::at((head.0, 0)) });
    }

    /// A live message that would take `bytes` of a queue that holds `queued`.
    pub fn handle_live(&mut self, conv: &ConversationId, at: Place, bytes: usize, queued: usize) -> Verdict {
        if self.pass_by(conv, at.0, at.1, at.1) {
            return Verdict::Skip;
        }
        let track = self.track(conv, before(at));
        match track.mode {
            Mode::Live if track.lacks(at) => {
                track.resync(at);
                Verdict::Resync
            }
            // One of an epoch that is over has another number now, or will have one.
            Mode::Live if at <= track.sent => Verdict::Skip,
            Mode::Live if at != after(track.sent) => {
                self.fall_behind(conv, at);
                Verdict::Skip
            }
            Mode::Live if queued + bytes > DELIVERY_QUEUED_BYTES_MAX => {
                track.resync(at);
                Verdict::Resync
            }
            Mode::Live => {
                track.sent = at;
                Verdict::Push
            }
            Mode::Behind | Mode::Paging | Mode::Resync => {
                track.head = track.head.max(at);
                Verdict::Skip
            }
        }
    }

    /// A message of this very device got its number; it is answered by `sent` and not shown again.
    pub fn handle_own(&mut self, conv: &ConversationId, at: Place) {
        let track = self.track(conv, before(at));
        match track.mode {
            Mode::Live if at > after(track.sent) => self.fall_behind(conv, at),
            Mode::Live => track.sent = track.sent.max(at),
            Mode::Behind | Mode::Paging | Mode::Resync => track.head = track.head.max(at),
        }
    }

    /// The shard could not be told of `first..=head`, or the device has not acknowledged them. True if later ones were
    /// shown already: then the device is to be told to read.
    #[must_use]
    pub fn handle_missed(&mut self, conv: &ConversationId, epoch: u64, first: u64, head: u64) -> bool {
        if self.pass_by(conv, epoch, first, head) {
            return false;
        }
        let (first, head) = ((epoch, first), (epoch, head));
        let track = self.track(conv, before(first));
        if track.mode == Mode::Live && track.lacks(first) {
            track.resync(head);
            return true;
        }
        if track.mode == Mode::Live && head > track.sent {
            self.fall_behind(conv, head);
        } else {
            track.head = track.head.max(head);
        }
        false
    }

    /// The device has not acknowledged `at` for so long that it may not have it. True if it was shown, or skipped, as far
    /// as is known here: then the device is to be told to read.
    pub fn handle_unacknowledged(&mut self, conv: &ConversationId, at: Place) -> bool {
        let Some(track) = self.tracks.get_mut(conv).filter(|track| track.mode == Mode::Live && track.sent >= at) else {
            return false;
        };
        track.resync(at);
        true
    }

    /// The next page to read, if one is due and the queue (of `queued` bytes) has room for it.
    pub fn next_page(&mut self, queued: usize) -> Option<PageRequest> {
        let backlog = self.backlog.as_mut().filter(|backlog| backlog.paging.is_none())?;
        if queued > DELIVERY_LOW_WATER_BYTES {
            return None;
        }
        while let Some(conv) = backlog.behind.pop_front() {
            // A conversation that the user left meanwhile has no track.
            let Some(track) = self.tracks.get_mut(&conv).filter(|track| track.mode == Mode::Behind) else { continue };
            track.mode = Mode::Paging;
            backlog.paging = Some(conv.clone());
            return Some(PageRequest { conv, after: track.sent });
        }
        self.backlog.take_if(|backlog| backlog.is_over());
        None
    }

    /// The answer to [`Device::next_page`].
    pub fn handle_page(&mut self, conv: &ConversationId, page: PageEnd) -> PageOutcome {
        let asked = self.backlog.as_mut().and_then(|backlog| backlog.paging.take_if(|paging| paging == conv));
        let Some(track) = asked.and_then(|conv| self.tracks.get_mut(&conv)) else { return PageOutcome::Ignore };
        let PageEnd { epoch, last, head, more } = page;
        track.head = track.head.max((epoch, head));
        // An empty page leads into a later epoch only if nothing is to come: else the place would skip what is missing.
        if let Some(last) = last.or((epoch > track.sent.0 && !more).then_some(head)) {
            track.sent = track.sent.max((epoch, last));
        }
        if track.sent >= track.head {
            track.mode = Mode::Live;
            self.backlog.take_if(|backlog| backlog.is_over());
            return PageOutcome::Push;
        }
        track.mode = Mode::Behind;
        // Finish one conversation before the next is begun.
        self.backlog().behind.push_front(conv.clone());
        if last.is_none() { PageOutcome::Stalled } else { PageOutcome::Push }
    }

    /// The client's own `sync` was answered up to `last`; `complete` when that was the conversation's head.
    pub fn handle_synced(&mut self, conv: &ConversationId, epoch: u64, last: u64, complete: bool) {
        let Some(track) = self.tracks.get_mut(conv).filter(|track| track.mode == Mode::Resync && complete) else {
            return;
        };
        track.sent = track.sent.max((epoch, last));
        if track.head > track.sent {
            track.mode = Mode::Behind;
            self.backlog().behind.push_back(conv.clone());
        } else {
            track.mode = Mode::Live;
        }
    }

    /// The user is no longer in the conversation.
    pub fn handle_left(&mut self, conv: &ConversationId) {
        self.tracks.remove(conv);
        if let Some(backlog) = &mut self.backlog {
            backlog.paging.take_if(|paging| paging == conv);
        }
    }

    /// Notes a cumulative acknowledgement; true when it is the first since [`Device::take_acks`]. Past
    /// `ACKS_GATHERED_MAX` conversations the acknowledgement is dropped: it is cumulative, the next one counts.
    pub fn handle_ack(&mut self, conv: ConversationId, epoch: u64, seq: u64) -> bool {
        let (first, full) = (self.acks.is_empty(), self.acks.len() >= ACKS_GATHERED_MAX);
        match self.acks.iter_mut().find(|ack| ack.0 == conv) {
            Some(ack) => (ack.1, ack.2) = (ack.1, ack.2).max((epoch, seq)),
            None if !full => self.acks.push((conv, epoch, seq)),
            None => {}
        }
        first
    }

    /// Whether an acknowledgement of one more conversation would be dropped.
    #[must_use]
    pub fn is_full_of_acks(&self) -> bool {
        self.acks.len() >= ACKS_GATHERED_MAX
    }

    /// Conversation, epoch and sequence of what was acknowledged since the last call.
    pub fn take_acks(&mut self) -> Vec<(ConversationId, u64, u64)> {
        std::mem::take(&mut self.acks)
    }

    /// Whether backlog is outstanding.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.backlog.as_ref().is_some_and(|backlog| backlog.paging.is_some() || !backlog.behind.is_empty())
    }

    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_default()
    }

    /// Notes what passes by a device that is held; false when it is not.
    fn pass_by(&mut self, conv: &ConversationId, epoch: u64, first: u64, last: u64) -> bool {
        let Some(early) = self.backlog.as_mut().and_then(|backlog| backlog.early.as_mut()) else { return false };
        let passed = early.entry_ref(conv).or_insert((epoch, first, last));
        match epoch.cmp(&passed.0) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => (passed.1, passed.2) = (passed.1.min(first), passed.2.max(last)),
            std::cmp::Ordering::Greater => *passed = (epoch, first, last),
        }
        true
    }

    fn fall_behind(&mut self, conv: &ConversationId, head: Place) {
        if let Some(track) = self.tracks.get_mut(conv) {
            track.mode = Mode::Behind;
            track.head = track.head.max(head);
            self.backlog().behind.push_back(conv.clone());
        }
    }

    fn track(&mut self, conv: &ConversationId, sent: Place) -> &mut Track {
        if self.tracks.len() >= DEVICE_CONVERSATIONS_MAX && !self.tracks.contains(conv) {
            self.tracks.retain(|track| track.mode != Mode::Live);
        }
        self.tracks.get_or_insert_with(conv, || Track { began: sent, ..Track::at(sent) })
    }
}

fn before((epoch, seq): Place) -> Place {
    (epoch, seq.saturating_sub(1))
}

fn after((epoch, seq): Place) -> Place {
    (epoch, seq + 1)
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
