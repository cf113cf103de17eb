//! Numbering: one script a conversation, many conversations at once.
//!
//! ```text
//!   batch ──by conversation──► turns ──► script ──► numbered
//!                                 ▲         ├─ start: read from SQL where the conversation's numbers start ─┐
//!                                 │         ├─ ask: look the sends up in the archive                        ├─► again
//!                                 └─────────┴─ fence: the epoch is over; settle the next one ───────────────┘
//! ```
//!
//! A send is looked up in the archive only when an earlier one may be unknown to Redis: its key may have
//! expired, or belong to an epoch that is over (see [`Trust`]). Everything that SQL told is
//! dropped when the epoch changes, and read again.
//!
//! A call that fails or is dropped may have numbered some of its messages; the next one answers the same
//! numbers for them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use fred::types::Value;
use ringway_engine::event::MessageEvent;
use ringway_engine::ids::{ConversationId, ConversationKind};
use ringway_engine::limits::{DEDUP_ARCHIVE_MS, DEDUP_MS};
use ringway_store::ports::{HeldNumber, Numbered, Start, StoreError};

use crate::fence::{Working, text};
use crate::held;
use crate::limits::{
    CLOCK_SKEW_MS, EPOCH_CHANGES_MAX, LACKING_ROUNDS_MAX, SCRIPT_BYTES_MAX, SCRIPT_MESSAGES_MAX, UNARCHIVED_MS_MAX,
};
use crate::reply::Reply;
use crate::script::{ADD, KNOWN, NUMBER, NUMBER_LOGGED};
use crate::state::{Shared, now_ms};
use crate::together::together;

/// A message on its way.
#[derive(Debug)]
struct Entry {
    event: Arc<MessageEvent>,
    /// Place in the caller's batch; none for what an earlier epoch left.
    at: Option<usize>,
    /// The archive was asked, and knows this.
    archive: Option<Option<HeldNumber>>,
}

/// The messages of one conversation, in order.
#[derive(Debug)]
struct Turn {
    conv: String,
    entries: Vec<Entry>,
    /// How many of them have their number.
    done: usize,
    start: Option<Start>,
}

/// Whether Redis would know every earlier message that one may repeat, itself included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// All of them were numbered in this epoch, and none has been forgotten.
    Whole,
    /// Some may have been numbered before this epoch. Then they are archived: what an epoch leaves unarchived is
    /// numbered again. So where the archive held nothing when the epoch began, there are none.
    Early,
    /// Redis may have forgotten some.
    Forgotten,
}

impl Trust {
    /// As the script takes it.
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "new",
            Self::Early => "early",
            Self::Forgotten => "ask",
        }
    }
}

/// What one script answered.
enum Answer {
    Fence,
    Start,
    /// Places in the chunk.
    Ask(Vec<usize>),
    Numbered(Given),
}

/// Numbers of one chunk.
struct Given {
    head: u64,
    lowest: u64,
    fresh: bool,
    numbers: Vec<(HeldNumber, bool)>,
}

fn numbered(number: HeldNumber, duplicate: bool) -> Numbered {
    Numbered { epoch: number.epoch, seq: number.seq, msg_id: number.msg_id, ts_ms: number.ts_ms, duplicate }
}

impl Turn {
    /// The entries of the next script.
    fn chunk(&self) -> &[Entry] {
        let rest = self.entries.get(self.done..).unwrap_or_default();
        let mut bytes = 0;
        let fits = rest.iter().take(SCRIPT_MESSAGES_MAX).take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.event.body.len().max(1);
            first || bytes <= SCRIPT_BYTES_MAX
        });
        let count = fits.count();
        rest.get(..count).unwrap_or_default()
    }
}

/// What earlier epochs left of a conversation.
fn owed_turn(shared: &Shared, conv: &str, epoch: u64) -> Turn {
    let owed = shared.unsettled().owed(conv, epoch);
    let owed = owed.into_iter().map(|event| Entry { event, at: None, archive: None });
    Turn { conv: conv.to_owned(), entries: owed.collect(), done: 0, start: None }
}

/// One turn for each conversation: what earlier epochs left of it first, then its messages of the batch.
fn turns(shared: &Shared, batch: &[Arc<MessageEvent>], epoch: u64) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (at, event) in batch.iter().enumerate() {
        let place = *places.entry(&event.conv).or_insert_with(|| {
            turns.push(owed_turn(shared, &event.conv, epoch));
            turns.len() - 1
        });
        if let Some(turn) = turns.get_mut(place) {
            turn.entries.push(Entry { event: Arc::clone(event), at: Some(at), archive: None });
        }
    }
    turns
}

