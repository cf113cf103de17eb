//! Numbering against a model of the rule, with a log that survives while everything in memory dies.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use ringway_engine::event::MessageEvent;
use ringway_engine::limits::DEDUP_MS;
use ringway_store::conformance::shared_state::Stores;
use ringway_store::conformance::{conv, message};
use ringway_store::embedded::EmbeddedState;
use ringway_store::ports::{Archive, PageFrom, SharedState, Upkeep};
use ringway_store::sqlite::{Database, SqliteArchive, SqliteDirectory};

const CONVERSATIONS: [&str; 3] = ["p2p:a:b", "group:g", "sys:a"];

#[derive(Debug, Clone)]
enum Step {
    /// A send with this conversation and client message id, this much later than the last.
    Send(usize, u8, u64),
    /// The daemon archives this many records.
    Archive(usize),
    /// Idle memory goes.
    Forget,
    /// The process dies before anything more is archived.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..CONVERSATIONS.len(), 0..6_u8, 0..DEDUP_MS / 3).prop_map(|(conv, id, later)| Step::Send(conv, id, later)),
        2 => (1..8_usize).prop_map(Step::Archive),
        1 => Just(Step::Forget),
        1 => Just(Step::Crash),
    ]
}

/// The rule of numbering, over the log alone.
#[derive(Default)]
struct Model {
    heads: HashMap<usize, u64>,
    latest: HashMap<(usize, u8), (u64, u64)>,
}

impl Model {
    fn number(&mut self, conv: usize, id: u8, ts_ms: u64) -> u64 {
        if let Some((seq, at)) = self.latest.get(&(conv, id))
            && ts_ms <= at + DEDUP_MS
        {
            return *seq;
        }
        let head = self.heads.entry(conv).or_default();
        *head += 1;
        self.latest.insert((conv, id), (*head, ts_ms));
        *head
    }
}

async fn check(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let (archive, directory) = (SqliteArchive::new(database.clone()), SqliteDirectory::new(database.clone()));
    let mut state = EmbeddedState::open(database.clone()).await.unwrap();
    let mut log: Vec<(Arc<MessageEvent>, u64)> = Vec::new();
    let (mut model, mut now, mut consumed) = (Model::default(), 1_000_u64, 0_usize);
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Send(of, id, later) => {
                now += later;
                let event = message(CONVERSATIONS[*of], "a", &id.to_string(), log.len() as u64 + 1, now);
                let expected = model.number(*of, *id, now);
                log.push((Arc::clone(&event), expected));
                let number = state.number(&[event]).await.unwrap()[0];
                assert_eq!(number.seq, expected, "step {at}");
            }
            Step::Archive(count) => {
                let end = (consumed + count).min(log.len());
                let events: Vec<_> = log[consumed..end].iter().map(|(event, _)| Arc::clone(event)).collect();
                let stores = Stores { state: &state, upkeep: &state, archive: &archive, directory: &directory };
                stores.archive(&events, end as u64).await;
                consumed = end;
            }
            Step::Forget => {
                // Twice, and far apart: what was not used in between goes.
                state.forget_idle(now);
                state.forget_idle(now + 61_000);
            }
            Step::Crash => {
                state = EmbeddedState::open(database.clone()).await.unwrap();
                assert_eq!(archive.consumed_offset().await.unwrap().0, consumed as u64);
                let rest: Vec<_> = log[consumed..].iter().map(|(event, _)| Arc::clone(event)).collect();
                let numbers = state.number(&rest).await.unwrap();
                let expected: Vec<u64> = log[consumed..].iter().map(|(_, seq)| *seq).collect();
                let numbers: Vec<u64> = numbers.iter().map(|number| number.seq).collect();
                assert_eq!(numbers, expected, "the numbers after the crash at step {at}");
            }
        }
    }
    for (of, name) in CONVERSATIONS.iter().enumerate() {
        let page = state.page(&conv(name), PageFrom::After(0), 1_000).await.unwrap();
        let seqs: Vec<u64> = page.items.iter().map(|item| item.seq).collect();
        let head = model.heads.get(&of).copied().unwrap_or(0);
        assert_eq!(seqs, (1..=head).collect::<Vec<_>>(), "{name} is dense");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn numbers_are_dense_unique_and_stable_over_crashes(steps in prop::collection::vec(step(), 1..60)) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(steps));
    }
}

#[tokio::test]
async fn a_batch_whose_numbering_was_dropped_is_numbered_before_later_ones() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(folder.path()).await.unwrap();
    let state = EmbeddedState::open(database).await.unwrap();
    let first = [message("p2p:a:b", "a", "c-1", 1, 1)];
    {
        // Polled once: the conversation's head is being read.
        let mut dropped = state.number(&first);
        assert!(futures_util::poll!(&mut dropped).is_pending());
    }
    let second = state.number(&[message("p2p:a:b", "a", "c-2", 2, 2)]).await.unwrap();
    assert_eq!(second[0].seq, 2, "the order of the log");
    let again = state.number(&first).await.unwrap();
    assert!(again[0].seq == 1 && again[0].duplicate);
}
