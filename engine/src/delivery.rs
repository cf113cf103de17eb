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
//! first one it missed (`handle_missed`).

use std::collections::VecDeque;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::ids::ConversationId;
use crate::limits::{ACKS_GATHERED_MAX, DELIVERY_LOW_WATER_BYTES, DELIVERY_QUEUED_BYTES_MAX, DEVICE_CONVERSATIONS_MAX};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Live,
    Behind,
    Paging,
    Resync,
}

#[derive(Debug)]
struct Track {
    /// Highest sequence pushed or skipped as the device's own.
    sent: u64,
    /// Highest sequence known to exist; meaningful while not live.
    head: u64,
    mode: Mode,
}

/// What to do with a live message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Queue it.
    Push,
    /// It was shown already, or a catch-up read will bring it.
    Skip,
    /// The device reads too slowly: queue a `resync` for the conversation instead.
    Resync,
}

/// A page that the device waits for: everything above `after`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// Conversation.
    pub conv: ConversationId,
    /// Items have a sequence above it.
    pub after: u64,
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

/// First and last live sequence that passed by, of each conversation.
type Passed = HashMap<ConversationId, (u64, u64), RandomState>;

/// Delivery state of one device.
#[derive(Debug, Default)]
pub struct Device {
    /// While it is not known where the device stands.
    early: Option<Box<Passed>>,
    tracks: HashMap<ConversationId, Track, RandomState>,
    behind: VecDeque<ConversationId>,
    paging: Option<ConversationId>,
    acks: Vec<(ConversationId, u64, u64)>,
}

impl Device {
    /// The device is on the map, but where it stands is still being asked: nothing is pushed until
    /// [`Device::begin`].
    pub fn hold(&mut self) {
        self.early = Some(Box::default());
    }

    /// Where the device stands was told by `handle_backlog` and `handle_unrecovered`; `head_of` is the head
    /// that was known then. What passed by since is backlog too.
    pub fn begin(&mut self, head_of: impl Fn(&ConversationId) -> u64) {
        for (conv, (first, last)) in *self.early.take().unwrap_or_default() {
            let known = head_of(&conv);
            if last > known {
                let from = if known > 0 { known + 1 } else { first };
                self.handle_missed(&conv, from, last);
            }
        }
    }

    /// A backlog, told before anything live of that conversation: everything in `(from, head]` is to come.
    pub fn handle_backlog(&mut self, conv: ConversationId, from: u64, head: u64) {
        if head > from {
            self.tracks.insert(conv.clone(), Track { sent: from, head, mode: Mode::Behind });
            self.behind.push_back(conv);
        }
    }

    /// The user joined while connected: everything above `from` is for the device, `head` is there already. Keeps
    /// a track even without backlog, so that a message which passed by meanwhile shows as a gap.
    pub fn handle_joined(&mut self, conv: ConversationId, from: u64, head: u64) {
        self.tracks.insert(conv.clone(), Track { sent: from, head: from, mode: Mode::Live });
        self.handle_backlog(conv, from, head);
    }

    /// The client must page by itself; nothing is pushed until its `sync` has reached the head.
    pub fn handle_unrecovered(&mut self, conv: ConversationId, head: u64) {
        self.tracks.insert(conv, Track { sent: 0, head, mode: Mode::Resync });
    }

    /// A live message that would take `bytes` of a queue that holds `queued`.
    pub fn handle_live(&mut self, conv: &ConversationId, seq: u64, bytes: usize, queued: usize) -> Verdict {
        if self.pass_by(conv, seq, seq) {
            return Verdict::Skip;
        }
        let track = self.track(conv, seq.saturating_sub(1));
        match track.mode {
            Mode::Live if seq <= track.sent => Verdict::Skip,
            Mode::Live if seq > track.sent + 1 => {
                self.fall_behind(conv, seq);
                Verdict::Skip
            }
            Mode::Live if queued + bytes > DELIVERY_QUEUED_BYTES_MAX => {
                track.mode = Mode::Resync;
                track.head = seq;
                Verdict::Resync
            }
            Mode::Live => {
                track.sent = seq;
                Verdict::Push
            }
            Mode::Behind | Mode::Paging | Mode::Resync => {
                track.head = track.head.max(seq);
                Verdict::Skip
            }
        }
    }

