//! Batches of the hubs: append first, then number.
//!
//! All batches of one turn go into the log by one append; while it is being flushed the next turn's batches
//! gather. A conversation has one batch in flight at a time, so appends of one conversation follow each
//! other, and its numbers follow the order of the log: a restart that numbers the log again gives the same.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringway_engine::conversation::Number;
use ringway_engine::effect::Batch;
use ringway_engine::errors::ErrorCode;
use ringway_engine::event::{MessageEvent, encode_message};
use ringway_engine::ids::ConversationId;
use ringway_engine::limits::{APPEND_BYTES_MAX, UNARCHIVED_BYTES_MAX};
use ringway_store::ports::{AppendError, NewRecord, Numbered, StoreError};

use super::Uplink;
use crate::clock;
use crate::mail::ToShard;
use crate::trace::{Hop, Station};

/// Pause between the tries of a numbering call. On a single node there is no last one: the batch is durable, so it
/// will be numbered, and refusing it would keep from the members what the log holds.
const NUMBER_PAUSE_MS: u64 = 50;
/// Among several nodes the numbers are given by a server that may be away for long, and the daemon numbers what is in
/// the log too: after this long the senders are told to come again, and get the same numbers then. Whatever comes after
/// them in their conversations waits for that ([`super::unnumbered`]).
const NUMBER_LIMIT_MS: u64 = 5_000;
/// What a record takes beside its body, at most.
const ENVELOPE_BYTES: usize = 512;

/// One hub's batch.
pub(super) struct Commit {
    pub(super) home: u16,
    pub(super) conv: ConversationId,
    pub(super) entries: Batch,
    pub(super) at: Instant,
}

impl Commit {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.event.body.len() + ENVELOPE_BYTES).sum()
    }

    fn has_retry(&self) -> bool {
        self.entries.iter().any(|entry| entry.retry)
    }
}

/// A batch with its numbers.
pub(super) struct Numbers {
    pub(super) conv: ConversationId,
    pub(super) entries: Batch,
    pub(super) numbers: Vec<Number>,
}

/// Messages that are not in the log yet.
#[derive(Default)]
struct Fresh {
    events: Vec<Arc<MessageEvent>>,
    records: Vec<NewRecord>,
}

/// Divides a turn's batches: each part fits one append, and a batch with a repeat, which may have to ask the
/// archive first, keeps nobody else waiting.
pub(super) fn parts(commits: Vec<Commit>) -> Vec<Vec<Commit>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for commit in commits {
        if commit.has_retry() {
            parts.push(vec![commit]);
            continue;
        }
        bytes += commit.bytes();
        if bytes > APPEND_BYTES_MAX && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bytes = commit.bytes();
        }
        part.push(commit);
    }
    parts.push(part);
    parts.retain(|part| !part.is_empty());
    parts
}

impl Uplink {
    /// Makes batches durable and numbers them; each hub gets its answer.
    pub(super) async fn commit(self: Rc<Self>, commits: Vec<Commit>) {
        let result = self.number_durably(&commits).await;
        match result {
            Ok(numbers) => {
                let mut left = numbers.into_iter();
                let mut told = Vec::new();
                for mut commit in commits {
                    let numbers: Vec<Number> = left.by_ref().take(commit.entries.len()).collect();
                    if self.ports.cluster.is_some() {
                        let entries = std::mem::take(&mut commit.entries);
                        told.push(Numbers { conv: commit.conv.clone(), entries, numbers: numbers.clone() });
                    }
                    self.committed(commit, Ok(numbers));
                }
                // The senders do not wait for other nodes.
                self.tell_nodes(&told).await;
            }
            Err(code) => {
                for commit in commits {
                    self.metrics.counters.failed.add(commit.entries.len() as u64);
                    self.committed(commit, Err(code));
                }
            }
        }
    }

    fn committed(&self, commit: Commit, result: Result<Vec<Number>, ErrorCode>) {
        let audience = self.state.borrow().routes.audience(&commit.conv);
        let Commit { home, conv, at, .. } = commit;
        self.tell(home, ToShard::Committed { conv, result, audience, at });
    }

