//! A conversation in Redis beside the same one in the archive. Pure.
//!
//! **What must hold.** Of the numbers up to the head, each is archived, or held by an unarchived message, or a hole that
//! is to be given out; and none is two of these for longer than it takes whoever archived it to tell Redis.
//!
//! **What two looks can say, though both sides move.** Redis is looked at (`before`), then the archive, then after a
//! while Redis again (`now`), all under one epoch. In an epoch a head rises, a hole goes when it is given out, a message
//! goes when it is archived, and what is archived stays. So
//! - what was neither held nor a hole `before` was archived before that: the archive has it, or it is *missing*;
//! - what the archive has was given out before that: a head below it, or a hole of it, is wrong at once `now`;
//! - a message that the archive had and that is still held `now` was forgotten by whoever archived it.

use ringway_store::ports::Start;

/// What Redis holds of a conversation at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) head: u64,
    /// What was dense when the epoch began here. It stays as the archive fills up.
    pub(crate) dense: u64,
    /// Unarchived messages.
    pub(crate) waiting: u64,
    /// The lowest of them, or 0.
    pub(crate) lowest: u64,
    /// Ranges of numbers that nobody has, rising; both ends included.
    pub(crate) holes: Vec<(u64, u64)>,
    /// Whether these are all.
    pub(crate) whole: bool,
}

/// Something that does not fit together. `redis` and `archive` are what each of them says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finding {
    /// The head is below the archive's.
    Head { redis: u64, archive: u64 },
    /// This number is a hole in Redis, and archived.
    Hole { number: u64 },
    /// More was dense when the epoch began than is now.
    Dense { redis: u64, archive: u64 },
    /// The archive lacks so many of the numbers given out; Redis has only so many of them.
    Missing { redis: u64, archive: u64 },
    /// Messages are held that the archive has, by their numbers.
    Copies,
}

/// Whether the archive has a number.
pub(crate) fn is_archived(archive: &Start, seq: u64) -> bool {
    seq > 0 && seq <= archive.head && archive.holes.binary_search(&seq).is_err()
}

/// How many numbers up to this head the archive does not have.
fn not_archived(archive: &Start, head: u64) -> u64 {
    let holes = archive.holes.partition_point(|hole| *hole <= head);
    head.saturating_sub(archive.head) + holes as u64
}

/// The first archived number of a range.
fn first_archived(archive: &Start, (first, last): (u64, u64)) -> Option<u64> {
    let last = last.min(archive.head);
    if first == 0 || first > last {
        return None;
    }
    let below = archive.holes.partition_point(|hole| *hole < first);
    let holes = archive.holes.get(below..).unwrap_or_default().iter().take_while(|hole| **hole <= last);
    // The first place where the holes do not go on as the numbers do.
    let run = holes.zip(first..).take_while(|(hole, number)| *hole == number).count() as u64;
    Some(first + run).filter(|number| *number <= last)
}

impl Standing {
    /// Numbers that are not archived, as far as Redis says.
    fn held(&self) -> u64 {
        let holes = self.holes.iter().map(|(first, last)| last.saturating_sub(*first) + 1);
        self.waiting.saturating_add(holes.sum())
    }

