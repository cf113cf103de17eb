//! The hub under repeats, failures and random order.

use proptest::prelude::*;

use super::*;
use crate::snowflake::EPOCH_MS;

const NOW: u64 = EPOCH_MS + 1_000;
const JSON: Formats = Formats { json: true, protobuf: false };

fn submission(from: &str, n: u64, retry: bool) -> Submission {
    Submission {
        origin: Origin { shard: 0, connection: from.bytes().map(u64::from).sum(), command: n, taken_us: n },
        conv: ConversationId::parse("group:g").unwrap(),
        from: Some(Uid::parse(from).unwrap()),
        client_msg_id: format!("{from}-{n}").into(),
        kind: "text".into(),
        body: format!("body {n}"),
        enc: "".into(),
        retry,
    }
}

/// A hub, the sequencer behind it, and everything it said.
struct World {
    hub: Hub,
    ids: Snowflake,
    frames: Frames,
    effects: Vec<HubEffect>,
    head: u64,
    known: std::collections::HashMap<(String, String), Number>,
}

impl World {
    fn new() -> Self {
        let hub = Hub::new(ConversationId::parse("group:g").unwrap(), NOW);
        Self {
            hub,
            ids: Snowflake::new(1, 0),
            frames: Frames::default(),
            effects: Vec::new(),
            head: 0,
            known: Default::default(),
        }
    }

    fn with_senders(senders: &[&str]) -> Self {
        let mut world = Self::new();
        for sender in senders {
            let uid = Uid::parse(sender).unwrap();
            let allowed = Some(Permission::Allowed);
            world.hub.handle_permission(&uid, allowed, NOW, &mut world.ids, &mut world.effects);
        }
        world
    }

    fn submit(&mut self, message: Submission) {
        self.hub.handle_submit(message, NOW, &mut self.ids, &mut self.effects);
    }

    /// The commit in flight, if there is one: at most one may be.
    fn take_commit(&mut self) -> Option<Batch> {
        self.hub.commit(&mut self.effects);
        let at = self.effects.iter().position(|effect| matches!(effect, HubEffect::Commit(_)))?;
        let HubEffect::Commit(batch) = self.effects.remove(at) else { unreachable!() };
        assert!(!self.effects.iter().any(|effect| matches!(effect, HubEffect::Commit(_))), "two batches in flight");
        Some(batch)
    }

    /// Numbers a batch as the sequencer would.
    fn commit(&mut self, batch: &[BatchEntry]) {
        let mut numbers = Vec::new();
        for entry in batch {
            let key = (entry.event.from.to_string(), entry.event.client_msg_id.to_string());
            let known = self.known.get(&key).copied();
            numbers.push(known.unwrap_or_else(|| {
                self.head += 1;
                let (msg_id, ts_ms) = (entry.event.msg_id, entry.event.ts_ms);
                let number = Number { epoch: 1, seq: self.head, msg_id, ts_ms };
                self.known.insert(key, number);
                number
            }));
        }
        self.hub.handle_committed(Ok(&numbers), JSON, NOW, &mut self.frames, &mut self.effects);
    }

    fn take_deliveries(&mut self) -> Vec<Arc<Delivery>> {
        let (out, rest) =
            std::mem::take(&mut self.effects).into_iter().partition(|e| matches!(e, HubEffect::Deliver(_)));
        self.effects = rest;
        let deliveries: Vec<HubEffect> = out;
        deliveries.into_iter().map(|e| if let HubEffect::Deliver(d) = e { d } else { unreachable!() }).collect()
    }
}

#[test]
fn one_batch_is_in_flight_and_what_comes_meanwhile_is_the_next() {
    let mut world = World::with_senders(&["a"]);
    let ids = |batch: &[BatchEntry]| -> Vec<String> {
        batch.iter().map(|entry| entry.event.client_msg_id.to_string()).collect()
    };
    assert!(!world.hub.is_due());
    for n in 1..=2 {
        world.submit(submission("a", n, false));
    }
    assert!(world.hub.is_due());
    let first = world.take_commit().unwrap();
    assert_eq!(ids(&first), ["a-1", "a-2"]);
    for n in 3..=5 {
        world.submit(submission("a", n, false));
    }
    assert!(!world.hub.is_due() && world.take_commit().is_none());
    world.commit(&first);
    assert_eq!(ids(&world.take_commit().unwrap()), ["a-3", "a-4", "a-5"]);
}

