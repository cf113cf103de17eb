//! The checker is checked: each fault planted in a good history is found, as itself and nothing else.

use std::collections::BTreeSet;

use super::*;

const PAIR: &str = "p2p:a:b";
const GROUP: &str = "group:g";

fn item(conv: &str, seq: u64, from: &str) -> Item {
    let client_msg_id = format!("{from}-{seq}");
    let base = if conv == PAIR { 100 } else { 200 };
    let body = format!("body of {client_msg_id}");
    Item { epoch: 1, seq, msg_id: base + seq, from: from.to_owned(), body, client_msg_id }
}

/// Twice six messages: `a` and `b` in turns in the pair, `a`, `b` and `c` in turns in the group, which begins
/// with a message of the server. Each user has one device with two connections; the second repeats the
/// first one's last send. `d` is in nothing.
fn good() -> History {
    let mut history = History::default();
    let users = [("a", &[PAIR, GROUP][..]), ("b", &[PAIR, GROUP]), ("c", &[GROUP]), ("d", &[])];
    history.archive.insert(PAIR.into(), (1..=6).map(|seq| item(PAIR, seq, ["a", "b"][seq as usize % 2])).collect());
    let by = |seq: u64| if seq == 1 { "" } else { ["a", "b", "c"][seq as usize % 3] };
    history.archive.insert(GROUP.into(), (1..=6).map(|seq| item(GROUP, seq, by(seq))).collect());
    for (user, convs) in users {
        let mut halves = [Session::new(user, "phone"), Session::new(user, "phone")];
        for &conv in convs {
            history.members.entry(conv.to_owned()).or_default().insert(user.to_owned());
            for item in &history.archive[conv] {
                let half = usize::from(item.seq > 3);
                if item.from != user {
                    halves[half].seen.entry(conv.to_owned()).or_default().push(item.clone());
                    continue;
                }
                let (client_msg_id, body) = (item.client_msg_id.clone(), item.body.clone());
                let attempt = Attempt { conv: conv.to_owned(), client_msg_id: client_msg_id.clone(), body };
                let (msg_id, seq) = (item.msg_id, item.seq);
                let sent = Acknowledged { client_msg_id, conv: conv.to_owned(), msg_id, epoch: 1, seq };
                halves[half].attempts.push(attempt);
                halves[half].acknowledged.push(sent);
            }
        }
        for conv in convs {
            let repeated = halves[0].attempts.iter().rfind(|attempt| attempt.conv == *conv).cloned();
            halves[1].attempts.splice(0..0, repeated);
            let again = halves[0].acknowledged.iter().rfind(|sent| sent.conv == *conv).cloned();
            halves[1].acknowledged.splice(0..0, again);
        }
        history.sessions.extend(halves);
    }
    history
}

/// The second connection of a user.
fn later<'h>(history: &'h mut History, user: &str) -> &'h mut Session {
    history.sessions.iter_mut().rfind(|session| session.uid == user).unwrap()
}

fn everywhere(history: &mut History, conv: &str, mut change: impl FnMut(&mut Vec<Item>)) {
    let views = history.sessions.iter_mut().filter_map(|session| session.seen.get_mut(conv));
    views.for_each(&mut change);
    change(history.archive.get_mut(conv).unwrap());
}

/// Adds a message to the read-back and to the second connection of everybody else.
fn add(history: &mut History, conv: &str, item: &Item) {
    history.archive.get_mut(conv).unwrap().push(item.clone());
    for user in history.members[conv].clone() {
        later(history, &user).seen.entry(conv.to_owned()).or_default().push(item.clone());
    }
}

