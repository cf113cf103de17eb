//! What devices were shown, against the read-back.
//!
//! A `sent` shows its own message to the device that sent it: it stands in the place of a push. The answer
//! to a repeat may come before or after the backlog that holds the message, so it fills a place and orders
//! nothing.
//!
//! What was shown under an epoch that is over may have another number in the read-back: it counts as shown, and its
//! order among others of that epoch is judged alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::history::{History, Item, Session};
use super::violation::{Kind, Violation};

pub(super) fn check(history: &History, found: &mut Vec<Violation>) {
    let archive: BTreeMap<&str, Reference<'_>> =
        history.archive.iter().map(|(conv, items)| (conv.as_str(), Reference::of(items))).collect();
    let empty = Reference::default();
    let mut covered: BTreeMap<(&str, &str, &str), Covered<'_>> = BTreeMap::new();
    for session in &history.sessions {
        let own = own_names(session);
        let read = session.read.keys().filter(|conv| !session.seen.contains_key(*conv));
        for conv in session.seen.keys().chain(read) {
            let items = session.seen.get(conv).map(Vec::as_slice).unwrap_or_default();
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
                let items = session.seen.get(conv).into_iter().chain(session.read.get(conv)).flatten();
                let sent = session.acknowledged.iter().filter(|sent| sent.conv == *conv);
                seen.places.extend(sent.map(|sent| (sent.epoch, sent.seq)));
                seen.places.extend(items.clone().map(|item| (item.epoch, item.seq)));
                seen.names.extend(items.map(Item::name));
                seen.names.extend(own.get(conv.as_str()).into_iter().flatten());
            }
        }
    }
    for ((uid, device, conv), seen) in covered {
        let items = history.archive.get(conv).map(Vec::as_slice).unwrap_or_default();
        let missed: Vec<&Item> = items.iter().filter(|item| !seen.has(item)).collect();
        if let (Some(first), Some(last)) = (missed.first(), missed.last()) {
            let (count, last) = (missed.len(), last.seq);
            let detail = format_args!("{device} of {uid} never saw {count} up to {last}, from {first:?}");
            found.push(Violation::new(Kind::Lost, conv, detail));
        }
    }
}

/// A conversation's read-back by number, by id and by name.
#[derive(Default)]
struct Reference<'h> {
    by_seq: HashMap<u64, &'h Item>,
    by_id: HashMap<u64, &'h Item>,
    by_name: HashMap<Name<'h>, &'h Item>,
}

/// A message of one conversation, whatever its number.
type Name<'h> = (&'h str, &'h str);

/// What a device was shown of a conversation.
#[derive(Default)]
struct Covered<'h> {
    names: HashSet<Name<'h>>,
    /// Another message in an item's place is a breach of its own.
    places: HashSet<(u64, u64)>,
}

impl Covered<'_> {
    fn has(&self, item: &Item) -> bool {
        self.names.contains(&item.name()) || self.places.contains(&(item.epoch, item.seq))
    }
}

impl<'h> Reference<'h> {
    fn of(items: &'h [Item]) -> Self {
        Self {
            by_seq: items.iter().map(|item| (item.seq, item)).collect(),
            by_id: items.iter().map(|item| (item.msg_id, item)).collect(),
            by_name: items.iter().map(|item| (item.name(), item)).collect(),
        }
    }

    /// What is wrong with an item that a device got.
    fn against(&self, item: &Item) -> Option<(Kind, String)> {
        let settled = self.by_name.get(&item.name());
        if settled.is_some_and(|settled| settled.epoch > item.epoch && settled.body == item.body) {
            return None;
        }
        match (self.by_seq.get(&item.seq), self.by_id.get(&item.msg_id)) {
            (Some(same), _) if *same == item => None,
            (_, Some(other)) if other.seq != item.seq => {
                Some((Kind::Renumbered, format!("{item:?} is {} in the read-back", other.seq)))
            }
            (there, _) => Some((Kind::Invented, format!("{item:?}, where the read-back has {there:?}"))),
        }
    }
}

fn own_names(session: &Session) -> BTreeMap<&str, BTreeSet<Name<'_>>> {
    let mut own: BTreeMap<&str, BTreeSet<Name<'_>>> = BTreeMap::new();
    for sent in &session.acknowledged {
        own.entry(&sent.conv).or_default().insert((&session.uid, &sent.client_msg_id));
    }
    own
}

/// One connection's view of one conversation: rising, without holes, and what the read-back has.
fn one_view(
    session: &Session,
    conv: &str,
    items: &[Item],
    own: Option<&BTreeSet<Name<'_>>>,
    reference: &Reference<'_>,
    found: &mut Vec<Violation>,
) {
    let who = format!("{} of {}", session.device, session.uid);
    let mut tell = |kind, detail: std::fmt::Arguments<'_>| {
        found.push(Violation::new(kind, conv, format_args!("{who}: {detail}")));
    };
    let mut shown: HashSet<(u64, u64)> = HashSet::new();
    let mut highest: Option<(u64, u64)> = None;
    let read = session.read.get(conv).into_iter().flatten();
    let all: HashSet<Name<'_>> = items.iter().chain(read).map(Item::name).collect();
    let is_shown = |name: Name<'_>| all.contains(&name) || own.is_some_and(|own| own.contains(&name));
    for item in session.read.get(conv).into_iter().flatten() {
        if let Some((kind, detail)) = reference.against(item) {
            tell(kind, format_args!("{detail}"));
        }
    }
    for item in items {
        if let Some((kind, detail)) = reference.against(item) {
            tell(kind, format_args!("{detail}"));
        }
        let place = (item.epoch, item.seq);
        if !shown.insert(place) {
            tell(Kind::Doubled, format_args!("{} was shown twice", item.seq));
            continue;
        }
        match highest {
            Some(before) if place < before => {
                tell(Kind::Swapped, format_args!("{place:?} was shown after {before:?}"));
            }
            // Between two epochs numbers do not follow each other; what is missing there shows at the end.
            Some(before) if place.0 > before.0 => highest = Some(place),
            Some((_, before)) => {
                // What no push of this connection ever brings, and the read-back has, was passed over. A number of a
                // later epoch is another message's.
                let is_passed = |there: &&&Item| there.epoch <= place.0 && !is_shown(there.name());
                let missed = (before + 1..item.seq).find(|seq| reference.by_seq.get(seq).filter(is_passed).is_some());
                if let Some(missed) = missed {
                    tell(Kind::Skipped, format_args!("{} was shown and {missed} was not", item.seq));
                }
                highest = Some(place);
            }
            None => highest = Some(place),
        }
    }
}