impl Shared {
    pub(crate) async fn number_batch(&self, batch: &[Arc<MessageEvent>]) -> Result<Vec<Numbered>, StoreError> {
        for _ in 0..EPOCH_CHANGES_MAX {
            let working = self.fence.working(&self.connection).await?;
            let owes = || batch.iter().any(|event| self.unsettled().owes(&event.conv, working.epoch));
            // There may be very many of them: one call numbers them, and those beside it wait for that.
            let _turn = if owes() { Some(self.renumbering.lock().await) } else { None };
            let mut numbers = vec![None; batch.len()];
            match self.number_under(working, turns(self, batch, working.epoch), &mut numbers).await? {
                None => {
                    let numbers: Option<Vec<Numbered>> = numbers.into_iter().collect();
                    return numbers.ok_or_else(|| StoreError::new("redis", "a message was left without its number"));
                }
                Some(conv) => {
                    let marker = self.connection.keys.marker(&conv);
                    self.fence.settle(&self.connection, Some((working.epoch, &marker))).await?;
                }
            }
        }
        Err(StoreError::new("redis", "the epoch changes faster than messages are numbered"))
    }

    /// Numbers what earlier epochs left of these conversations, and answers how many messages that were.
    pub(crate) async fn number_owed(&self, convs: &[String]) -> Result<usize, StoreError> {
        let _turn = self.renumbering.lock().await;
        let working = self.fence.working(&self.connection).await?;
        let turns: Vec<Turn> = convs.iter().map(|conv| owed_turn(self, conv, working.epoch)).collect();
        let count = turns.iter().map(|turn| turn.entries.len()).sum();
        match self.number_under(working, turns, &mut []).await? {
            None => Ok(count),
            Some(conv) => {
                let marker = self.connection.keys.marker(&conv);
                self.fence.settle(&self.connection, Some((working.epoch, &marker))).await?;
                Err(StoreError::new("redis", "the epoch ended while messages of earlier ones were numbered"))
            }
        }
    }

    /// Numbers under one epoch; answers a conversation whose server refused it.
    async fn number_under(
        &self,
        working: Working,
        mut turns: Vec<Turn>,
        numbers: &mut [Option<Numbered>],
    ) -> Result<Option<String>, StoreError> {
        let mut lacking_rounds = 0;
        loop {
            turns.retain(|turn| turn.done < turn.entries.len());
            if turns.is_empty() {
                return Ok(None);
            }
            let calls = turns.iter().map(|turn| self.call_number(working, turn)).collect();
            let answers: Vec<Answer> = together(calls).await?;
            if let Some((turn, _)) = turns.iter().zip(&answers).find(|(_, answer)| matches!(answer, Answer::Fence)) {
                return Ok(Some(turn.conv.clone()));
            }
            let (mut starts, mut asked) = (Vec::new(), Vec::new());
            let mut fresh = Vec::new();
            for (at, (turn, answer)) in turns.iter_mut().zip(answers).enumerate() {
                match answer {
                    Answer::Fence => {}
                    Answer::Start => starts.push(at),
                    Answer::Ask(places) => asked.extend(places.into_iter().map(|place| (at, turn.done + place))),
                    Answer::Numbered(given) => {
                        lacking_rounds = 0;
                        if given.fresh {
                            fresh.push(turn.conv.clone());
                        }
                        self.take(working, turn, given, numbers);
                    }
                }
            }
            // Before anyone is told: whoever asks for the user's conversations from now on finds it.
            self.remember_fresh(&fresh).await?;
            if starts.is_empty() && asked.is_empty() {
                continue;
            }
            lacking_rounds += 1;
            if lacking_rounds > LACKING_ROUNDS_MAX {
                return Err(StoreError::new("redis", "a conversation does not take its start"));
            }
            self.read_starts(&mut turns, &starts).await?;
            self.read_sends(&mut turns, &asked).await?;
        }
    }

