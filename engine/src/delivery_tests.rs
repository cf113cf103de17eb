//! A device through losses, slow reading and catch-up.

use proptest::prelude::*;

use super::*;

fn conv() -> ConversationId {
    ConversationId::parse("group:g").unwrap()
}

fn end(last: Option<u64>, head: u64) -> PageEnd {
    PageEnd { epoch: 1, last, head, more: last.is_none_or(|last| last < head) }
}

#[test]
fn a_later_epoch_is_entered_by_reading_from_the_place_of_the_earlier() {
    let mut device = Device::default();
    assert_eq!(device.handle_live(&conv(), (1, 50), 10, 0), Verdict::Push);
    assert_eq!(device.handle_live(&conv(), (2, 44), 10, 0), Verdict::Skip);
    assert_eq!(device.next_page(0), Some(PageRequest { conv: conv(), after: (1, 50) }));
    // Read before the epoch began: what is behind is still behind.
    assert_eq!(device.handle_page(&conv(), end(None, 50)), PageOutcome::Stalled);
    assert_eq!(device.next_page(0), Some(PageRequest { conv: conv(), after: (1, 50) }));
    let page = PageEnd { epoch: 2, last: Some(44), head: 45, more: true };
    assert_eq!(device.handle_page(&conv(), page), PageOutcome::Push);
    assert_eq!(device.next_page(0), Some(PageRequest { conv: conv(), after: (2, 44) }));
    let page = PageEnd { epoch: 2, last: Some(45), head: 45, more: false };
    assert_eq!(device.handle_page(&conv(), page), PageOutcome::Push);
    assert_eq!(device.handle_live(&conv(), (1, 51), 10, 0), Verdict::Skip, "of an epoch that is over");
    assert_eq!(device.handle_live(&conv(), (2, 46), 10, 0), Verdict::Push);
}

#[test]
fn an_empty_page_ends_an_earlier_epoch_only_if_nothing_is_to_come() {
    for (more, expected) in [(true, PageOutcome::Stalled), (false, PageOutcome::Push)] {
        let mut device = Device::default();
        device.handle_backlog(conv(), (1, 50), (2, 44));
        device.next_page(0).unwrap();
        assert_eq!(device.handle_page(&conv(), PageEnd { epoch: 2, last: None, head: 44, more }), expected);
        let next = device.next_page(0);
        assert_eq!(next, more.then(|| PageRequest { conv: conv(), after: (1, 50) }));
    }
}

#[test]
fn a_backlog_is_pushed_before_anything_live() {
    let mut device = Device::default();
    device.handle_backlog(conv(), (1, 2), (1, 5));
    assert_eq!(device.handle_live(&conv(), (1, 6), 10, 0), Verdict::Skip);
    assert_eq!(device.next_page(0), Some(PageRequest { conv: conv(), after: (1, 2) }));
    assert_eq!(device.handle_page(&conv(), end(Some(5), 5)), PageOutcome::Push);
    assert_eq!(
        device.next_page(0),
        Some(PageRequest { conv: conv(), after: (1, 5) }),
        "6 came while the page was read"
    );
    assert_eq!(device.handle_page(&conv(), end(Some(6), 6)), PageOutcome::Push);
    assert_eq!(device.next_page(0), None);
    assert_eq!(device.handle_live(&conv(), (1, 7), 10, 0), Verdict::Push);
}

#[test]
fn one_that_was_overtaken_by_the_first_of_a_conversation_makes_the_device_read() {
    let mut device = Device::default();
    // Its own ones, 9 and 10, were answered before 1 to 8 came from another node.
    device.handle_own(&conv(), (2, 9));
    device.handle_own(&conv(), (2, 10));
    assert_eq!(device.handle_live(&conv(), (2, 9), 10, 0), Verdict::Skip, "shown before");
    assert_eq!(device.handle_live(&conv(), (2, 1), 10, 0), Verdict::Resync);
    assert_eq!(device.handle_live(&conv(), (2, 2), 10, 0), Verdict::Skip);
    device.handle_synced(&conv(), 2, 10, true);
    assert_eq!(device.handle_live(&conv(), (2, 3), 10, 0), Verdict::Skip, "once");
    assert_eq!(device.handle_live(&conv(), (2, 11), 10, 0), Verdict::Push);
    // Where the device stands was told: what lies below it has.
    let mut told = Device::default();
    told.handle_joined(conv(), (2, 9), (2, 9));
    assert_eq!(told.handle_live(&conv(), (2, 8), 10, 0), Verdict::Skip);
}