#[test]
fn a_senders_messages_wait_together_for_the_permission_and_keep_their_order() {
    let mut world = World::new();
    for n in 1..=3 {
        world.submit(submission("a", n, false));
    }
    assert!(matches!(world.effects[..], [HubEffect::AskPermission(_)]), "{:?}", world.effects);
    let uid = Uid::parse("a").unwrap();
    world.hub.handle_permission(&uid, Some(Permission::Allowed), NOW, &mut world.ids, &mut world.effects);
    let batch = world.take_commit().unwrap();
    assert_eq!(batch.iter().map(|entry| entry.event.body.as_str()).collect::<Vec<_>>(), ["body 1", "body 2", "body 3"]);
}

#[test]
fn a_denied_sender_is_told_why_and_a_change_is_asked_for_again() {
    let mut world = World::new();
    let uid = Uid::parse("a").unwrap();
    let denied = Some(Permission::Denied(ErrorCode::NotAMember));
    world.submit(submission("a", 1, false));
    world.hub.handle_permission(&uid, denied, NOW, &mut world.ids, &mut world.effects);
    world.submit(submission("a", 2, false));
    let refused = world.effects.iter().filter(|e| matches!(e, HubEffect::Refuse(_, ErrorCode::NotAMember))).count();
    assert_eq!(refused, 2);
    world.hub.handle_permissions_changed(&[uid]);
    world.effects.clear();
    world.submit(submission("a", 3, false));
    assert!(matches!(world.effects[..], [HubEffect::AskPermission(_)]));
}

#[test]
fn a_permission_that_nobody_can_renew_serves_on_for_a_while() {
    let mut world = World::with_senders(&["a"]);
    let uid = Uid::parse("a").unwrap();
    let submit = |world: &mut World, n, at| {
        world.effects.clear();
        world.hub.handle_submit(submission("a", n, false), at, &mut world.ids, &mut world.effects);
        (world.effects.iter().any(|e| matches!(e, HubEffect::AskPermission(_))), world.hub.queue.len())
    };
    let answer = |world: &mut World, permission, at| {
        world.hub.handle_permission(&uid, permission, at, &mut world.ids, &mut world.effects);
    };
    let stale = NOW + PERMISSION_TTL_MS;
    assert_eq!(submit(&mut world, 1, stale - 1), (false, 1));
    assert_eq!(submit(&mut world, 2, stale), (true, 2), "asked for anew, and taken meanwhile");
    assert_eq!(submit(&mut world, 3, stale + 1), (false, 3), "asked for once");
    let told = stale + 5_000;
    answer(&mut world, None, told);
    assert_eq!(submit(&mut world, 4, told + PERMISSION_AGAIN_MS - 1), (false, 4));
    assert_eq!(submit(&mut world, 5, told + PERMISSION_AGAIN_MS), (true, 5));
    let over = told + PERMISSION_AGAIN_MS + PERMISSION_STALE_MS;
    assert_eq!(submit(&mut world, 6, over), (true, 5), "it waits: what is remembered is too old");
    answer(&mut world, None, over);
    assert!(matches!(world.effects[..], [_, HubEffect::Refuse(_, ErrorCode::Unavailable)]), "{:?}", world.effects);
    assert_eq!(submit(&mut world, 7, over + 1), (true, 5), "and does not come back to life");
    answer(&mut world, Some(Permission::Denied(ErrorCode::NotAMember)), over + 2);
    assert!(matches!(world.effects[..], [_, HubEffect::Refuse(_, ErrorCode::NotAMember)]), "{:?}", world.effects);
}

#[test]
fn a_failed_batch_is_never_answered_with_sent() {
    let mut world = World::with_senders(&["a"]);
    world.submit(submission("a", 1, false));
    world.take_commit().unwrap();
    world.hub.handle_committed(Err(ErrorCode::StorageFull), JSON, NOW, &mut world.frames, &mut world.effects);
    assert!(matches!(world.effects[..], [HubEffect::Refuse(_, ErrorCode::StorageFull)]));
}

