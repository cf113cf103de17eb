//! Faults on purpose: what measures is shown to see a server that is a little slower, drops a little, or stalls once.
//!
//! Each is exact and says so: slower by a share of the processor time that the thread itself spent, every so-manieth
//! delivery left out, one stall at a numbered delivery. Lives on the relay's one thread. Call [`Faults::drops`] for each
//! delivery and [`Faults::turn_over`] once a turn, before its writes; without faults both are a comparison.

use std::io::{Error, Result};
use std::thread;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Turns whose time is settled at once: reading the clock must not itself be a part of what is read.
const TURNS: u32 = 32;

/// What is done wrong; nothing by default.
#[derive(Debug, Default)]
pub struct Faults {
    /// Processor time that is burnt, in percent of what was spent.
    slower_percent: u32,
    /// Every delivery whose number this divides is left out; 0: none.
    drop_every: u64,
    /// How long, and at which delivery, nothing is done.
    stall: Option<(Duration, u64)>,
    deliveries: u64,
    /// Turns since time was settled.
    turns: u32,
    /// Processor time up to which it is, in nanoseconds.
    settled_ns: i64,
    /// Still to be burnt; below zero when the last time took longer.
    owed_ns: i64,
}

impl Faults {
    /// From arguments `slower=PERCENT`, `drop=EVERY` and `stall=MILLISECONDS@DELIVERY`.
    ///
    /// # Errors
    /// One is none of these.
    pub fn of(arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut faults = Self::default();
        for argument in arguments {
            faults.add(&argument).ok_or_else(|| Error::other(format!("{argument}: no such fault")))?;
        }
        Ok(faults)
    }

    fn add(&mut self, argument: &str) -> Option<()> {
        match argument.split_once('=')? {
            ("slower", percent) => self.slower_percent = percent.parse().ok()?,
            ("drop", every) => self.drop_every = every.parse().ok()?,
            ("stall", stall) => {
                let (ms, at) = stall.split_once('@')?;
                self.stall = Some((Duration::from_millis(ms.parse().ok()?), at.parse().ok()?));
            }
            _ => return None,
        }
        Some(())
    }

    /// There is one delivery more; whether it is to be left out.
    pub fn drops(&mut self) -> bool {
        self.deliveries += 1;
        self.drop_every != 0 && self.deliveries.is_multiple_of(self.drop_every)
    }

    /// A turn of the loop is over: the time for being slow.
    pub fn turn_over(&mut self) {
        if let Some((long, _)) = self.stall.take_if(|(_, at)| self.deliveries >= *at) {
            thread::sleep(long);
        }
        if self.slower_percent != 0 {
            self.turns += 1;
            if self.turns == TURNS {
                self.turns = 0;
                self.burn();
            }
        }
    }

    /// Burns the share of what this thread spent since the last time, user and kernel.
    fn burn(&mut self) {
        let now = spent_ns();
        self.owed_ns += (now - self.settled_ns) * i64::from(self.slower_percent) / 100;
        let until = now + self.owed_ns;
        let mut after = now;
        while after < until {
            after = spent_ns();
        }
        self.owed_ns -= after - now;
        self.settled_ns = after;
    }
}

/// Processor time of this thread.
fn spent_ns() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(arguments: &[&str]) -> Result<Faults> {
        Faults::of(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn every_third_is_left_out_and_nothing_without_a_fault() {
        let mut faulty = faults(&["drop=3"]).unwrap();
        let dropped: Vec<bool> = (0..7).map(|_| faulty.drops()).collect();
        assert_eq!(dropped, [false, false, true, false, false, true, false]);
        assert!((0..9).all(|_| !Faults::default().drops()));
    }

    #[test]
    fn what_is_burnt_is_the_share_of_what_was_spent() {
        let mut slow = faults(&["slower=50"]).unwrap();
        slow.settled_ns = spent_ns();
        let (began, mut worked) = (spent_ns(), 0);
        for _ in 0..50 * TURNS {
            let from = spent_ns();
            while spent_ns() < from + 20_000 {}
            worked += spent_ns() - from;
            slow.turn_over();
        }
        let burnt = spent_ns() - began - worked;
        assert!(burnt >= worked / 2, "{burnt} of {worked}");
    }

    #[test]
    fn a_stall_comes_once_when_its_delivery_has_come() {
        let mut stalling = faults(&["stall=1@2"]).unwrap();
        stalling.drops();
        stalling.turn_over();
        assert!(stalling.stall.is_some());
        stalling.drops();
        stalling.turn_over();
        assert!(stalling.stall.is_none());
    }

    #[test]
    fn what_is_no_fault_is_told() {
        for wrong in ["slower", "slower=x", "stall=200", "lazy=1"] {
            assert!(faults(&[wrong]).unwrap_err().to_string().starts_with(wrong));
        }
    }
}
