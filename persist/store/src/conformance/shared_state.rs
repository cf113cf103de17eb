//! Conformance of [`SharedState`], with the archive and the upkeep that belong to it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ringway_engine::event::{MessageEvent, ReadEvent};
use ringway_engine::limits::{DEDUP_MS, OFFLINE_MESSAGES_MAX, OFFLINE_MS};

use super::{conv, device, message, seqs, uid};
use crate::ports::{
    Archive, ArchiveBatch, CursorUpdate, DevicePoint, Directory, LogOffset, NumberedMessage, PageFrom, SharedState,
    Upkeep,
};

/// The adapters that serve one state.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// The state.
    pub state: &'a dyn SharedState,
    /// Its upkeep.
    pub upkeep: &'a dyn Upkeep,
    /// The archive below it.
    pub archive: &'a dyn Archive,
    /// The directory beside it.
    pub directory: &'a dyn Directory,
}

/// Unix milliseconds.
#[must_use]
pub fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Stores<'_> {
    /// Numbers events; the numbers.
    pub async fn number(&self, events: &[Arc<MessageEvent>]) -> Vec<u64> {
        self.state.number(events).await.unwrap().iter().map(|number| number.seq).collect()
    }

    /// Archives events as the daemon does.
    pub async fn archive(&self, events: &[Arc<MessageEvent>], next_offset: u64) {
        let numbers = self.state.number(events).await.unwrap();
        let pairs = events.iter().zip(numbers).filter(|(event, number)| event.msg_id == number.msg_id);
        let messages = pairs.map(|(event, number)| NumberedMessage {
            event: Arc::clone(event),
            epoch: number.epoch,
            seq: number.seq,
        });
        let batch = ArchiveBatch {
            messages: messages.collect(),
            next_offset: LogOffset(next_offset),
            ..ArchiveBatch::default()
        };
        self.archive.commit(&batch).await.unwrap();
        self.upkeep.archived(&batch).await.unwrap();
    }

    async fn point(&self, user: &str, on: &str, of: &str) -> Option<DevicePoint> {
        let points = self.state.points(&uid(user), &device(on), now_ms()).await.unwrap();
        points.into_iter().find(|point| point.conv.as_str() == of)
    }
}

fn run(of: &str, from: &str, first: u64, count: u64) -> Vec<Arc<MessageEvent>> {
    (first..first + count).map(|n| message(of, from, &format!("c-{n}"), n, now_ms())).collect()
}

/// Numbers are dense for each conversation, and a repeat has the number of the first.
pub async fn numbers(stores: Stores<'_>) {
    let id = conv("p2p:a:b");
    assert_eq!(stores.state.head(&id).await.unwrap().1, 0);
    let now = now_ms();
    let first = message("p2p:a:b", "a", "c-1", 1, now);
    let batch = [first.clone(), message("group:g", "a", "c-1", 2, now), message("p2p:a:b", "b", "c-1", 3, now)];
    assert_eq!(stores.number(&batch).await, [1, 1, 2]);
    let repeat = message("p2p:a:b", "a", "c-1", 9, now + 5);
    let numbers = stores.state.number(&[repeat.clone(), first.clone(), repeat.clone()]).await.unwrap();
    for number in &numbers {
        assert_eq!((number.seq, number.msg_id, number.ts_ms, number.duplicate), (1, 1, now, true));
    }
    assert!(stores.state.known(&id, "a", "c-2", false).await.unwrap().is_none());
    assert_eq!(stores.state.known(&id, "a", "c-1", false).await.unwrap().unwrap().seq, 1);
    assert_eq!(stores.state.head(&id).await.unwrap().1, 2);
    assert!(stores.state.unarchived_bytes() > 0);
    stores.archive(&batch, 3).await;
    assert_eq!(stores.state.unarchived_bytes(), 0);
    assert_eq!(stores.number(&[repeat, message("p2p:a:b", "a", "c-2", 10, now)]).await, [1, 3]);
    assert_eq!(stores.state.known(&id, "a", "c-1", true).await.unwrap().unwrap().msg_id, 1);
}

