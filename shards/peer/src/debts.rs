//! Which nodes are owed a resync. Pure: told what happened, asked what is due.
//!
//! ```text
//!                      ┌───────────────────────────────┐
//!   first seen ──► owed ──asked──► asked ──done──► even ┘ a signal failed: owed again
//!                   ▲                │
//!                   ├──── failed ────┤
//!                   └─ owed anew while it was asked: what was read before does not count
//! ```
//!
//! Debts are numbered: an answer pays those that were there when it was asked for, so that a change told meanwhile
//! is not taken for applied. A run that is gone takes its debts along; should it come back, it begins as owed.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use ringway_store::ports::NodeRun;

/// A node that refused a resync, or did not answer, is asked again after this long.
const REST: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Debts(HashMap<NodeRun, Debt>);

#[derive(Debug)]
struct Debt {
    /// Number of the last debt.
    owed: u64,
    /// Up to which they are paid.
    paid: u64,
    /// Whether an answer is waited for.
    asked: bool,
    /// Set by a failure, until something is paid: not to be waited for, nor asked before.
    failed: Option<Instant>,
}

impl Debts {
    /// Takes over which runs there are.
    pub(crate) fn see(&mut self, runs: &[NodeRun]) {
        let there: HashSet<&NodeRun> = runs.iter().collect();
        self.0.retain(|run, _| there.contains(run));
        for run in runs {
            if !self.0.contains_key(run) {
                self.0.insert(run.clone(), Debt { owed: 1, paid: 0, asked: false, failed: None });
            }
        }
    }

    /// Whether anything is unpaid; a run that is not there is owed nothing.
    pub(crate) fn owes(&self, run: &NodeRun) -> bool {
        self.0.get(run).is_some_and(|debt| debt.owed > debt.paid)
    }

    /// Adds a debt and answers its number, with whether it is likely to be paid soon; `None` if the run is gone.
    pub(crate) fn owe(&mut self, run: &NodeRun) -> Option<(u64, bool)> {
        let debt = self.0.get_mut(run)?;
        debt.owed += 1;
        Some((debt.owed, debt.failed.is_none()))
    }

    /// The run has not done what it was told.
    pub(crate) fn fail(&mut self, run: &NodeRun, now: Instant) {
        if let Some(debt) = self.0.get_mut(run) {
            debt.owed += 1;
            debt.failed = Some(now);
        }
    }

    /// Whether a debt is paid, or its run gone.
    pub(crate) fn is_paid(&self, run: &NodeRun, number: u64) -> bool {
        self.0.get(run).is_none_or(|debt| debt.paid >= number)
    }

    /// Whom to ask, with the number that an answer pays. Each is asked once at a time.
    pub(crate) fn due(&mut self, now: Instant, linked: impl Fn(&NodeRun) -> bool) -> Vec<(NodeRun, u64)> {
        let mut due = Vec::new();
        for (run, debt) in &mut self.0 {
            let rested = debt.failed.is_none_or(|failed| now.saturating_duration_since(failed) >= REST);
            if debt.owed > debt.paid && !debt.asked && rested && linked(run) {
                debt.asked = true;
                due.push((run.clone(), debt.owed));
            }
        }
        due
    }

    /// What was asked for has been answered, or has failed.
    pub(crate) fn answered(&mut self, run: &NodeRun, number: u64, done: bool, now: Instant) {
        let Some(debt) = self.0.get_mut(run) else { return };
        debt.asked = false;
        if done {
            debt.paid = debt.paid.max(number);
            debt.failed = None;
        } else {
            debt.failed = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(boot: u64) -> NodeRun {
        NodeRun { node: "gateway-1".into(), boot }
    }

    #[test]
    fn a_run_begins_as_owed_and_is_so_again_when_it_comes_back() {
        let (mut debts, now) = (Debts::default(), Instant::now());
        debts.see(&[run(1)]);
        assert!(debts.owes(&run(1)));
        assert_eq!(debts.due(now, |_| false), []);
        assert_eq!(debts.due(now, |_| true), [(run(1), 1)]);
        debts.answered(&run(1), 1, true, now);
        assert!(!debts.owes(&run(1)));
        debts.see(&[run(2)]);
        assert_eq!((debts.owe(&run(1)), debts.is_paid(&run(1), 9)), (None, true));
        debts.see(&[run(1)]);
        assert!(debts.owes(&run(1)));
    }

    #[test]
    fn what_is_owed_while_an_answer_is_waited_for_is_asked_anew() {
        let (mut debts, now) = (Debts::default(), Instant::now());
        debts.see(&[run(1)]);
        assert_eq!(debts.due(now, |_| true), [(run(1), 1)]);
        assert_eq!(debts.owe(&run(1)), Some((2, true)));
        assert_eq!(debts.due(now, |_| true), []);
        debts.answered(&run(1), 1, true, now);
        assert!(debts.is_paid(&run(1), 1) && !debts.is_paid(&run(1), 2));
        assert_eq!(debts.due(now, |_| true), [(run(1), 2)]);
    }

    #[test]
    fn a_run_that_failed_is_not_waited_for_and_rests() {
        let (mut debts, now) = (Debts::default(), Instant::now());
        debts.see(&[run(1)]);
        debts.due(now, |_| true);
        debts.answered(&run(1), 1, false, now);
        assert_eq!(debts.owe(&run(1)), Some((2, false)));
        assert_eq!(debts.due(now, |_| true), []);
        assert_eq!(debts.due(now + REST, |_| true), [(run(1), 2)]);
        debts.answered(&run(1), 2, true, now);
        debts.fail(&run(1), now);
        assert_eq!(debts.owe(&run(1)), Some((4, false)));
    }

    proptest! {
        /// Each step: a failed signal, a question, or an answer; the last change must end up applied.
        #[test]
        fn no_change_is_lost(steps in prop::collection::vec(0..4_u8, 0..60)) {
            let (mut debts, mut now) = (Debts::default(), Instant::now());
            debts.see(&[run(1)]);
            // How many changes there were, how many the node had read, and the question under way with what it read.
            let (mut changes, mut read, mut asked) = (0_u32, None, None);
            for step in steps.into_iter().chain([3, 2, 3, 2]) {
                now += REST;
                match step {
                    0 => {
                        changes += 1;
                        debts.fail(&run(1), now);
                    }
                    1 => if let Some((number, _)) = asked.take() {
                        debts.answered(&run(1), number, false, now);
                    },
                    2 => if let Some((number, saw)) = asked.take() {
                        read = Some(saw);
                        debts.answered(&run(1), number, true, now);
                    },
                    _ => if let Some((_, number)) = debts.due(now, |_| true).pop() {
                        asked = Some((number, changes));
                    },
                }
            }
            prop_assert!(!debts.owes(&run(1)));
            prop_assert_eq!(read, Some(changes));
        }
    }
}
