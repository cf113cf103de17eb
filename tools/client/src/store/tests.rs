//! Any order, doubling and loss of pushes, any timing of pages: each message once, in order.

use super::*;
use proptest::prelude::*;

const CONV: &str = "p2p:a:b";

fn message(epoch: u64, seq: u64, msg_id: u64) -> Message {
    Message { conv: CONV.into(), epoch, seq, msg_id, from: "b".into(), kind: "text".into(), ..Message::default() }
}

fn plain(seq: u64) -> Message {
    message(1, seq, 1_000 + seq)
}

fn shown(store: &mut Store) -> Vec<u64> {
    std::iter::from_fn(|| store.poll_message()).map(|message| message.seq).collect()
}

/// What a server does with a `sync`, over an archive in order.
fn page(archive: &[Message], asked: &Sync) -> Messages {
    let above: Vec<Message> = archive.iter().filter(|message| message.seq > asked.after_seq).cloned().collect();
    let items: Vec<Message> = above.iter().take(asked.limit as usize).cloned().collect();
    Messages {
        conv: CONV.into(),
        more: above.len() > items.len(),
        head: archive.last().map_or(0, |last| last.seq),
        items,
    }
}

/// Answers syncs until none is due any more.
fn settle(store: &mut Store, archive: &[Message], now_ms: &mut u64) {
    for _ in 0..10_000 {
        *now_ms += HOLE_RETRY_MS_MAX;
        let Some(asked) = store.poll_sync(*now_ms) else { return };
        store.handle_page(&asked, page(archive, &asked), *now_ms);
    }
    panic!("the store never stops asking");
}

#[test]
fn a_hole_is_filled_by_pushes_without_asking() {
    let mut store = Store::default();
    for seq in [5, 7, 8, 6] {
        store.handle_message(plain(seq), 0);
    }
    assert_eq!(shown(&mut store), [5, 6, 7, 8]);
    assert!(store.poll_sync(u64::MAX).is_none() && store.deadline().is_none());
    assert_eq!(store.poll_moved(), Some((CONV.into(), ResumePoint { epoch: 1, seq: 8 })));
}

#[test]
fn a_hole_that_stays_is_asked_for() {
    let mut store = Store::default();
    store.handle_message(plain(5), 0);
    store.handle_message(plain(8), 0);
    assert!(store.poll_sync(HOLE_WAIT_MS - 1).is_none());
    let asked = store.poll_sync(HOLE_WAIT_MS).unwrap();
    assert_eq!(asked.after_seq, 5);
    store.handle_page(&asked, page(&[plain(6), plain(7), plain(8)], &asked), HOLE_WAIT_MS);
    assert_eq!(shown(&mut store), [5, 6, 7, 8]);
    assert!(store.deadline().is_none());
}

#[test]
fn an_own_message_does_not_hide_the_backlog_below_it() {
    let mut store = Store::default();
    store.handle_own(plain(11), 0);
    assert_eq!(shown(&mut store), [11]);
    assert!(store.resume_points().is_empty() && store.poll_moved().is_none());
    store.handle_backlog(Messages { items: (8..=12).map(plain).collect(), ..Messages::default() }, 1);
    assert_eq!(shown(&mut store), [8, 9, 10, 12]);
    assert_eq!(store.point(CONV).unwrap().seq, 12);
}

#[test]
fn many_own_messages_before_any_push_are_shown_once() {
    let mut store = Store::default();
    (101..=2_000).for_each(|seq| store.handle_own(plain(seq), 0));
    assert_eq!(shown(&mut store).len(), 1_900);
    store.handle_backlog(Messages { items: (101..=200).map(plain).collect(), ..Messages::default() }, 1);
    assert!(shown(&mut store).is_empty());
    assert_eq!(store.point(CONV).unwrap().seq, 2_000);
}

#[test]
fn a_page_that_begins_higher_says_there_is_nothing_between() {
    let mut store = Store::default();
    store.handle_resync(CONV, 0);
    let asked = store.poll_sync(0).unwrap();
    assert_eq!(asked.after_seq, 0);
    store.handle_page(&asked, page(&[plain(40), plain(41)], &asked), 0);
    assert_eq!(shown(&mut store), [40, 41]);
}

