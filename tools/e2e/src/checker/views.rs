//! What devices were shown, against the read-back.
//!
//! A `sent` shows its own message to the device that sent it: it stands in the place of a push. The answer
//! to a repeat may come before or after the backlog that holds the message, so it fills a place and orders
//! nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::history::{History, Item, Session};
use super::violation::{Kind, Violation};

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let archive: BTreeMap<&str, Reference<'_>> =
        history.archive.iter().map(|(conv, items)| (conv.as_str(), Reference::of(items))).collect();
    let empty = Reference::default();
    let mut covered: BTreeMap<(&str, &str, &str), HashSet<u64>> = BTreeMap::new();
    for session in &history.sessions {
        let own = own_numbers(session);
        for (conv, items) in &session.seen {
            if !history.members.get(conv).is_some_and(|members| members.contains(&session.uid)) {
                let detail = format_args!("{} of {} was shown {:?}", session.device, session.uid, items.first());
                found.push(Violation::new(Kind::Leaked, conv, detail));
                continue;
            }
            let reference = archive.get(conv.as_str()).unwrap_or(&empty);
            one_view(session, conv, items, own.get(conv.as_str()), reference, found);
        }
        for (conv, members) in &history.members {
            if members.contains(&session.uid) {
                let seen = covered.entry((&session.uid, &session.device, conv)).or_default();
                seen.extend(session.seen.get(conv).into_iter().flatten().map(|item| item.seq));
                seen.extend(own.get(conv.as_str()).into_iter().flatten());
            }
        }
    }
    for ((uid, device, conv), seen) in covered {
        let items = history.archive.get(conv).map(Vec::as_slice).unwrap_or_default();
        let missed: Vec<u64> = items.iter().map(|item| item.seq).filter(|seq| !seen.contains(seq)).collect();
        if let (Some(first), Some(last)) = (missed.first(), missed.last()) {
            let detail = format_args!("{device} of {uid} never saw {} of {first}..={last}", missed.len());
            found.push(Violation::new(Kind::Lost, conv, detail));
        }
    }
}

/// A conversation's read-back by number and by id.
#[derive(Default)]
struct Reference<'h> {
    by_seq: HashMap<u64, &'h Item>,
    by_id: HashMap<u64, &'h Item>,
}

impl<'h> Reference<'h> {
    fn of(items: &'h [Item]) -> Self {
        Self {
            by_seq: items.iter().map(|item| (item.seq, item)).collect(),
            by_id: items.iter().map(|item| (item.msg_id, item)).collect(),
        }
    }
}

fn own_numbers(session: &Session) -> BTreeMap<&str, BTreeSet<u64>> {
    let mut own: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for sent in &session.acknowledged {
        own.entry(&sent.conv).or_default().insert(sent.seq);
    }
    own
}

/// One connection's view of one conversation: rising, without holes, and what the read-back has.
fn one_view(
    session: &Session,
    conv: &str,
    items: &[Item],
    own: Option<&BTreeSet<u64>>,
    reference: &Reference<'_>,
    found: &mut Vec<Violation>,
) {
    let who = format!("{} of {}", session.device, session.uid);
    let mut tell = |kind, detail: std::fmt::Arguments<'_>| {
        found.push(Violation::new(kind, conv, format_args!("{who}: {detail}")));
    };
    let mut shown: HashSet<u64> = HashSet::new();
    let mut highest: Option<u64> = None;
    let all: HashSet<u64> = items.iter().map(|item| item.seq).collect();
    let is_shown = |seq: u64| all.contains(&seq) || own.is_some_and(|own| own.contains(&seq));
    for item in items {
        match (reference.by_seq.get(&item.seq), reference.by_id.get(&item.msg_id)) {
            (Some(same), _) if *same == item => {}
            (_, Some(other)) if other.seq != item.seq => {
                tell(Kind::Renumbered, format_args!("{item:?} is {} in the read-back", other.seq));
            }
            (there, _) => tell(Kind::Invented, format_args!("{item:?}, where the read-back has {there:?}")),
        }
        if !shown.insert(item.seq) {
            tell(Kind::Doubled, format_args!("{} was shown twice", item.seq));
            continue;
        }
        match highest {
            Some(before) if item.seq < before => {
                tell(Kind::Swapped, format_args!("{} was shown after {before}", item.seq));
            }
            Some(before) => {
                // What no push of this connection ever brings, and the read-back has, was passed over.
                let missed = (before + 1..item.seq).find(|seq| reference.by_seq.contains_key(seq) && !is_shown(*seq));
                if let Some(missed) = missed {
                    tell(Kind::Skipped, format_args!("{} was shown and {missed} was not", item.seq));
                }
                highest = Some(item.seq);
            }
            None => highest = Some(item.seq),
        }
    }
}