    async fn call_number(&self, working: Working, turn: &Turn) -> Result<Answer, StoreError> {
        let chunk = turn.chunk();
        let (keys_of, now) = (&self.connection.keys, now_ms());
        let (conv, mut keys) = (turn.conv.as_str(), Vec::with_capacity(chunk.len() + 4));
        keys.extend([keys_of.marker(conv), keys_of.seq(conv), keys_of.recent(conv), keys_of.holes(conv)]);
        let mut arguments = Vec::with_capacity(4 + 4 * chunk.len());
        arguments.extend([text(working.epoch), text(DEDUP_MS), text(UNARCHIVED_MS_MAX)]);
        arguments.push(Value::from(turn.start.as_ref().map_or_else(String::new, start_text)));
        for Entry { event, archive, .. } in chunk {
            keys.push(keys_of.send(&turn.conv, &event.from, &event.client_msg_id));
            let unknown = match archive {
                Some(Some(number)) => held::write(number),
                Some(None) => "none".to_owned(),
                None => self.trust(working, event.ts_ms, now).name().to_owned(),
            };
            arguments.extend([text(event.msg_id), text(event.ts_ms), Value::Bytes(held::member(event))]);
            arguments.push(Value::from(unknown));
        }
        let script = if self.config.makes_room { &NUMBER_LOGGED } else { &NUMBER };
        let mut reply = Reply::new(self.connection.call(script, keys, arguments).await?)?;
        match reply.text()?.as_str() {
            "fence" => Ok(Answer::Fence),
            "start" => Ok(Answer::Start),
            "ask" => {
                let mut places = Vec::new();
                while !reply.is_empty() {
                    places.push(usize::try_from(reply.number()?).unwrap_or(0).saturating_sub(1));
                }
                Ok(Answer::Ask(places))
            }
            _ => given(working.epoch, chunk, reply).map(Answer::Numbered),
        }
    }

    /// Notes what a script gave.
    fn take(&self, working: Working, turn: &mut Turn, given: Given, numbers: &mut [Option<Numbered>]) {
        let mut unarchived = Vec::new();
        let entries = turn.entries.get(turn.done..).unwrap_or_default();
        for (entry, (number, duplicate)) in entries.iter().zip(&given.numbers) {
            if let Some(place) = entry.at.and_then(|at| numbers.get_mut(at)) {
                *place = Some(numbered(*number, *duplicate));
            }
            let waits = number.epoch == working.epoch && given.lowest > 0 && number.seq >= given.lowest;
            if waits && number.msg_id == entry.event.msg_id {
                unarchived.push((number.epoch, number.seq, Arc::clone(&entry.event)));
            } else {
                // Archived, or a repeat of another message: it is owed nothing.
                self.unsettled().archived(&turn.conv, number.epoch, number.seq, entry.event.msg_id);
            }
        }
        turn.done += given.numbers.len();
        let [calls, messages] = &self.numbering;
        calls.fetch_add(1, Relaxed);
        messages.fetch_add(given.numbers.len() as u64, Relaxed);
        let mut unsettled = self.unsettled();
        unsettled.insert(unarchived, Instant::now());
        unsettled.archived_below(&turn.conv, working.epoch, given.lowest, given.head);
    }

    async fn read_starts(&self, turns: &mut [Turn], lacking: &[usize]) -> Result<(), StoreError> {
        if lacking.is_empty() {
            return Ok(());
        }
        let convs: Vec<String> = lacking.iter().filter_map(|at| Some(turns.get(*at)?.conv.clone())).collect();
        let names: Vec<&str> = convs.iter().map(String::as_str).collect();
        let starts = self.epochs.starts(&names).await?;
        for (at, start) in lacking.iter().zip(starts) {
            if let Some(turn) = turns.get_mut(*at) {
                turn.start = Some(start);
            }
        }
        Ok(())
    }

    async fn read_sends(&self, turns: &mut [Turn], asked: &[(usize, usize)]) -> Result<(), StoreError> {
        if asked.is_empty() {
            return Ok(());
        }
        let events: Vec<Arc<MessageEvent>> = asked
            .iter()
            .filter_map(|(turn, entry)| Some(Arc::clone(&turns.get(*turn)?.entries.get(*entry)?.event)))
            .collect();
        let sends: Vec<(&str, &str, &str)> = events
            .iter()
            .map(|event| (event.conv.as_str(), event.from.as_str(), event.client_msg_id.as_str()))
            .collect();
        let found: HashMap<usize, HeldNumber> = self.records.sends(&sends).await?.into_iter().collect();
        for (place, (turn, entry)) in asked.iter().enumerate() {
            if let Some(entry) = turns.get_mut(*turn).and_then(|turn| turn.entries.get_mut(*entry)) {
                entry.archive = Some(found.get(&place).copied());
            }
        }
        Ok(())
    }