#[test]
fn what_passes_by_while_a_backlog_is_told_does_not_end_it() {
    let mut device = Device::default();
    device.hold();
    assert_eq!(device.handle_live(&conv(), (2, 1_613), 10, 0), Verdict::Skip);
    device.handle_backlog(conv(), (2, 130), (2, 1_612));
    device.begin(|_| (2, 1_612));
    assert_eq!(device.next_page(0), Some(PageRequest { conv: conv(), after: (2, 130) }));
}

#[test]
fn what_was_lost_below_the_first_that_was_shown_makes_the_device_read() {
    let mut device = Device::default();
    assert_eq!(device.handle_live(&conv(), (2, 9), 10, 0), Verdict::Push);
    assert!(!device.handle_missed(&conv(), 2, 9, 9));
    assert!(device.handle_missed(&conv(), 2, 1, 9));
    assert!(!device.handle_missed(&conv(), 2, 1, 9), "it has been told");
    device.handle_synced(&conv(), 2, 9, true);
    assert!(!device.handle_missed(&conv(), 2, 1, 9));
    assert_eq!(device.handle_live(&conv(), (2, 10), 10, 0), Verdict::Push);
}

#[test]
fn what_was_shown_and_is_not_acknowledged_is_to_be_read() {
    let mut device = Device::default();
    assert!(!device.handle_unacknowledged(&conv(), (1, 5)));
    assert_eq!(device.handle_live(&conv(), (1, 5), 10, 0), Verdict::Push);
    assert!(!device.handle_unacknowledged(&conv(), (1, 6)), "it was never shown");
    assert!(device.handle_unacknowledged(&conv(), (1, 5)));
    assert!(!device.handle_unacknowledged(&conv(), (1, 5)), "it has been told");
    device.handle_synced(&conv(), 1, 5, true);
    assert_eq!(device.handle_live(&conv(), (1, 6), 10, 0), Verdict::Push);
}

#[test]
fn a_device_that_does_not_read_is_told_once_and_resumes_after_its_sync() {
    let mut device = Device::default();
    assert_eq!(device.handle_live(&conv(), (1, 1), 10, 0), Verdict::Push);
    assert_eq!(device.handle_live(&conv(), (1, 2), 10, DELIVERY_QUEUED_BYTES_MAX), Verdict::Resync);
    assert_eq!(device.handle_live(&conv(), (1, 3), 10, 0), Verdict::Skip);
    device.handle_synced(&conv(), 1, 2, false);
    assert_eq!(device.handle_live(&conv(), (1, 4), 10, 0), Verdict::Skip);
    device.handle_synced(&conv(), 1, 3, true);
    assert_eq!(
        device.next_page(0),
        Some(PageRequest { conv: conv(), after: (1, 3) }),
        "4 came after the sync was read"
    );
    assert_eq!(device.handle_page(&conv(), end(Some(4), 4)), PageOutcome::Push);
    assert_eq!(device.handle_live(&conv(), (1, 5), 10, 0), Verdict::Push);
}

#[test]
fn what_passes_by_while_the_device_is_attached_becomes_backlog_unless_it_was_counted() {
    for (known, expected) in [(3, None), (2, Some(2)), (0, Some(0))] {
        let mut device = Device::default();
        device.hold();
        for seq in 1..=3 {
            assert_eq!(device.handle_live(&conv(), (1, seq), 10, 0), Verdict::Skip);
        }
        device.begin(|_| (1, known));
        assert_eq!(device.next_page(0).map(|page| page.after.1), expected, "head known: {known}");
    }
}

#[test]
fn a_page_waits_for_room_in_the_queue() {
    let mut device = Device::default();
    device.handle_backlog(conv(), (1, 0), (1, 500));
    assert_eq!(device.next_page(DELIVERY_LOW_WATER_BYTES + 1), None);
    assert!(device.next_page(DELIVERY_LOW_WATER_BYTES).is_some());
    assert_eq!(device.next_page(0), None, "one page in flight");
}

#[test]
fn a_hole_upstream_stalls_the_backlog_without_losing_it() {
    let mut device = Device::default();
    device.handle_backlog(conv(), (1, 0), (1, 5));
    device.next_page(0).unwrap();
    assert_eq!(device.handle_page(&conv(), end(None, 5)), PageOutcome::Stalled);
    assert_eq!(device.next_page(0), Some(PageRequest { conv: conv(), after: (1, 0) }));
}