#[test]
fn a_good_history_has_no_violation() {
    assert_eq!(check(&good()), []);
    assert_eq!(report(&good()), None);
    // A send that nobody answered may be there or not.
    let mut unanswered = good();
    later(&mut unanswered, "a").acknowledged.clear();
    let all = unanswered.archive[PAIR].clone();
    later(&mut unanswered, "a").seen.insert(PAIR.into(), all[3..].to_vec());
    let group = unanswered.archive[GROUP].clone();
    later(&mut unanswered, "a").seen.insert(GROUP.into(), group[3..].to_vec());
    let lost = Attempt { conv: PAIR.into(), client_msg_id: "never".into(), body: String::new() };
    later(&mut unanswered, "a").attempts.push(lost);
    assert_eq!(check(&unanswered), []);
}

/// The last two of the pair got other numbers in a second epoch, after everybody was shown or told the first ones.
fn renumbered() -> History {
    let mut history = good();
    let items = history.archive.get_mut(PAIR).unwrap();
    items.swap(4, 5);
    for (item, seq) in items.iter_mut().skip(4).zip(5..) {
        (item.epoch, item.seq) = (2, seq);
    }
    history
}

#[test]
fn what_a_later_epoch_renumbered_is_there_once_and_shown() {
    assert_eq!(check(&renumbered()), []);
    // Shown again under its new number, after the old one.
    let mut again = renumbered();
    let item = again.archive[PAIR][5].clone();
    later(&mut again, "a").seen.get_mut(PAIR).unwrap().push(item);
    assert_eq!(check(&again), []);
}

#[test]
fn what_a_later_epoch_puts_at_a_number_is_not_what_an_earlier_view_lacks() {
    let mut history = good();
    let first = item(GROUP, 5, "b");
    let items = history.archive.get_mut(GROUP).unwrap();
    items.insert(4, Item { epoch: 2, seq: 5, msg_id: 299, ..first.clone() });
    for (item, seq) in items.iter_mut().zip(1..).skip(4) {
        (item.epoch, item.seq) = (2, seq);
    }
    let again = items[4..].to_vec();
    for user in ["a", "b", "c"] {
        let mut third = Session::new(user, "phone");
        if user == "b" {
            let (client_msg_id, body) = (first.client_msg_id.clone(), first.body.clone());
            third.attempts.push(Attempt { conv: GROUP.into(), client_msg_id, body });
        }
        third.seen.insert(GROUP.into(), again.clone());
        history.sessions.push(third);
    }
    // `c` was shown 4 and 6 of the first epoch, and 5 was its own.
    assert_eq!(check(&history), []);
}

#[test]
fn a_later_epoch_hides_no_fault() {
    let kinds = |history: &History| check(history).iter().map(|found| found.kind).collect::<BTreeSet<_>>();
    let mut lost = renumbered();
    lost.archive.get_mut(PAIR).unwrap().pop();
    assert!(kinds(&lost).contains(&Kind::Lost));
    let mut back = renumbered();
    let item = Item { epoch: 3, ..back.archive[PAIR][0].clone() };
    later(&mut back, "a").seen.get_mut(PAIR).unwrap().push(item);
    assert!(!check(&back).is_empty(), "an epoch that the read-back does not know");
    let mut doubled = renumbered();
    let item = Item { seq: 7, ..doubled.archive[PAIR][5].clone() };
    doubled.archive.get_mut(PAIR).unwrap().push(item);
    assert!(kinds(&doubled).contains(&Kind::Doubled));
}