    /// What does not fit: see the module's doc. With itself as `now` it answers what is suspect.
    pub(crate) fn findings(&self, archive: &Start, now: &Self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if now.head < archive.head {
            findings.push(Finding::Head { redis: now.head, archive: archive.head });
        }
        if let Some(number) = now.holes.iter().find_map(|range| first_archived(archive, *range)) {
            findings.push(Finding::Hole { number });
        }
        let missing = not_archived(archive, self.head);
        if self.whole && missing > self.held() {
            findings.push(Finding::Missing { redis: self.held(), archive: missing });
        }
        if self.dense > archive.dense && now.dense == self.dense {
            findings.push(Finding::Dense { redis: self.dense, archive: archive.dense });
        }
        let more_than_missing = now.whole && now.held() > not_archived(archive, now.head);
        if now.waiting > 0 && (is_archived(archive, now.lowest) || more_than_missing) {
            findings.push(Finding::Copies);
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn archive(dense: u64, head: u64, holes: &[u64]) -> Start {
        Start { dense, head, holes: holes.to_vec() }
    }

    fn standing(head: u64, dense: u64, waiting: &[u64], holes: &[(u64, u64)]) -> Standing {
        let lowest = waiting.iter().copied().min().unwrap_or(0);
        Standing { head, dense, waiting: waiting.len() as u64, lowest, holes: holes.to_vec(), whole: true }
    }

    fn check(redis: &Standing, archive: &Start, expected: &[Finding]) {
        assert_eq!(redis.findings(archive, redis), expected, "{redis:?} {archive:?}");
    }

    #[test]
    fn what_fits_together_is_not_found() {
        check(&standing(0, 0, &[], &[]), &archive(0, 0, &[]), &[]);
        check(&standing(9, 4, &[6, 8, 9], &[]), &archive(5, 7, &[6]), &[]);
        check(&standing(9, 2, &[9], &[(3, 4), (7, 7)]), &archive(2, 8, &[3, 4, 7]), &[]);
    }

    #[test]
    fn each_thing_that_does_not_fit_is_found_with_both_values() {
        let whole = archive(7, 7, &[]);
        check(&standing(5, 0, &[], &[]), &whole, &[Finding::Head { redis: 5, archive: 7 }]);
        check(&standing(7, 0, &[], &[(3, 3)]), &whole, &[Finding::Hole { number: 3 }]);
        check(&standing(9, 8, &[8, 9], &[]), &whole, &[Finding::Dense { redis: 8, archive: 7 }]);
        check(&standing(9, 0, &[9], &[]), &whole, &[Finding::Missing { redis: 1, archive: 2 }]);
        check(&standing(9, 0, &[7, 8, 9], &[]), &whole, &[Finding::Copies]);
        let holed = archive(2, 8, &[3, 4, 7]);
        check(&standing(8, 2, &[], &[(3, 5), (7, 7)]), &holed, &[Finding::Hole { number: 5 }]);
        // A copy above a message that is not archived.
        check(&standing(8, 2, &[3, 8], &[(4, 4), (7, 7)]), &holed, &[Finding::Copies]);
    }

    #[test]
    fn what_moves_between_two_looks_is_not_found() {
        // 8 was archived between the look at Redis and that at the archive, and is let go after; 10 came later.
        let (before, now) = (standing(9, 0, &[8, 9], &[]), standing(10, 0, &[9, 10], &[]));
        assert_eq!(before.findings(&archive(8, 8, &[]), &before), [Finding::Copies], "suspect");
        assert_eq!(before.findings(&archive(8, 8, &[]), &now), []);
        // A hole is given out and archived.
        let (before, now) = (standing(9, 2, &[], &[(3, 4)]), standing(9, 2, &[], &[(4, 4)]));
        assert_eq!(before.findings(&archive(3, 9, &[4]), &now), []);
    }

    #[derive(Debug, Clone)]
    enum Step {
        /// Gives a number out: a hole's first.
        Give,
        /// Archives the n-th message that waits for it.
        Archive(usize),
        /// Tells Redis of what was archived.
        Tell,
    }

    /// A conversation as the scripts and the archive move it.
    #[derive(Debug, Clone, Default)]
    struct Model {
        head: u64,
        dense: u64,
        holes: BTreeSet<u64>,
        waiting: BTreeSet<u64>,
        archived: BTreeSet<u64>,
    }

    impl Model {
        fn step(&mut self, step: &Step) {
            match step {
                Step::Give => {
                    let number = self.holes.pop_first().unwrap_or(self.head + 1);
                    self.head = self.head.max(number);
                    self.waiting.insert(number);
                }
                Step::Archive(nth) => {
                    let waiting: Vec<u64> = self.waiting.difference(&self.archived).copied().collect();
                    self.archived.extend(waiting.get(nth % waiting.len().max(1)));
                }
                Step::Tell => self.waiting.retain(|number| !self.archived.contains(number)),
            }
        }

        fn standing(&self) -> Standing {
            let holes = self.holes.iter().map(|hole| (*hole, *hole)).collect();
            let lowest = self.waiting.first().copied().unwrap_or(0);
            let waiting = self.waiting.len() as u64;
            Standing { head: self.head, dense: self.dense, waiting, lowest, holes, whole: true }
        }

        fn start(&self) -> Start {
            let head = self.archived.last().copied().unwrap_or(0);
            let holes: Vec<u64> = (1..=head).filter(|number| !self.archived.contains(number)).collect();
            Start { dense: holes.first().map_or(head, |hole| hole - 1), head, holes }
        }
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![Just(Step::Give), (0..9_usize).prop_map(Step::Archive), Just(Step::Tell)];
        proptest::collection::vec(step, 0..30)
    }

    proptest! {
        #[test]
        fn a_healthy_conversation_is_never_found_at_fault(
            start in proptest::collection::btree_set(1..12_u64, 0..8),
            first in steps(), second in steps(), third in steps(),
        ) {
            let mut model = Model { archived: start, ..Model::default() };
            let begun = model.start();
            (model.head, model.dense, model.holes) = (begun.head, begun.dense, begun.holes.into_iter().collect());
            first.iter().for_each(|step| model.step(step));
            let before = model.standing();
            second.iter().for_each(|step| model.step(step));
            let archive = model.start();
            third.iter().for_each(|step| model.step(step));
            // Whoever archived has told by the second look.
            model.step(&Step::Tell);
            prop_assert_eq!(before.findings(&archive, &model.standing()), vec![]);
        }

        #[test]
        fn a_number_set_back_or_lost_is_always_found(
            start in proptest::collection::btree_set(1..12_u64, 1..8),
            steps in steps(), what in 0..4_u8, nth in 0..9_usize,
        ) {
            let mut model = Model { archived: start, ..Model::default() };
            let begun = model.start();
            (model.head, model.dense, model.holes) = (begun.head, begun.dense, begun.holes.into_iter().collect());
            steps.iter().for_each(|step| model.step(step));
            model.step(&Step::Tell);
            let archived: Vec<u64> = model.archived.iter().copied().collect();
            let one = archived[nth % archived.len()];
            match what {
                0 => model.head = model.start().head - 1,
                1 => drop(model.holes.insert(one)),
                2 => drop(model.waiting.insert(one)),
                _ => match model.waiting.pop_first().or_else(|| model.holes.pop_first()) {
                    Some(_) => {}
                    None => return Ok(()),
                },
            }
            let damaged = model.standing();
            prop_assert!(!damaged.findings(&model.start(), &damaged).is_empty());
        }
    }
}
