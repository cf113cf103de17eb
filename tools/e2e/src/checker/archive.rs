//! The read-back against what was sent and what was acknowledged.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Attempt, History, Item};
use super::violation::{Kind, Violation};

/// A send as its sender names it: conversation, sender, client message id.
type Name<'h> = (&'h str, &'h str, &'h str);

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let mut sent: HashMap<Name<'_>, &Attempt> = HashMap::new();
    for session in &history.sessions {
        for attempt in &session.attempts {
            sent.insert((&attempt.conv, &session.uid, &attempt.client_msg_id), attempt);
        }
    }
    let mut places: HashMap<Name<'_>, &Item> = HashMap::new();
    for (conv, items) in &history.archive {
        numbers(conv, items, found);
        for item in items {
            let name: Name<'_> = (conv, &item.from, &item.client_msg_id);
            // The first place counts for everything else.
            match places.entry(name) {
                Entry::Vacant(place) => {
                    place.insert(item);
                }
                Entry::Occupied(_) => {
                    found.push(Violation::new(Kind::Doubled, conv, format_args!("{item:?} is there twice")));
                }
            }
            let is_genuine = match sent.get(&name) {
                Some(attempt) => attempt.body == item.body,
                // What the server says itself nobody sent.
                None => item.from.is_empty(),
            };
            if !is_genuine {
                found.push(Violation::new(Kind::Invented, conv, format_args!("{item:?} was not sent so")));
            }
        }
    }
    acknowledgements(history, &places, found);
    sender_order(history, &places, found);
}

/// Dense from 1, rising, each id once.
fn numbers(conv: &str, items: &[Item], found: &mut Vec<Violation>) {
    let seqs: Vec<u64> = items.iter().map(|item| item.seq).collect();
    if !seqs.is_sorted() {
        found.push(Violation::new(Kind::Swapped, conv, "the read-back does not rise"));
    }
    let mut sorted = seqs;
    sorted.sort_unstable();
    let mut expected = 1;
    for seq in sorted {
        if seq + 1 == expected {
            found.push(Violation::new(Kind::Doubled, conv, format_args!("number {seq} twice in the read-back")));
        } else if seq != expected {
            found.push(Violation::new(Kind::Hole, conv, format_args!("{expected}..{seq} have no message")));
        }
        expected = seq + 1;
    }
}

/// Every `sent` names what the read-back has, and two of one send agree. A number of an epoch that is over may have
/// become another one; the message is there all the same.
fn acknowledgements(history: &History, places: &HashMap<Name<'_>, &Item>, found: &mut Vec<Violation>) {
    let mut numbers: HashMap<(Name<'_>, u64), (u64, u64)> = HashMap::new();
    for session in &history.sessions {
        for sent in &session.acknowledged {
            let name: Name<'_> = (&sent.conv, &session.uid, &sent.client_msg_id);
            let number = (sent.seq, sent.msg_id);
            let first = numbers.entry((name, sent.epoch)).or_insert(number);
            if *first != number {
                let detail = format_args!("{name:?} was acknowledged as {first:?} and as {number:?}");
                found.push(Violation::new(Kind::Renumbered, &sent.conv, detail));
                continue;
            }
            match places.get(&name) {
                None => {
                    let detail = format_args!("{name:?} was acknowledged as {number:?} and is not there");
                    found.push(Violation::new(Kind::Lost, &sent.conv, detail));
                }
                Some(item)
                    if item.epoch <= sent.epoch
                        && (item.epoch, item.seq, item.msg_id) != (sent.epoch, number.0, number.1) =>
                {
                    let detail = format_args!("{name:?} was acknowledged as {number:?} and is {item:?}");
                    found.push(Violation::new(Kind::Renumbered, &sent.conv, detail));
                }
                Some(_) => {}
            }
        }
    }
}

/// What one connection sent to one conversation is numbered in that order.
fn sender_order(history: &History, places: &HashMap<Name<'_>, &Item>, found: &mut Vec<Violation>) {
    for session in &history.sessions {
        let mut last: BTreeMap<&str, &Item> = BTreeMap::new();
        let mut told: HashSet<&str> = HashSet::new();
        for attempt in &session.attempts {
            let name: Name<'_> = (&attempt.conv, &session.uid, &attempt.client_msg_id);
            let Some(item) = places.get(&name) else { continue };
            if let Some(before) = last.insert(&attempt.conv, item)
                && before.seq > item.seq
                && told.insert(&attempt.conv)
            {
                let detail = format_args!("{item:?} was sent after {before:?} on one connection");
                found.push(Violation::new(Kind::SenderOrder, &attempt.conv, detail));
            }
        }
    }
}