/// Callers that number the same messages and their own at once agree, and leave no number out. `others` are
/// states of other processes, or the same one again.
pub async fn many_callers(stores: Stores<'_>, others: &[&dyn SharedState]) {
    const EACH: u64 = 40;
    let common: Vec<_> = run("group:g", "a", 1, EACH);
    let callers = others.len() as u64 + 1;
    let call = async |state: &dyn SharedState, caller: u64| {
        let mut given = Vec::new();
        for n in 0..EACH {
            let own = message("group:g", "b", &format!("{caller}-{n}"), 1_000 * (caller + 1) + n, now_ms());
            let shared = &common[usize::try_from(n).unwrap()];
            let batch = if caller.is_multiple_of(2) { [own, shared.clone()] } else { [shared.clone(), own] };
            let numbers = state.number(&batch).await.unwrap();
            given.extend(numbers.iter().map(|number| (number.epoch, number.seq, number.msg_id)));
        }
        given
    };
    let calls = std::iter::once(stores.state).chain(others.iter().copied()).zip(0..);
    let given = futures_util::future::join_all(calls.map(|(state, caller)| call(state, caller))).await.concat();
    let mut holders: Vec<_> = given.clone();
    holders.sort_unstable();
    holders.dedup();
    let total = EACH * (callers + 1);
    assert_eq!(holders.iter().map(|(_, seq, _)| *seq).collect::<Vec<_>>(), (1..=total).collect::<Vec<_>>());
    for (number, first) in [(9, 10), (0, 1)].map(|(at, id)| (&common[at], id)) {
        let again = stores.state.number(std::slice::from_ref(number)).await.unwrap()[0];
        assert!(again.duplicate && again.msg_id == first);
    }
    let page = stores.state.page(&conv("group:g"), PageFrom::After(0), 1_000).await.unwrap();
    assert_eq!(seqs(&page.items), (1..=total).collect::<Vec<_>>());
}

/// A client message id that comes back after its time is a new message; `retry` still finds the first.
pub async fn old_ids(stores: Stores<'_>) {
    let old = now_ms() - 2 * DEDUP_MS;
    let first = message("p2p:a:b", "a", "same", 1, old);
    stores.archive(&[first], 1).await;
    stores.upkeep.forget_idle(now_ms());
    let id = conv("p2p:a:b");
    assert!(stores.state.known(&id, "a", "same", false).await.unwrap().is_none());
    assert_eq!(stores.state.known(&id, "a", "same", true).await.unwrap().unwrap().msg_id, 1);
    let second = message("p2p:a:b", "a", "same", 2, now_ms());
    assert_eq!(stores.number(std::slice::from_ref(&second)).await, [2]);
    stores.archive(&[second], 2).await;
    let page = stores.state.page(&id, PageFrom::After(0), 10).await.unwrap();
    assert_eq!(seqs(&page.items), [1, 2]);
}

/// Pages join the archived and the unarchived part without a seam.
pub async fn pages(stores: Stores<'_>) {
    let id = conv("p2p:a:b");
    let empty = stores.state.page(&id, PageFrom::After(0), 10).await.unwrap();
    assert!(empty.items.is_empty() && empty.head == 0 && !empty.more);
    let events = run("p2p:a:b", "a", 1, 10);
    stores.number(&events).await;
    for archived in [0, 4, 10] {
        stores.archive(&events[..archived], archived as u64).await;
        for (from, limit, expected, more) in [
            (PageFrom::After(0), 100, (1..=10).collect::<Vec<u64>>(), false),
            (PageFrom::After(2), 5, vec![3, 4, 5, 6, 7], true),
            (PageFrom::After(5), 5, vec![6, 7, 8, 9, 10], false),
            (PageFrom::After(10), 5, vec![], false),
            (PageFrom::After(99), 5, vec![], false),
            (PageFrom::Before(u64::MAX), 3, vec![8, 9, 10], true),
            (PageFrom::Before(7), 4, vec![3, 4, 5, 6], true),
            (PageFrom::Before(4), 9, vec![1, 2, 3], false),
            (PageFrom::Before(1), 9, vec![], false),
        ] {
            let page = stores.state.page(&id, from, limit).await.unwrap();
            assert_eq!(seqs(&page.items), expected, "{from:?} with {archived} archived");
            assert_eq!((page.head, page.more), (10, more), "{from:?} with {archived} archived");
        }
    }
}