#[test]
fn a_page_that_cannot_go_on_yet_is_asked_again_later() {
    let mut store = Store::new(vec![Saved { conv: CONV.into(), point: (1, 5), newest: Vec::new() }]);
    store.handle_connected(&BTreeMap::from([(CONV.to_owned(), false)]), 0);
    let asked = store.poll_sync(0).unwrap();
    store.handle_page(&asked, Messages { more: true, ..Messages::default() }, 0);
    assert!(store.poll_sync(0).is_none());
    let again = store.poll_sync(HOLE_RETRY_MS_MAX).unwrap();
    assert_eq!(again.after_seq, 5);
}

#[test]
fn a_resync_that_comes_during_a_sync_is_answered_by_another() {
    let mut store = Store::default();
    store.handle_message(plain(1), 0);
    store.handle_resync(CONV, 0);
    let asked = store.poll_sync(0).unwrap();
    store.handle_resync(CONV, 0);
    store.handle_page(&asked, page(&[plain(1), plain(2)], &asked), 0);
    let again = store.poll_sync(0).unwrap();
    assert_eq!(again.after_seq, 2);
    store.handle_page(&again, page(&[plain(1), plain(2)], &again), 0);
    assert!(store.poll_sync(u64::MAX).is_none());
}

#[test]
fn what_a_new_epoch_renumbers_is_shown_once() {
    let mut store = Store::default();
    // 43 and 44 were numbered by a generation that was lost; the next one swapped and added to them.
    let archive = [message(1, 41, 1), message(1, 42, 2), message(2, 43, 9), message(2, 44, 4), message(2, 45, 3)];
    for (seq, msg_id) in [(41, 1), (42, 2), (43, 3), (44, 4)] {
        store.handle_message(message(1, seq, msg_id), 0);
    }
    // A live push far above the floor: what lies between was lost on the way.
    store.handle_message(message(2, 45, 3), 0);
    let mut now_ms = 0;
    settle(&mut store, &archive, &mut now_ms);
    let ids: Vec<u64> = std::iter::from_fn(|| store.poll_message()).map(|message| message.msg_id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 9]);
    assert_eq!(store.point(CONV), Some(ResumePoint { epoch: 2, seq: 45 }));
}

#[test]
fn a_resume_with_an_old_epoch_drops_what_it_has_by_id() {
    let newest = vec![(42, 1, 2), (43, 1, 3), (44, 1, 4)];
    let mut store = Store::new(vec![Saved { conv: CONV.into(), point: (1, 44), newest }]);
    let items = vec![message(2, 43, 9), message(2, 44, 4), message(2, 45, 3), message(2, 46, 10)];
    store.handle_backlog(Messages { items, ..Messages::default() }, 0);
    let ids: Vec<u64> = std::iter::from_fn(|| store.poll_message()).map(|message| message.msg_id).collect();
    assert_eq!(ids, [9, 10]);
    assert_eq!(store.point(CONV), Some(ResumePoint { epoch: 2, seq: 46 }));
}

#[test]
fn resume_points_fit_one_connect() {
    let saved = |n: u64| Saved { conv: format!("group:{n:032}"), point: (1, n + 1), newest: Vec::new() };
    let store = Store::new((0..CONVERSATIONS_MAX as u64).map(saved).collect());
    let points = store.resume_points();
    assert!(points.len() <= RESUME_POINTS_MAX && serde_json::to_vec(&points).unwrap().len() <= RESUME_BYTES_MAX);
    assert!(points.contains_key(&format!("group:{:032}", CONVERSATIONS_MAX - 1)));
}

#[test]
fn conversations_past_the_bound_push_out_the_oldest() {
    let mut store = Store::default();
    for n in 0..=CONVERSATIONS_MAX as u64 {
        store.handle_message(Message { conv: format!("group:{n}"), ..plain(1) }, 0);
    }
    assert!(store.runs.len() <= CONVERSATIONS_MAX && store.point("group:0").is_none());
}