    async fn number_durably(&self, commits: &[Commit]) -> Result<Vec<Number>, ErrorCode> {
        if self.ports.state.unarchived_bytes() > UNARCHIVED_BYTES_MAX {
            return Err(ErrorCode::Busy);
        }
        self.number_unnumbered(commits).await?;
        let known = self.known(commits).await?;
        let entries = || commits.iter().flat_map(|commit| &commit.entries);
        let keys =
            commits.iter().flat_map(|commit| std::iter::repeat_n(commit.conv.stable_hash(), commit.entries.len()));
        let mut fresh = Fresh::default();
        for ((entry, key), _) in entries().zip(keys).zip(&known).filter(|(_, known)| known.is_none()) {
            fresh.records.push(NewRecord { key, bytes: encode_message(&entry.event) });
            fresh.events.push(Arc::clone(&entry.event));
        }
        let mut numbers =
            if fresh.events.is_empty() { Vec::new() } else { self.append_and_number(fresh).await? }.into_iter();
        let all: Vec<Number> =
            known.into_iter().filter_map(|known| known.or_else(|| numbers.next()).map(number)).collect();
        // Fewer numbers than messages would pair them wrongly: then nothing is acknowledged.
        if all.len() == entries().count() { Ok(all) } else { Err(ErrorCode::Internal) }
    }

    /// What these conversations have in the log without a number gets it, before more of them is logged.
    async fn number_unnumbered(&self, commits: &[Commit]) -> Result<(), ErrorCode> {
        let events = {
            let mut state = self.state.borrow_mut();
            state.unnumbered.take(commits.iter().map(|commit| commit.conv.as_str()))
        };
        if !events.is_empty() {
            self.number(&events).await?;
        }
        Ok(())
    }

    /// Numbers that repeats had before.
    async fn known(&self, commits: &[Commit]) -> Result<Vec<Option<Numbered>>, ErrorCode> {
        let mut known = Vec::new();
        for commit in commits {
            for entry in &commit.entries {
                let event = &entry.event;
                let found = if entry.retry {
                    let asked = self.ports.state.known(&commit.conv, &event.from, &event.client_msg_id, true).await;
                    asked.map_err(|error| self.store_failed(&error))?
                } else {
                    None
                };
                known.push(found);
            }
        }
        Ok(known)
    }

    async fn append_and_number(&self, fresh: Fresh) -> Result<Vec<Numbered>, ErrorCode> {
        let began = Instant::now();
        let Fresh { events, records } = fresh;
        let events = events.as_slice();
        if let Err(error) = self.ports.log.append(records).await {
            tracing::error!(%error, messages = events.len(), "messages refused: the event log did not take them");
            return Err(match error {
                AppendError::Full(_) => ErrorCode::StorageFull,
                AppendError::Failed(_) => {
                    // Nothing can be acknowledged any more until a restart has recovered the log.
                    self.live.ready.store(false, Ordering::Relaxed);
                    ErrorCode::Unavailable
                }
                AppendError::Unavailable(_) | AppendError::Closed => ErrorCode::Unavailable,
            });
        }
        self.metrics.append_latency.record(began.elapsed().as_micros() as u64);
        self.note_all(Station::Logged, events, None);
        let logged = Instant::now();
        let numbers = self.number(events).await?;
        self.metrics.number_latency.record(logged.elapsed().as_micros() as u64);
        self.metrics.counters.commits.add(1);
        self.metrics.counters.committed.add(events.len() as u64);
        self.note_all(Station::Numbered, events, Some(&numbers));
        Ok(numbers)
    }

    /// Gives numbers to what is in the log. Where that fails for too long, it is remembered as still to be numbered.
    async fn number(&self, events: &[Arc<MessageEvent>]) -> Result<Vec<Numbered>, ErrorCode> {
        let began = Instant::now();
        loop {
            match self.ports.state.number(events).await {
                Ok(numbers) => return Ok(numbers),
                Err(error) => {
                    let code = self.store_failed(&error);
                    if self.ports.cluster.is_some() && began.elapsed() > Duration::from_millis(NUMBER_LIMIT_MS) {
                        self.state.borrow_mut().unnumbered.keep(events, clock::steady_ms());
                        return Err(code);
                    }
                    tokio::time::sleep(Duration::from_millis(NUMBER_PAUSE_MS)).await;
                }
            }
        }
    }

    fn note_all(&self, station: Station, events: &[Arc<MessageEvent>], numbers: Option<&[Numbered]>) {
        let at_us = clock::unix_us();
        let mut state = self.state.borrow_mut();
        for (n, event) in events.iter().enumerate() {
            let seq = numbers.and_then(|numbers| numbers.get(n)).map_or(0, |number| number.seq);
            state.trace.note(Hop { at_us, station, msg_id: event.msg_id, conv: 0, seq, who: 0, shard: u16::MAX });
        }
    }

    /// Logs what a store said and gives the code that tells a client to come again.
    pub(super) fn store_failed(&self, error: &StoreError) -> ErrorCode {
        tracing::warn!(%error, "store could not answer");
        ErrorCode::Unavailable
    }
}

fn number(numbered: Numbered) -> Number {
    let Numbered { epoch, seq, msg_id, ts_ms, .. } = numbered;
    Number { epoch, seq, msg_id, ts_ms }
}