#[test]
fn leaving_a_conversation_ends_its_backlog() {
    let mut device = Device::default();
    device.handle_backlog(conv(), (1, 0), (1, 5));
    device.next_page(0).unwrap();
    device.handle_left(&conv());
    assert_eq!(device.handle_page(&conv(), end(Some(5), 5)), PageOutcome::Ignore);
    assert_eq!(device.next_page(0), None);
}

#[test]
fn only_the_highest_acknowledgement_is_handed_on() {
    let mut device = Device::default();
    assert!(device.handle_ack(conv(), 1, 5));
    assert!(!device.handle_ack(conv(), 1, 9));
    assert!(!device.handle_ack(conv(), 1, 7));
    assert_eq!(device.take_acks(), [(conv(), 1, 9)]);
    assert!(device.take_acks().is_empty());
}

/// What may happen to one device in one conversation.
#[derive(Debug, Clone)]
enum Step {
    Live { bytes: usize },
    Own,
    Lost(u8),
    Page { size: u8 },
    Sync,
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_000_usize).prop_map(|bytes| Step::Live { bytes }),
        1 => Just(Step::Own),
        1 => (1..4_u8).prop_map(Step::Lost),
        3 => (0..20_u8).prop_map(|size| Step::Page { size }),
        1 => Just(Step::Sync),
        2 => Just(Step::Drain),
    ]
}

proptest! {
    /// The device sees every number once and in order (its own by `sent`), or knows that it must sync.
    #[test]
    fn whatever_is_lost_or_slow_the_device_sees_a_dense_rising_run(steps in prop::collection::vec(step(), 1..400)) {
        let mut device = Device::default();
        let (mut head, mut seen, mut queued, mut resync) = (0_u64, 0_u64, 0_usize, false);
        let mut own: Vec<u64> = Vec::new();
        let mut paging: Option<PageRequest> = None;
        for step in steps {
            match step {
                Step::Live { bytes } => {
                    head += 1;
                    match device.handle_live(&conv(), (1, head), bytes, queued) {
                        Verdict::Push => {
                            prop_assert!(!resync && paging.is_none());
                            while own.contains(&(seen + 1)) { seen += 1; }
                            prop_assert_eq!(head, seen + 1);
                            seen = head;
                            queued += bytes;
                            prop_assert!(queued <= DELIVERY_QUEUED_BYTES_MAX);
                        }
                        Verdict::Resync => { prop_assert!(!resync); resync = true; }
                        Verdict::Skip => {}
                    }
                }
                Step::Own => { head += 1; own.push(head); device.handle_own(&conv(), (1, head)); }
                Step::Lost(count) => {
                    let first = head + 1;
                    head += u64::from(count);
                    prop_assert!(!device.handle_missed(&conv(), 1, first, head), "nothing overtook another");
                }
                Step::Page { size } => {
                    if paging.is_none() { paging = device.next_page(queued); }
                    if let Some(page) = paging.take() {
                        let last = (page.after.1 + u64::from(size)).min(head);
                        let some = (last > page.after.1).then_some(last);
                        if device.handle_page(&conv(), end(some, head)) == PageOutcome::Push && some.is_some() {
                            prop_assert!(!resync);
                            while own.contains(&(seen + 1)) && seen < page.after.1 { seen += 1; }
                            prop_assert!(page.after.1 <= seen, "page after {:?} but seen {}", page.after, seen);
                            seen = seen.max(last);
                        }
                    }
                }
                Step::Sync if resync => { seen = head; resync = false; device.handle_synced(&conv(), 1, head, true); }
                Step::Sync => {}
                Step::Drain => queued = 0,
            }
        }
        // Everything still outstanding comes by pages, once there is room; the client syncs if it was told to.
        if resync { seen = head; device.handle_synced(&conv(), 1, head, true); }
        while let Some(page) = paging.take().or_else(|| device.next_page(0)) {
            let last = (page.after.1 + 7).min(head);
            device.handle_page(&conv(), end((last > page.after.1).then_some(last), head));
            seen = seen.max(last);
        }
        while own.contains(&(seen + 1)) { seen += 1; }
        prop_assert_eq!(seen, head);
    }
}