// Long because it is a table.
#[test]
fn every_planted_fault_is_found_as_itself() {
    type Plant = fn(&mut History);
    let faults: [(&str, Kind, Plant); 19] = [
        ("an acknowledged message is nowhere", Kind::Lost, |history| {
            everywhere(history, PAIR, |items| {
                items.retain(|item| item.seq != 6);
            })
        }),
        ("a member's device never got the last one", Kind::Lost, |history| {
            later(history, "a").seen.get_mut(GROUP).unwrap().pop();
        }),
        ("a member's device got nothing on its connection", Kind::Lost, |history| {
            later(history, "c").seen.clear();
        }),
        ("a message is archived twice", Kind::Doubled, |history| {
            let again = Item { seq: 7, msg_id: 107, ..history.archive[PAIR][1].clone() };
            add(history, PAIR, &again);
        }),
        ("a number is archived twice", Kind::Doubled, |history| {
            let other = item(GROUP, 6, "");
            let other = Item { client_msg_id: "joined".into(), ..other };
            history.archive.get_mut(GROUP).unwrap().push(other);
            // The views would now differ from one of the two.
            let reference = history.archive[GROUP][6].clone();
            let reference = Item { msg_id: 206, ..reference };
            history.archive.get_mut(GROUP).unwrap()[6] = reference.clone();
            for session in &mut history.sessions {
                for item in session.seen.get_mut(GROUP).into_iter().flatten().filter(|item| item.seq == 6) {
                    *item = reference.clone();
                }
            }
        }),
        ("a message is shown twice", Kind::Doubled, |history| {
            let seen = later(history, "b").seen.get_mut(PAIR).unwrap();
            seen.push(seen[0].clone());
        }),
        ("two are shown in the wrong order", Kind::Swapped, |history| {
            later(history, "c").seen.get_mut(GROUP).unwrap().swap(0, 1);
        }),
        ("the read-back is out of order", Kind::Swapped, |history| {
            history.archive.get_mut(PAIR).unwrap().swap(2, 3);
        }),
        ("nobody sent it", Kind::Invented, |history| add(history, PAIR, &item(PAIR, 7, "a"))),
        ("its body is another", Kind::Invented, |history| {
            everywhere(history, PAIR, |items| {
                items.iter_mut().filter(|item| item.seq == 5).for_each(|item| item.body = "else".into());
            })
        }),
        ("shown and not in the read-back", Kind::Invented, |history| {
            later(history, "a").seen.get_mut(PAIR).unwrap().push(item(PAIR, 7, "b"));
        }),
        ("shown to a stranger", Kind::Leaked, |history| {
            let item = history.archive[GROUP][2].clone();
            later(history, "d").seen.insert(GROUP.into(), vec![item]);
        }),
        ("shown to one who is in another conversation", Kind::Leaked, |history| {
            let all = history.archive[PAIR].clone();
            later(history, "c").seen.insert(PAIR.into(), all);
        }),
        ("a number without a message", Kind::Hole, |history| {
            // The one of the server: nobody was told its number.
            everywhere(history, GROUP, |items| items.retain(|item| item.seq != 1));
        }),
        ("a repeat gets another number", Kind::Renumbered, |history| {
            later(history, "a").acknowledged[0].seq = 99;
        }),
        ("a repeat gets another id", Kind::Renumbered, |history| {
            later(history, "b").acknowledged[0].msg_id = 9_999;
        }),
        ("the read-back has another number than was acknowledged", Kind::Renumbered, |history| {
            for session in &mut history.sessions {
                let sent = session.acknowledged.iter_mut().filter(|sent| sent.client_msg_id == "a-6");
                sent.for_each(|sent| sent.msg_id = 9_999);
            }
        }),
        ("sends of a connection change places", Kind::SenderOrder, |history| {
            let attempts = &mut later(history, "a").attempts;
            let of_pair: Vec<usize> = (0..attempts.len()).filter(|n| attempts[*n].conv == PAIR).collect();
            attempts.swap(of_pair[0], of_pair[1]);
        }),
        ("a connection passes one over that an earlier one had", Kind::Skipped, |history| {
            let whole = history.archive[GROUP].clone();
            let mut seen: Vec<Item> = whole.into_iter().filter(|item| item.from != "c").collect();
            seen.remove(1);
            later(history, "c").seen.insert(GROUP.into(), seen);
        }),
    ];
    for (name, kind, plant) in faults {
        let mut history = good();
        plant(&mut history);
        let found = check(&history);
        let kinds: BTreeSet<Kind> = found.iter().map(|violation| violation.kind).collect();
        assert_eq!(kinds, BTreeSet::from([kind]), "{name}: {found:#?}");
        assert!(report(&history).is_some(), "{name}");
    }
}