/// What may happen to a device that is at `resume` in a conversation of `head` messages.
#[derive(Debug, Clone)]
enum Happening {
    /// A live push of a message, whatever came before.
    Push(prop::sample::Index),
    /// One of this device's own messages is answered.
    Own(prop::sample::Index),
    /// The server dropped pushes.
    Resync,
    /// A backlog page from somewhere on.
    Backlog(prop::sample::Index, u64),
    /// A sync that is due is asked and answered.
    Page,
    /// A sync is asked and the connection dies.
    Die,
    /// Time passes.
    Wait(u64),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        6 => any::<prop::sample::Index>().prop_map(Happening::Push),
        2 => any::<prop::sample::Index>().prop_map(Happening::Own),
        1 => Just(Happening::Resync),
        2 => (any::<prop::sample::Index>(), 1..100_u64).prop_map(|(at, count)| Happening::Backlog(at, count)),
        2 => Just(Happening::Page),
        1 => Just(Happening::Die),
        2 => (0..600_u64).prop_map(Happening::Wait),
    ];
    prop::collection::vec(one, 0..80)
}

proptest! {
    #[test]
    fn every_message_is_shown_once_and_in_order(
        head in 1..700_u64, resume in 0..700_u64, happenings in happenings(),
    ) {
        let resume = resume % head;
        let archive: Vec<Message> = (1..=head).map(plain).collect();
        let mut store = Store::new(vec![Saved { conv: CONV.into(), point: (1, resume), newest: Vec::new() }]);
        let mut now_ms = 0;
        for happening in happenings {
            match happening {
                Happening::Push(at) => store.handle_message(at.get(&archive).clone(), now_ms),
                Happening::Own(at) => store.handle_own(at.get(&archive).clone(), now_ms),
                Happening::Resync => store.handle_resync(CONV, now_ms),
                Happening::Backlog(at, count) => {
                    let items = archive.iter().skip(at.index(archive.len())).take(count as usize).cloned().collect();
                    store.handle_backlog(Messages { items, ..Messages::default() }, now_ms);
                }
                Happening::Page => {
                    if let Some(asked) = store.poll_sync(now_ms) {
                        store.handle_page(&asked, page(&archive, &asked), now_ms);
                    }
                }
                Happening::Die => {
                    let _ = store.poll_sync(now_ms);
                    store.handle_disconnected(now_ms);
                }
                Happening::Wait(ms) => now_ms += ms,
            }
        }
        store.handle_resync(CONV, now_ms);
        settle(&mut store, &archive, &mut now_ms);
        prop_assert_eq!(shown(&mut store), (resume + 1..=head).collect::<Vec<_>>());
        prop_assert_eq!(store.ahead_bytes, 0);
        prop_assert!(store.due.is_empty() && store.asked == 0);
    }

    #[test]
    fn a_new_epoch_loses_and_doubles_nothing(
        floor in 0..60_u64, lost in 0..40_u64, added in 0..60_u64, swap: bool,
        pushes in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
    ) {
        // Old generation: everything in order was shown. New one: above the floor, numbered again.
        let old: Vec<Message> = (1..=floor + lost).map(plain).collect();
        let mut ids: Vec<u64> = (floor + 1..=floor + lost + added).map(|seq| 1_000 + seq).collect();
        if swap {
            ids.reverse();
        }
        let mut archive: Vec<Message> = (1..=floor).map(plain).collect();
        archive.extend(ids.iter().zip(floor + 1..).map(|(&id, seq)| message(2, seq, id)));
        prop_assume!(!archive.is_empty());

        let mut store = Store::new(vec![Saved { conv: CONV.into(), point: (1, 0), newest: Vec::new() }]);
        old.iter().for_each(|one| store.handle_message(one.clone(), 0));
        let mut now_ms = 0;
        pushes.iter().for_each(|at| store.handle_message(at.get(&archive).clone(), now_ms));
        store.handle_resync(CONV, now_ms);
        settle(&mut store, &archive, &mut now_ms);

        let mut seen: Vec<u64> = std::iter::from_fn(|| store.poll_message()).map(|one| one.msg_id).collect();
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        prop_assert_eq!(seen.len(), count, "a message was shown twice");
        let told = archive.last().is_some_and(|last| last.epoch == 2 && (last.seq > floor + lost || !pushes.is_empty()));
        if told {
            prop_assert!(ids.iter().all(|id| seen.contains(id)), "a message was never shown");
        }
    }
}