#[test]
fn the_time_a_command_was_taken_goes_with_its_batch_and_its_answer() {
    let mut world = World::with_senders(&["a"]);
    for taken_us in [11, 12] {
        world.submit(submission("a", taken_us, false));
        let batch = world.take_commit().unwrap();
        assert_eq!(batch[0].taken_us, taken_us);
        world.commit(&batch);
        assert_eq!(world.take_deliveries()[0].items[0].origins[0].taken_us, taken_us);
    }
}

#[test]
fn a_storm_of_one_repeated_send_is_one_message_and_every_repeat_is_answered_alike() {
    let mut world = World::with_senders(&["a"]);
    for repeat in 0..200 {
        world.submit(Submission {
            origin: Origin { shard: 0, connection: 7, command: repeat, taken_us: repeat },
            ..submission("a", 1, repeat > 0)
        });
    }
    let mut answers = Vec::new();
    while let Some(batch) = world.take_commit() {
        world.commit(&batch);
        for delivery in world.take_deliveries() {
            for item in &delivery.items {
                answers.extend(item.origins.iter().map(|origin| (origin.command, item.seq, item.msg_id)));
            }
        }
    }
    assert_eq!((answers.len(), world.head), (200, 1));
    assert!(answers.iter().all(|answer| (answer.1, answer.2) == (1, answers[0].2)));
}

#[test]
fn a_message_is_encoded_once_a_format_that_somebody_reads() {
    let mut world = World::with_senders(&["a"]);
    world.submit(submission("a", 1, false));
    let batch = world.take_commit().unwrap();
    world.commit(&batch);
    let delivery = world.take_deliveries().remove(0);
    let item = &delivery.items[0];
    assert!(!item.json.is_empty() && item.protobuf.is_empty() && delivery.protobuf.is_empty());
    assert_eq!(item.json.end as usize, delivery.json.len());
}

#[test]
fn a_full_hub_says_busy() {
    let mut world = World::with_senders(&["a"]);
    for n in 0..HUB_QUEUE_MAX as u64 + 2 {
        world.submit(submission("a", n, false));
    }
    assert!(matches!(world.effects.last(), Some(HubEffect::Refuse(_, ErrorCode::Busy))));
}

proptest! {
    #[test]
    fn every_send_is_answered_once_in_its_senders_order_and_numbers_are_dense(
        steps in prop::collection::vec((0..3_u8, any::<bool>(), any::<bool>()), 1..300),
    ) {
        let senders = ["a", "b", "c"];
        let mut world = World::with_senders(&senders);
        let mut sent = [0_u64; 3];
        let mut answered: Vec<Vec<(u64, u64)>> = vec![Vec::new(); 3];
        let mut delivered = Vec::new();
        let mut inflight: Option<Batch> = None;
        let mut settle = |world: &mut World, inflight: &mut Option<Batch>| {
            let Some(batch) = inflight.take().or_else(|| world.take_commit()) else { return false };
            assert!(batch.len() <= BATCH_MESSAGES_MAX);
            world.commit(&batch);
            for delivery in world.take_deliveries() {
                for item in &delivery.items {
                    if !item.duplicate {
                        delivered.push(item.seq);
                    }
                    for origin in &item.origins {
                        let who = senders.iter().position(|s| u64::from(s.as_bytes()[0]) == origin.connection).unwrap();
                        answered[who].push((origin.command, item.seq));
                    }
                }
            }
            true
        };
        for (who, retry, step) in steps {
            let who = usize::from(who);
            sent[who] += 1;
            world.submit(submission(senders[who], sent[who], retry));
            inflight = inflight.take().or_else(|| world.take_commit());
            if step {
                settle(&mut world, &mut inflight);
            }
        }
        while settle(&mut world, &mut inflight) {}
        prop_assert_eq!(&delivered, &(1..=sent.iter().sum::<u64>()).collect::<Vec<_>>());
        for (who, count) in sent.iter().enumerate() {
            prop_assert_eq!(answered[who].len() as u64, *count);
            prop_assert!(answered[who].is_sorted(), "{:?}", answered[who]);
        }
        let recent = world.hub.recent_after((1, world.head.saturating_sub(3)), 100).unwrap_or_default();
        prop_assert!(recent.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq));
    }
}
