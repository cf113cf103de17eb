//! What one receiver sees of one stream: everything once, in order, numbered without holes.
//!
//! Pure. [`Checker::note`] takes each message in the order of arrival; [`Checker::finish`] says at the end what
//! never came. Memory is bounded by what is missing.

use std::collections::BTreeSet;

/// What can be wrong with what came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Findings {
    /// Sent, not refused, and never delivered to a receiver.
    pub(crate) lost: u64,
    /// Durable messages that were neither acknowledged nor refused.
    pub(crate) unanswered: u64,
    /// Delivered once more.
    pub(crate) doubled: u64,
    /// Delivered after a later one.
    pub(crate) out_of_order: u64,
    /// Sequence numbers of a conversation that were passed over or came again.
    pub(crate) holes: u64,
    /// `sent` gave another number than the receiver saw.
    pub(crate) misnumbered: u64,
    /// Body, client message id, sender or conversation is not what was sent.
    pub(crate) corrupt: u64,
    /// Delivered to somebody it was not for.
    pub(crate) leaked: u64,
    /// Delivered but never sent.
    pub(crate) invented: u64,
    /// Connections that ended.
    pub(crate) disconnected: u64,
    /// Conversations of which the server told a receiver that it dropped messages.
    pub(crate) resyncs: u64,
}

impl Findings {
    /// Whether nothing is wrong.
    pub(crate) fn is_clean(&self) -> bool {
        *self == Self::default()
    }
}

/// One receiver's view of a stream.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    /// The serial that should come next.
    next: u64,
    /// Below `next`, but not here.
    missing: BTreeSet<u64>,
}

/// The numbers of one conversation as one connection sees them.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    /// Number of the message before; 0: none yet.
    last: u64,
}

impl Numbering {
    /// The number of any message of the conversation, whoever wrote it.
    pub(crate) fn note(&mut self, seq: u64, findings: &mut Findings) {
        if self.last != 0 && seq != self.last + 1 {
            findings.holes += 1;
        }
        self.last = self.last.max(seq);
    }

    /// The highest number that was seen, 0 before the first.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }
}

impl Checker {
    /// A message of the stream; `sent` is how many serials have been sent. Answers whether it is new.
    pub(crate) fn note(&mut self, serial: u64, sent: u64, findings: &mut Findings) -> bool {
        if serial >= sent {
            findings.invented += 1;
            return false;
        }
        if serial >= self.next {
            self.missing.extend(self.next..serial);
            self.next = serial + 1;
            return true;
        }
        if self.missing.remove(&serial) {
            findings.out_of_order += 1;
            return true;
        }
        findings.doubled += 1;
        false
    }

    /// Messages of `sent` that have not come, `refused` aside.
    pub(crate) fn lacks(&self, sent: u64, refused: &BTreeSet<u64>) -> u64 {
        let late = (self.next..sent).filter(|serial| !refused.contains(serial));
        self.missing.difference(refused).count() as u64 + late.count() as u64
    }

    /// Adds what did not come, `refused` aside: what was refused need not come.
    pub(crate) fn finish(&self, sent: u64, refused: &BTreeSet<u64>, findings: &mut Findings) {
        findings.lost += self.lacks(sent, refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Receives `serials` of 5 sent, 4 being refused, and compares what is found.
    fn check(serials: &[u64], expected: Findings) {
        let mut checker = Checker::default();
        let mut findings = Findings::default();
        for serial in serials {
            checker.note(*serial, 5, &mut findings);
        }
        checker.finish(5, &BTreeSet::from([4]), &mut findings);
        assert_eq!(findings, expected, "{serials:?}");
    }

    #[test]
    fn a_lost_doubled_swapped_or_invented_message_is_found() {
        check(&[0, 1, 2, 3], Findings::default());
        check(&[0, 1, 2, 3, 4], Findings::default());
        check(&[0, 1, 3], Findings { lost: 1, ..Findings::default() });
        check(&[0, 1, 2], Findings { lost: 1, ..Findings::default() });
        check(&[], Findings { lost: 4, ..Findings::default() });
        check(&[0, 1, 1, 2, 3], Findings { doubled: 1, ..Findings::default() });
        check(&[0, 2, 1, 3], Findings { out_of_order: 1, ..Findings::default() });
        check(&[0, 1, 2, 3, 5], Findings { invented: 1, ..Findings::default() });
    }

    #[test]
    fn numbers_have_to_rise_by_one_from_the_first_that_is_seen() {
        for (numbers, holes) in [(vec![7, 8, 9], 0), (vec![7, 9, 10], 1), (vec![7, 7], 1), (vec![7, 6, 8], 1)] {
            let mut numbering = Numbering::default();
            let mut findings = Findings::default();
            numbers.iter().for_each(|seq| numbering.note(*seq, &mut findings));
            assert_eq!(findings.holes, holes, "{numbers:?}");
        }
    }
}
