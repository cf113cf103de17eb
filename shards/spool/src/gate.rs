//! Which way appends take. Plain state behind a mutex, never held across an await; no I/O.
//!
//! ```text
//!                an append has no answer
//!     Direct ──────────────────────────────► Spooling ◄──────────────┐
//!       ▲                                        │ the remote log     │ it does not answer in time,
//!       │                                        │ answers, and       │ or an append that was under way
//!       │                                        ▼ little is left     │ had no answer
//!       └──────── nothing is left ────────── Handover ───────────────┘
//! ```
//!
//! In `Direct` nothing is held. In `Handover` new appends wait, for `spool_after_ms` at most, so that the spool
//! runs empty under any load.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::limits::{FORWARD_BYTES_MAX, FORWARD_RECORDS_MAX};

/// Which way appends take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To the remote log.
    Direct,
    /// To the journal.
    Spooling,
    /// They wait until the journal has run empty.
    Handover,
}

/// Records and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

impl Weight {
    pub(crate) fn add(&mut self, more: Self) {
        self.records += more.records;
        self.bytes += more.bytes;
    }
}

/// What is in the journal, or about to be, and not in the remote log.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub(crate) weight: Weight,
    /// When the first of it was taken, Unix milliseconds.
    pub(crate) oldest_ms: Option<u64>,
}

/// What an append is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    /// Room is reserved.
    Journal,
    Wait,
}

/// Why nothing more is held.
#[derive(Debug)]
pub(crate) struct TooOld {
    pub(crate) age_ms: u64,
}

#[derive(Debug)]
pub(crate) struct Gate {
    /// Changed with `held` locked only.
    mode: watch::Sender<Mode>,
    held: Mutex<Held>,
    age_max_ms: u64,
    /// What was reserved was given back.
    pub(crate) given_back: Notify,
}

impl Gate {
    /// Holding what a journal was found with.
    pub(crate) fn new(held: Held, age_max_ms: u64) -> Self {
        let mode = if held.weight.records == 0 { Mode::Direct } else { Mode::Spooling };
        Self { mode: watch::Sender::new(mode), held: Mutex::new(held), age_max_ms, given_back: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Mode> {
        self.mode.subscribe()
    }

    pub(crate) fn held(&self) -> Held {
        *self.lock()
    }

    /// Where an append goes now.
    pub(crate) fn way(&self, weight: Weight, now_ms: u64) -> Result<Way, TooOld> {
        let mut held = self.lock();
        match self.mode() {
            Mode::Direct => Ok(Way::Direct),
            Mode::Handover => Ok(Way::Wait),
            Mode::Spooling => self.reserve(&mut held, weight, now_ms).map(|()| Way::Journal),
        }
    }

    /// An append had no answer: it and all later ones go to the journal. Whether that is news.
    pub(crate) fn fall_back(&self, weight: Weight, now_ms: u64) -> (bool, Result<(), TooOld>) {
        let mut held = self.lock();
        let was = self.mode.send_replace(Mode::Spooling);
        (was == Mode::Direct, self.reserve(&mut held, weight, now_ms))
    }

    fn reserve(&self, held: &mut Held, weight: Weight, now_ms: u64) -> Result<(), TooOld> {
        let oldest_ms = *held.oldest_ms.get_or_insert(now_ms);
        let age_ms = now_ms.saturating_sub(oldest_ms);
        if age_ms > self.age_max_ms {
            return Err(TooOld { age_ms });
        }
        held.weight.add(weight);
        Ok(())
    }

    /// The journal did not take what was reserved.
    pub(crate) fn give_back(&self, weight: Weight) {
        self.take_off(weight);
        self.given_back.notify_one();
    }

    /// The remote log has this much more of it.
    pub(crate) fn forwarded(&self, weight: Weight) {
        self.take_off(weight);
    }

    fn take_off(&self, weight: Weight) {
        let mut held = self.lock();
        held.weight.records = held.weight.records.saturating_sub(weight.records);
        held.weight.bytes = held.weight.bytes.saturating_sub(weight.bytes);
        if held.weight.records == 0 {
            held.oldest_ms = None;
        }
    }

    /// The forwarder has come to a record of this age.
    pub(crate) fn comes_to(&self, taken_ms: u64) {
        let mut held = self.lock();
        if held.weight.records > 0 {
            held.oldest_ms = Some(taken_ms);
        }
    }

    /// The remote log answers in time: appends wait if little is left.
    pub(crate) fn try_handover(&self) {
        let held = self.lock();
        let Weight { records, bytes } = held.weight;
        let little = records <= FORWARD_RECORDS_MAX as u64 && bytes <= FORWARD_BYTES_MAX as u64;
        if little && self.mode() == Mode::Spooling {
            self.mode.send_replace(Mode::Handover);
        }
    }

    /// It did not answer in time after all.
    pub(crate) fn end_handover(&self) {
        let _held = self.lock();
        if self.mode() == Mode::Handover {
            self.mode.send_replace(Mode::Spooling);
        }
    }

    /// Back to direct if nothing is held.
    pub(crate) fn open_if_empty(&self) -> bool {
        let held = self.lock();
        let empty = held.weight.records == 0;
        if empty {
            self.mode.send_replace(Mode::Direct);
        }
        empty
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Weight = Weight { records: 1, bytes: 10 };

    #[test]
    fn appends_are_held_back_until_the_spool_is_empty_and_then_go_direct() {
        let gate = Gate::new(Held::default(), 1_000);
        assert_eq!(gate.way(ONE, 5).unwrap(), Way::Direct);
        let (news, room) = gate.fall_back(ONE, 5);
        assert!(news && room.is_ok());
        assert!(!gate.fall_back(ONE, 6).0);
        assert_eq!(gate.way(ONE, 7).unwrap(), Way::Journal);
        gate.forwarded(ONE);
        gate.try_handover();
        assert_eq!(gate.way(ONE, 8).unwrap(), Way::Wait);
        assert!(!gate.open_if_empty());
        // An append that was under way had no answer: not yet.
        gate.fall_back(ONE, 9).1.unwrap();
        assert_eq!(gate.way(ONE, 10).unwrap(), Way::Journal);
        gate.try_handover();
        gate.end_handover();
        assert_eq!(gate.mode(), Mode::Spooling);
        gate.forwarded(Weight { records: 4, bytes: 40 });
        assert!(gate.open_if_empty());
        assert_eq!(gate.way(ONE, 11).unwrap(), Way::Direct);
        assert_eq!(gate.held().oldest_ms, None);
    }

    #[test]
    fn much_that_is_left_does_not_hold_appends_back() {
        let gate = Gate::new(Held::default(), 1_000);
        gate.fall_back(Weight { records: FORWARD_RECORDS_MAX as u64 + 1, bytes: 0 }, 1).1.unwrap();
        gate.try_handover();
        assert_eq!(gate.mode(), Mode::Spooling);
    }

    #[test]
    fn what_waits_too_long_lets_nothing_more_in() {
        let gate = Gate::new(Held { weight: ONE, oldest_ms: Some(100) }, 1_000);
        assert_eq!(gate.way(ONE, 1_100).unwrap(), Way::Journal);
        assert_eq!(gate.way(ONE, 1_101).unwrap_err().age_ms, 1_001);
        gate.comes_to(900);
        assert_eq!(gate.way(ONE, 1_101).unwrap(), Way::Journal);
        // A clock that was set back makes nothing old.
        assert_eq!(gate.way(ONE, 1).unwrap(), Way::Journal);
    }
}