    /// A message of this very device got its number; it is answered by `sent` and not shown again.
    pub fn handle_own(&mut self, conv: &ConversationId, seq: u64) {
        let track = self.track(conv, seq.saturating_sub(1));
        match track.mode {
            Mode::Live if seq > track.sent + 1 => self.fall_behind(conv, seq),
            Mode::Live => track.sent = track.sent.max(seq),
            Mode::Behind | Mode::Paging | Mode::Resync => track.head = track.head.max(seq),
        }
    }

    /// The shard could not be told of `first..=head`.
    pub fn handle_missed(&mut self, conv: &ConversationId, first: u64, head: u64) {
        if self.pass_by(conv, first, head) {
            return;
        }
        let track = self.track(conv, first.saturating_sub(1));
        if track.mode == Mode::Live && head > track.sent {
            self.fall_behind(conv, head);
        } else {
            track.head = track.head.max(head);
        }
    }

    /// The next page to read, if one is due and the queue (of `queued` bytes) has room for it.
    pub fn next_page(&mut self, queued: usize) -> Option<PageRequest> {
        if self.paging.is_some() || queued > DELIVERY_LOW_WATER_BYTES {
            return None;
        }
        loop {
            let conv = self.behind.pop_front()?;
            // A conversation that the user left meanwhile has no track.
            let Some(track) = self.tracks.get_mut(&conv).filter(|track| track.mode == Mode::Behind) else { continue };
            track.mode = Mode::Paging;
            self.paging = Some(conv.clone());
            return Some(PageRequest { conv, after: track.sent });
        }
    }

    /// The answer to [`Device::next_page`]: the page's last sequence (`None` if it is empty) and the head
    /// of the conversation when it was read.
    pub fn handle_page(&mut self, conv: &ConversationId, last: Option<u64>, head: u64) -> PageOutcome {
        if self.paging.as_ref() != Some(conv) {
            return PageOutcome::Ignore;
        }
        self.paging = None;
        let Some(track) = self.tracks.get_mut(conv) else { return PageOutcome::Ignore };
        track.head = track.head.max(head);
        track.sent = track.sent.max(last.unwrap_or(0));
        if track.sent >= track.head {
            track.mode = Mode::Live;
        } else {
            track.mode = Mode::Behind;
            // Finish one conversation before the next is begun.
            self.behind.push_front(conv.clone());
        }
        if last.is_none() && track.mode == Mode::Behind { PageOutcome::Stalled } else { PageOutcome::Push }
    }

    /// The client's own `sync` was answered up to `last`; `complete` when that was the conversation's head.
    pub fn handle_synced(&mut self, conv: &ConversationId, last: u64, complete: bool) {
        let Some(track) = self.tracks.get_mut(conv).filter(|track| track.mode == Mode::Resync && complete) else {
            return;
        };
        track.sent = track.sent.max(last);
        if track.head > track.sent {
            track.mode = Mode::Behind;
            self.behind.push_back(conv.clone());
        } else {
            track.mode = Mode::Live;
        }
    }

    /// The user is no longer in the conversation.
    pub fn handle_left(&mut self, conv: &ConversationId) {
        self.tracks.remove(conv);
        if self.paging.as_ref() == Some(conv) {
            self.paging = None;
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
        self.paging.is_some() || !self.behind.is_empty()
    }

    /// Notes what passes by a device that is held; false when it is not.
    fn pass_by(&mut self, conv: &ConversationId, first: u64, last: u64) -> bool {
        let Some(early) = &mut self.early else { return false };
        early.entry_ref(conv).or_insert((first, last)).1 = last;
        true
    }

    fn fall_behind(&mut self, conv: &ConversationId, head: u64) {
        if let Some(track) = self.tracks.get_mut(conv) {
            track.mode = Mode::Behind;
            track.head = track.head.max(head);
            self.behind.push_back(conv.clone());
        }
    }

    fn track(&mut self, conv: &ConversationId, sent: u64) -> &mut Track {
        if self.tracks.len() >= DEVICE_CONVERSATIONS_MAX && !self.tracks.contains_key(conv) {
            self.tracks.retain(|_, track| track.mode != Mode::Live);
        }
        self.tracks.entry_ref(conv).or_insert_with(|| Track { sent, head: sent, mode: Mode::Live })
    }
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
