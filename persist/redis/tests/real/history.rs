//! A little system around the state: senders that append and number, a daemon that archives, and a check of what came of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringway_engine::event::MessageEvent;
use ringway_redis::RedisState;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, message};
use ringway_store::ports::{
    Archive as _, ArchiveBatch, CommitError, LogOffset, NumberedMessage, PageFrom, SharedState, Upkeep as _,
};

use crate::harness::{Sql, until};

const CONVERSATIONS: [&str; 3] = ["p2p:a:b", "p2p:a:c", "group:g"];

/// What happened.
#[derive(Default)]
pub(crate) struct History {
    /// In the order appended; a message is durable once it is here.
    log: Mutex<Vec<Arc<MessageEvent>>>,
    /// Every number that was told to anyone.
    given: Mutex<HashMap<(String, u64, u64), u64>>,
    archived: AtomicUsize,
    /// Numbering calls that failed.
    failures: AtomicUsize,
    stop_sending: AtomicBool,
}

impl History {
    pub(crate) fn acknowledged(&self) -> usize {
        self.given.lock().unwrap().len()
    }

    pub(crate) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }

    fn note(&self, of: &str, epoch: u64, seq: u64, msg_id: u64) {
        let before = self.given.lock().unwrap().insert((of.to_owned(), epoch, seq), msg_id);
        assert!(before.is_none_or(|before| before == msg_id), "{of} {epoch}/{seq} is {before:?} and {msg_id}");
    }

    /// A sender: one message in flight, each appended, then numbered until that succeeds.
    async fn send(&self, state: &RedisState, sender: &str) {
        for n in 1_u64.. {
            if self.stop_sending.load(Ordering::Relaxed) {
                return;
            }
            let of = CONVERSATIONS[usize::try_from(n).unwrap() % CONVERSATIONS.len()];
            let event = {
                let mut log = self.log.lock().unwrap();
                let event = message(of, sender, &format!("c-{n}"), log.len() as u64 + 1, now_ms());
                log.push(Arc::clone(&event));
                event
            };
            loop {
                match state.number(std::slice::from_ref(&event)).await {
                    Ok(numbers) => {
                        self.note(of, numbers[0].epoch, numbers[0].seq, numbers[0].msg_id);
                        break;
                    }
                    Err(_) => {
                        self.failures.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The daemon: numbers the log in its order, archives, and numbers again what is stale.
    async fn archive(&self, state: &RedisState, sql: &Sql) {
        loop {
            let at = self.archived.load(Ordering::Relaxed);
            let events: Vec<_> = self.log.lock().unwrap().iter().skip(at).take(64).cloned().collect();
            if events.is_empty() {
                if self.stop_sending.load(Ordering::Relaxed) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            }
            if let Some(batch) = self.number_batch(state, &events, at + events.len()).await {
                match sql.archive.commit(&batch).await {
                    Ok(()) => self.archived.store(at + events.len(), Ordering::Relaxed),
                    Err(CommitError::Stale { .. }) => continue,
                    Err(error) => panic!("{error}"),
                }
                // Should it be lost, the watch finds out.
                let _ = state.archived(&batch).await;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn number_batch(
        &self,
        state: &RedisState,
        events: &[Arc<MessageEvent>],
        next: usize,
    ) -> Option<ArchiveBatch> {
        let Ok(numbers) = state.number(events).await else {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let mut messages = Vec::new();
        for (event, number) in events.iter().zip(numbers) {
            assert_eq!(number.msg_id, event.msg_id, "no sender repeats itself here");
            self.note(&event.conv, number.epoch, number.seq, number.msg_id);
            messages.push(NumberedMessage { event: Arc::clone(event), epoch: number.epoch, seq: number.seq });
        }
        Some(ArchiveBatch { messages, next_offset: LogOffset(next as u64), ..ArchiveBatch::default() })
    }

    /// Runs two senders on two nodes, and a daemon, through `fault`.
    pub(crate) async fn run(
        &self,
        sql: &Sql,
        nodes: [&RedisState; 2],
        daemon: &RedisState,
        fault: impl AsyncFnOnce(&History),
    ) {
        let enough = 60;
        let script = async {
            until("the first numbers", async || self.acknowledged() >= enough).await;
            fault(self).await;
            let before = self.acknowledged();
            until("numbers after the fault", async || self.acknowledged() >= before + enough).await;
            self.stop_sending.store(true, Ordering::Relaxed);
        };
        tokio::join!(self.send(nodes[0], "a"), self.send(nodes[1], "b"), self.archive(daemon, sql), script,);
        self.check(sql).await;
    }

    /// Every message once, numbers without a hole, every sender in order.
    async fn check(&self, sql: &Sql) {
        let log = self.log.lock().unwrap().clone();
        let mut of_archive: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for of in CONVERSATIONS {
            let (mut after, mut last): (u64, HashMap<String, u64>) = (0, HashMap::new());
            loop {
                let page = sql.archive.page(&conv(of), PageFrom::After(after), 500).await.unwrap();
                if page.is_empty() {
                    break;
                }
                for item in page {
                    after += 1;
                    assert_eq!(item.seq, after, "{of} has a hole");
                    assert!(of_archive.insert(item.msg_id, (item.epoch, item.seq)).is_none(), "archived twice");
                    let before = last.insert(item.from.clone(), item.msg_id).unwrap_or(0);
                    assert!(before < item.msg_id, "{of}: {} says {before} before {}", item.from, item.msg_id);
                }
            }
        }
        assert_eq!(of_archive.len(), log.len(), "all that was appended is archived");
    }
}
