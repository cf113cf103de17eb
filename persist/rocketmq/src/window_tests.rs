//! Any sequence of operations on a window, against what it promises.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

impl<T> Window<T> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_none()
    }
}

#[derive(Debug, Clone)]
enum Operation {
    /// A call with records of these lengths.
    Offer(Vec<usize>),
    Next,
    Acknowledge,
    Fail,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        4 => prop::collection::vec(0_usize..120, 1..12).prop_map(Operation::Offer),
        4 => Just(Operation::Next),
        4 => Just(Operation::Acknowledge),
        1 => Just(Operation::Fail),
    ];
    prop::collection::vec(operation, 0..120)
}

/// What the outside knows: which records were sent in which order, and what became of each call.
#[derive(Default)]
struct Outside {
    calls: u64,
    /// Records of calls that are neither answered nor acknowledged, in the order offered: call and number.
    open: VecDeque<(u64, usize)>,
    /// How many records of an open call are not acknowledged.
    missing: BTreeMap<u64, usize>,
    in_flight: Vec<(u64, usize)>,
    answered: BTreeSet<u64>,
}

/// A record tells its call and its number in it.
fn record(call: u64, number: usize, length: usize) -> Bytes {
    let mut bytes = format!("{call}/{number}/").into_bytes();
    bytes.resize(bytes.len().max(length), b'.');
    Bytes::from(bytes)
}

fn read(record: &Bytes) -> (u64, usize) {
    let text = String::from_utf8_lossy(record).into_owned();
    let mut parts = text.split('/');
    (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap())
}

impl Outside {
    fn offer(&mut self, window: &mut Window<u64>, lengths: &[usize]) {
        let call = self.calls;
        let records: VecDeque<Bytes> =
            lengths.iter().enumerate().map(|(number, length)| record(call, number, *length)).collect();
        let bytes = records.iter().map(size).sum();
        if !window.has_room(bytes) {
            assert!(window.waiting_bytes + bytes > window.bounds.waiting_bytes_max, "refused without need");
            return;
        }
        self.calls += 1;
        self.missing.insert(call, lengths.len());
        self.open.extend((0..lengths.len()).map(|number| (call, number)));
        window.offer(call, records);
    }

    fn next(&mut self, window: &mut Window<u64>) {
        let Some(batch) = window.next_batch() else {
            assert!(!self.in_flight.is_empty() || self.open.is_empty(), "something waits and nothing is sent");
            return;
        };
        assert!(self.in_flight.is_empty(), "two batches are in flight");
        assert!(!batch.is_empty() && batch.len() <= window.bounds.batch_records_max);
        let bytes: usize = batch.iter().map(size).sum();
        assert!(bytes <= window.bounds.batch_bytes_max || batch.len() == 1);
        for record in &batch {
            let sent = read(record);
            assert_eq!(Some(sent), self.open.pop_front(), "out of order");
            self.in_flight.push(sent);
        }
    }

    fn answer(&mut self, calls: Vec<u64>) {
        for call in calls {
            assert!(self.answered.insert(call), "answered twice");
            self.missing.remove(&call);
        }
    }

    fn acknowledge(&mut self, window: &mut Window<u64>) {
        let complete = window.acknowledged();
        for (call, _) in std::mem::take(&mut self.in_flight) {
            if let Some(missing) = self.missing.get_mut(&call) {
                *missing -= 1;
            }
        }
        let expected: Vec<u64> =
            self.missing.iter().filter(|(_, missing)| **missing == 0).map(|(call, _)| *call).collect();
        assert_eq!(complete, expected, "complete calls are answered, and no others");
        self.answer(complete);
    }

    fn fail(&mut self, window: &mut Window<u64>) {
        let failed = window.failed();
        let expected: Vec<u64> = self.missing.keys().copied().collect();
        assert_eq!(failed, expected, "a failure answers all that is under way");
        self.open.clear();
        self.in_flight.clear();
        self.answer(failed);
        assert!(window.is_idle() && window.waiting_bytes == 0);
    }
}

proptest! {
    #[test]
    fn records_leave_in_order_within_bounds_and_every_call_is_answered_once(
        operations in operations(), batch_records_max in 1_usize..6, batch_bytes_max in 1_usize..400) {
        let mut window = Window::new(Bounds { batch_records_max, batch_bytes_max, waiting_bytes_max: 2_000 });
        let mut outside = Outside::default();
        for operation in operations {
            match operation {
                Operation::Offer(lengths) => outside.offer(&mut window, &lengths),
                Operation::Next => outside.next(&mut window),
                Operation::Acknowledge => outside.acknowledge(&mut window),
                Operation::Fail => outside.fail(&mut window),
            }
            prop_assert!(window.waiting_bytes <= window.bounds.waiting_bytes_max);
        }
        while !window.is_idle() {
            outside.next(&mut window);
            outside.acknowledge(&mut window);
        }
        prop_assert_eq!(outside.answered.len() as u64, outside.calls);
    }
}

#[test]
fn what_comes_while_a_batch_is_under_way_is_the_next_batch() {
    let mut window = Window::new(Bounds { batch_records_max: 100, batch_bytes_max: 10_000, waiting_bytes_max: 10_000 });
    let one = |number| VecDeque::from([record(0, number, 10)]);
    window.offer('a', one(0));
    assert_eq!(window.next_batch().unwrap().len(), 1);
    window.offer('b', one(1));
    window.offer('c', one(2));
    assert!(window.next_batch().is_none());
    assert_eq!(window.acknowledged(), ['a']);
    assert_eq!(window.next_batch().unwrap().len(), 2);
    assert_eq!(window.acknowledged(), ['b', 'c']);
    assert!(window.next_batch().is_none() && window.is_idle());
}
