//! One sender's messages to one conversation: what was sent, answered and delivered, and under which numbers.

use std::collections::BTreeSet;

use crate::check::Findings;
use crate::protocol::Route;
use crate::wire::template::Template;

/// One sender's messages.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The sender's connection.
    pub(crate) connection: usize,
    /// What it sends.
    pub(super) template: Template,
    /// The sender, as receivers see it.
    pub(super) from: String,
    /// The conversation, by its place in the list of them; none for signals, which belong to none and are not answered.
    pub(super) conversation: Option<usize>,
    /// How many are to receive it at once; those who are away or do not read do not count.
    pub(crate) receivers: u64,
    /// Serials sent.
    pub(crate) sent: u64,
    pub(super) answered: u64,
    /// Deliveries to those who count.
    pub(super) delivered: u64,
    pub(super) refused: BTreeSet<u64>,
    /// After a refusal: when the closed loop sends again.
    pub(crate) rests_until_ns: u64,
    /// Number of the last `sent`.
    pub(super) last_seq: u64,
    numbers: Numbers,
}

/// What numbers a stream's messages have in their conversation.
#[derive(Debug, Default)]
enum Numbers {
    /// None is known yet.
    #[default]
    Unknown,
    /// Nobody else writes there: number less serial, the same for all messages while none is refused.
    Offset(u64),
    /// By serial; 0: not known yet.
    Each(Vec<u64>),
}

impl Stream {
    /// Nothing sent yet.
    pub(super) fn new(connection: usize, route: Route, conversation: Option<usize>, receivers: u64) -> Self {
        let Route { template, from, .. } = route;
        Self {
            connection,
            template,
            from,
            conversation,
            receivers,
            sent: 0,
            answered: 0,
            delivered: 0,
            refused: BTreeSet::new(),
            rests_until_ns: 0,
            last_seq: 0,
            numbers: Numbers::Unknown,
        }
    }

    /// Messages that are not both answered (if that is due) and delivered to all who count.
    pub(crate) fn inflight(&self) -> u64 {
        let refused = self.refused.len() as u64;
        let delivered = self.delivered.checked_div(self.receivers).map(|delivered| delivered + refused);
        let answered = self.conversation.map(|_| self.answered);
        let done = match (delivered, answered) {
            (Some(delivered), Some(answered)) => delivered.min(answered),
            (delivered, answered) => delivered.or(answered).unwrap_or(self.sent),
        };
        self.sent.saturating_sub(done)
    }

    /// Checks that `sent` and every delivery give a serial the same number; `alone`: nobody else writes there.
    pub(super) fn check_number(&mut self, serial: u64, seq: u64, alone: bool, findings: &mut Findings) {
        if matches!(self.numbers, Numbers::Unknown) {
            self.numbers = if alone { Numbers::Offset(seq.wrapping_sub(serial)) } else { Numbers::Each(Vec::new()) };
        }
        let agrees = match &mut self.numbers {
            Numbers::Unknown => true,
            Numbers::Offset(offset) => !self.refused.is_empty() || *offset == seq.wrapping_sub(serial),
            // What was never sent is found elsewhere.
            Numbers::Each(_) if serial >= self.sent => true,
            Numbers::Each(numbers) => {
                let serial = serial as usize;
                if numbers.len() <= serial {
                    numbers.resize(serial + 1, 0);
                }
                numbers.get_mut(serial).is_none_or(|known| match *known {
                    0 => {
                        *known = seq;
                        true
                    }
                    known => known == seq,
                })
            }
        };
        findings.misnumbered += u64::from(!agrees);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::body::Bodies;
    use crate::wire::frames;
    use crate::wire::template::Id;

    /// Numbers in the order in which they become known, as (serial, number); how many do not agree.
    fn check(alone: bool, numbers: &[(u64, u64)], misnumbered: u64) {
        let bodies = Bodies::new(1, 60);
        let template = Template::new(frames::TEXT, bodies.blank(0).as_bytes(), &bodies.mark(0), Id::None).unwrap();
        let route = Route { template, from: String::new(), conv: String::new() };
        let mut stream = Stream { sent: 4, ..Stream::new(0, route, Some(0), 1) };
        let mut findings = Findings::default();
        for (serial, seq) in numbers {
            stream.check_number(*serial, *seq, alone, &mut findings);
        }
        assert_eq!(findings.misnumbered, misnumbered, "{numbers:?}");
    }

    #[test]
    fn a_serial_has_one_number_wherever_it_is_told() {
        check(true, &[(0, 7), (0, 7), (1, 8), (3, 10)], 0);
        check(true, &[(0, 7), (1, 9), (2, 10)], 2);
        check(false, &[(0, 7), (1, 9), (0, 7), (3, 30), (1, 9)], 0);
        check(false, &[(0, 7), (1, 9), (0, 9), (u64::MAX, 1)], 1);
    }
}