/// Ten thousand messages are paged through from the first to the last.
pub async fn a_long_backlog(stores: Stores<'_>) {
    let events = run("p2p:a:b", "a", 1, 10_000);
    stores.archive(&events[..9_000], 9_000).await;
    stores.number(&events).await;
    let (mut after, mut pages) = (0, 0);
    loop {
        let page = stores.state.page(&conv("p2p:a:b"), PageFrom::After(after), 100).await.unwrap();
        for item in &page.items {
            after += 1;
            assert_eq!((item.seq, item.msg_id), (after, after));
        }
        pages += 1;
        if !page.more {
            break;
        }
    }
    assert_eq!((after, pages), (10_000, 100));
}

/// Cursors belong to a device, rise only, and survive being written.
pub async fn cursors(stores: Stores<'_>) {
    let events = run("p2p:a:b", "a", 1, 20);
    stores.number(&events).await;
    let epoch = stores.state.head(&conv("p2p:a:b")).await.unwrap().0;
    let ack = |on: &str, seq| CursorUpdate { uid: uid("b"), device: device(on), conv: conv("p2p:a:b"), epoch, seq };
    let fresh = stores.point("b", "phone", "p2p:a:b").await.unwrap();
    assert_eq!((fresh.head, fresh.floor, fresh.device_cursor, fresh.user_cursor), (20, 0, None, None));
    stores.state.acknowledge(vec![ack("phone", 7), ack("phone", 5), ack("pad", 3)]).await;
    for written in [false, true] {
        if written {
            stores.upkeep.flush_cursors().await.unwrap();
        }
        for (on, cursor) in [("phone", Some(7)), ("pad", Some(3)), ("new", None)] {
            let point = stores.point("b", on, "p2p:a:b").await.unwrap();
            assert_eq!((point.device_cursor, point.user_cursor), (cursor, Some(7)), "{on}, written: {written}");
        }
    }
    stores.archive(&events, 20).await;
    stores.state.acknowledge(vec![ack("phone", 6), ack("pad", 12), ack("broken", 1_000)]).await;
    stores.upkeep.flush_cursors().await.unwrap();
    stores.upkeep.flush_cursors().await.unwrap();
    let point = stores.point("b", "phone", "p2p:a:b").await.unwrap();
    assert_eq!((point.device_cursor, point.user_cursor), (Some(7), Some(20)), "none is past the head");
    assert_eq!(stores.point("a", "phone", "p2p:a:b").await.unwrap().user_cursor, None);
    assert!(stores.point("c", "phone", "p2p:a:b").await.is_none());
}