    /// Makes conversations known to their users that SQL does not know yet.
    async fn remember_fresh(&self, convs: &[String]) -> Result<(), StoreError> {
        let mut calls = Vec::new();
        for conv in convs {
            calls.extend(parties(conv).into_iter().map(|uid| self.remember_for(uid, conv)));
        }
        together(calls).await.map(drop)
    }

    async fn remember_for(&self, uid: String, conv: &str) -> Result<(), StoreError> {
        let key = self.connection.keys.fresh(&uid);
        self.connection.call(&ADD, vec![key], vec![text(UNARCHIVED_MS_MAX), Value::from(conv)]).await.map(drop)
    }

    /// See [`Trust`]; of one taken at `ts_ms`.
    pub(crate) fn trust(&self, working: Working, ts_ms: u64, now_ms: u64) -> Trust {
        let earliest = ts_ms.saturating_sub(DEDUP_MS + CLOCK_SKEW_MS);
        if earliest.saturating_add(self.config.dedup_s * 1_000) < now_ms {
            Trust::Forgotten
        } else if earliest < working.started_ms {
            Trust::Early
        } else {
            Trust::Whole
        }
    }

    pub(crate) async fn known_send(
        &self,
        conv: &str,
        from: &str,
        client_msg_id: &str,
        retry: bool,
    ) -> Result<Option<Numbered>, StoreError> {
        let (now, keys) = (now_ms(), &self.connection.keys);
        for _ in 0..EPOCH_CHANGES_MAX {
            let working = self.fence.working(&self.connection).await?;
            let marker = keys.marker(conv);
            let names = vec![marker.clone(), keys.recent(conv), keys.send(conv, from, client_msg_id)];
            let arguments = vec![text(working.epoch), text(now), text(DEDUP_MS)];
            let mut reply = Reply::new(self.connection.call(&KNOWN, names, arguments).await?)?;
            match reply.text()?.as_str() {
                "fence" => drop(self.fence.settle(&self.connection, Some((working.epoch, &marker))).await?),
                "known" => return Ok(Some(numbered(held::read(&reply.text()?)?, true))),
                _ if !retry && self.trust(working, now, now) == Trust::Whole => return Ok(None),
                _ => {
                    let window_ms = if retry { DEDUP_ARCHIVE_MS } else { DEDUP_MS };
                    let found = self.records.sends(&[(conv, from, client_msg_id)]).await?;
                    let in_time = |number: &HeldNumber| now <= number.ts_ms.saturating_add(window_ms);
                    let found = found.into_iter().map(|(_, number)| number).find(in_time);
                    return Ok(found.map(|number| numbered(number, true)));
                }
            }
        }
        Err(StoreError::new("redis", "the epoch changes faster than sends are looked up"))
    }
}

/// `dense:head:first-last,first-last,…`.
fn start_text(start: &Start) -> String {
    let mut holes: Vec<(u64, u64)> = Vec::new();
    for hole in &start.holes {
        match holes.last_mut().filter(|last| last.1 + 1 == *hole) {
            Some(last) => last.1 = *hole,
            None => holes.push((*hole, *hole)),
        }
    }
    let holes: Vec<String> = holes.into_iter().map(|(first, last)| format!("{first}-{last}")).collect();
    format!("{}:{}:{}", start.dense, start.head, holes.join(","))
}

fn given(epoch: u64, chunk: &[Entry], mut reply: Reply) -> Result<Given, StoreError> {
    let (head, _hole, lowest, fresh) = (reply.number()?, reply.number()?, reply.number()?, reply.number()?);
    let mut numbers = Vec::with_capacity(chunk.len());
    for Entry { event, .. } in chunk {
        numbers.push(match reply.next() {
            Some(Value::Integer(seq)) => {
                let seq = u64::try_from(seq).map_err(|error| StoreError::new("redis", error))?;
                (HeldNumber { epoch, seq, msg_id: event.msg_id, ts_ms: event.ts_ms }, false)
            }
            Some(value) => (held::read(&value.into_string().unwrap_or_default())?, true),
            None => return Err(StoreError::new("redis", "a script answered fewer numbers than messages")),
        });
    }
    Ok(Given { head, lowest, fresh: fresh == 1, numbers })
}

/// The users that a conversation is named by.
pub(crate) fn parties(conv: &str) -> Vec<String> {
    let Ok(id) = ConversationId::parse(conv) else { return Vec::new() };
    match id.kind() {
        ConversationKind::P2p(low, high) => vec![low.to_owned(), high.to_owned()],
        ConversationKind::System(uid) => vec![uid.to_owned()],
        ConversationKind::Group(_) => Vec::new(),
    }
}