/// A group's queue starts where the user joined; one of nothing but old messages is empty.
pub async fn floors(stores: Stores<'_>) {
    super::directory::create_accounts(stores.directory, &["a", "b", "c"]).await;
    stores.directory.create_group("g", "Group", &uid("a"), &[uid("b")], 1).await.unwrap();
    assert!(stores.point("b", "d", "group:g").await.is_none(), "no message, no point");
    stores.number(&run("group:g", "a", 1, 5)).await;
    stores.directory.add_members("g", &uid("a"), &[uid("c")], 5, 2).await.unwrap();
    stores.number(&run("group:g", "a", 10, 2)).await;
    assert_eq!(stores.point("b", "d", "group:g").await.unwrap().floor, 0);
    let point = stores.point("c", "d", "group:g").await.unwrap();
    assert_eq!((point.head, point.floor), (7, 5));

    let old = now_ms() - OFFLINE_MS - 60_000;
    let aged: Vec<_> = (1..=9).map(|n| message("p2p:a:b", "a", &format!("o-{n}"), 100 + n, old + n)).collect();
    let young = run("p2p:a:b", "a", 200, 4);
    stores.archive(&[aged, young].concat(), 13).await;
    let point = stores.point("b", "d", "p2p:a:b").await.unwrap();
    assert_eq!((point.head, point.floor), (13, 9));
    let epoch = point.epoch;
    let cursor = CursorUpdate { uid: uid("b"), device: device("d"), conv: conv("p2p:a:b"), epoch, seq: 11 };
    stores.state.acknowledge(vec![cursor]).await;
    assert_eq!(stores.point("b", "d", "p2p:a:b").await.unwrap().floor, 0, "age is asked only where something waits");
    const { assert!(OFFLINE_MESSAGES_MAX > 13) };
}

/// The list has what memory alone knows, for both users, counts what others sent, and pages.
pub async fn lists(stores: Stores<'_>) {
    super::directory::create_accounts(stores.directory, &["a", "b", "c"]).await;
    stores.directory.create_group("g", "Group", &uid("a"), &[uid("b")], 1).await.unwrap();
    let events = [run("p2p:a:b", "a", 1, 5), run("p2p:a:b", "b", 11, 3), run("group:g", "b", 21, 2)].concat();
    stores.number(&events).await;
    for archived in [0, 3, 6, 10] {
        stores.archive(&events[..archived], archived as u64).await;
        for (user, unread_pair, name, unread_group) in [("a", 3, "B", 2), ("b", 5, "A", 0)] {
            let list = stores.state.conversations(&uid(user), "", 10).await.unwrap();
            let [group, pair] = &list.items[..] else { panic!("two conversations for {user}") };
            assert_eq!((group.conv.as_str(), group.name.as_str(), group.head), ("group:g", "Group", 2));
            assert_eq!((pair.conv.as_str(), pair.name.as_str(), pair.head), ("p2p:a:b", name, 8));
            assert_eq!((pair.unread, group.unread), (unread_pair, unread_group), "{user}, {archived} archived");
            assert_eq!(pair.last.as_ref().map(|last| (last.seq, last.from.as_str())), Some((8, "b")));
            assert!(!list.more);
        }
    }
    assert!(stores.state.conversations(&uid("c"), "", 10).await.unwrap().items.is_empty());
    let first = stores.state.conversations(&uid("a"), "", 1).await.unwrap();
    assert!(first.more && first.items.len() == 1);
    let second = stores.state.conversations(&uid("a"), &first.items[0].conv, 1).await.unwrap();
    assert!(!second.more && second.items[0].conv == "p2p:a:b");
}

/// A read mark counts at once, rises only, and stays when its event is archived.
pub async fn read_marks(stores: Stores<'_>) {
    let (id, b) = (conv("p2p:a:b"), uid("b"));
    stores.archive(&run("p2p:a:b", "a", 1, 6), 6).await;
    let unread = async || {
        let list = stores.state.conversations(&b, "", 10).await.unwrap();
        (list.items[0].read, list.items[0].unread)
    };
    assert_eq!(unread().await, (0, 6));
    stores.state.mark_read(&id, &b, 4).await;
    stores.state.mark_read(&id, &b, 2).await;
    assert_eq!(unread().await, (4, 2));
    for (seq, offset, expected) in [(4, 7, (4, 2)), (2, 8, (4, 2)), (99, 9, (6, 0))] {
        let read = ReadEvent { conv: "p2p:a:b".into(), uid: "b".into(), seq, ts_ms: 1 };
        let batch = ArchiveBatch { reads: vec![read], next_offset: LogOffset(offset), ..ArchiveBatch::default() };
        stores.archive.commit(&batch).await.unwrap();
        stores.upkeep.archived(&batch).await.unwrap();
        assert_eq!(unread().await, expected);
    }
}
