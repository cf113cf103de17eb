//! Giving numbers out, and knowing the ones that were given.
//!
//! A batch is numbered in one go under the mutex. If something must be read first (a conversation's
//! head, a client message id that only the archive remembers), the mutex is let go, it is read, and the
//! batch is looked at anew.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use ringway_engine::event::MessageEvent;
use ringway_engine::limits::DEDUP_ARCHIVE_MS;

use super::EPOCH;
use super::dedup::{Lookup, SendKey, repeats};
use super::state::{EmbeddedState, Memory, now_ms};
use crate::ports::{HeldNumber, Numbered, StoreError};
use crate::sqlite;

fn numbered(number: HeldNumber, duplicate: bool) -> Numbered {
    Numbered { epoch: number.epoch, seq: number.seq, msg_id: number.msg_id, ts_ms: number.ts_ms, duplicate }
}

/// A message with the key of its client message id.
type Keyed = (SendKey, Arc<MessageEvent>);

/// What was read for one batch.
#[derive(Default)]
struct Answers {
    heads: HashMap<String, u64>,
    sends: HashMap<SendKey, Option<HeldNumber>>,
    /// `Tails::forgotten` when `heads` were asked for.
    forgotten: u64,
}

/// What must be read before a batch can be numbered.
#[derive(Default)]
struct Missing<'a> {
    heads: HashSet<&'a str>,
    sends: HashMap<SendKey, &'a MessageEvent>,
    forgotten: u64,
}

/// Keeps the batch as owed unless it was numbered.
struct Owed<'a> {
    state: &'a EmbeddedState,
    batch: Vec<Keyed>,
    numbered: bool,
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        if self.numbered {
            return;
        }
        let mut memory = self.state.memory();
        for (key, event) in self.batch.drain(..) {
            if memory.owed_ids.insert(event.msg_id) {
                memory.owed.push((key, event));
            }
        }
    }
}

impl EmbeddedState {
    pub(super) async fn number_batch(&self, batch: &[Arc<MessageEvent>]) -> Result<Vec<Numbered>, StoreError> {
        let batch = batch.iter().map(|event| (self.keys.of(event), Arc::clone(event))).collect();
        let mut owed = Owed { state: self, batch, numbered: false };
        let mut answers = Answers::default();
        loop {
            let to_read = {
                let mut memory = self.memory();
                let before = std::mem::take(&mut memory.owed);
                let tried = memory.try_number(&before, &owed.batch, &mut answers).map_err(Missing::owned);
                match tried {
                    Ok(numbers) => {
                        memory.owed_ids.clear();
                        owed.numbered = true;
                        return Ok(numbers);
                    }
                    Err(to_read) => {
                        memory.owed = before;
                        to_read
                    }
                }
            };
            to_read.read(self, &mut answers).await?;
        }
    }

    pub(super) async fn known_send(
        &self,
        conv: &str,
        from: &str,
        client_msg_id: &str,
        retry: bool,
    ) -> Result<Option<Numbered>, StoreError> {
        let now_ms = now_ms();
        let key = self.keys.key(conv, from, client_msg_id);
        let lookup = self.memory().dedup.lookup_send(key, now_ms);
        match lookup {
            Lookup::Known(number) => return Ok(Some(numbered(number, true))),
            Lookup::New if !retry => return Ok(None),
            Lookup::New | Lookup::Ask => {}
        }
        let found = sqlite::sends(&self.database, &[(conv, from, client_msg_id)]).await?;
        let in_time = |number: &HeldNumber| {
            if retry { now_ms <= number.ts_ms.saturating_add(DEDUP_ARCHIVE_MS) } else { repeats(number, now_ms) }
        };
        Ok(found.into_iter().map(|(_, number)| number).find(in_time).map(|number| numbered(number, true)))
    }
}

impl Memory {
    fn try_number<'a>(
        &mut self,
        owed: &'a [Keyed],
        batch: &'a [Keyed],
        answers: &mut Answers,
    ) -> Result<Vec<Numbered>, Missing<'a>> {
        let mut missing = Missing::default();
        for (key, event) in owed.iter().chain(batch) {
            if !self.tails.contains(&event.conv) {
                match answers.heads.get(event.conv.as_str()) {
                    Some(head) if answers.forgotten == self.tails.forgotten() => self.tails.load(&event.conv, *head),
                    _ => drop(missing.heads.insert(&event.conv)),
                }
            }
            if self.dedup.lookup(*key, event.msg_id, event.ts_ms) == Lookup::Ask && !answers.sends.contains_key(key) {
                missing.sends.insert(*key, event);
            }
        }
        if !missing.heads.is_empty() || !missing.sends.is_empty() {
            missing.forgotten = self.tails.forgotten();
            return Err(missing);
        }
        for (key, event) in owed {
            self.give(*key, event, answers);
        }
        Ok(batch.iter().map(|(key, event)| self.give(*key, event, answers)).collect())
    }

    fn give(&mut self, key: SendKey, event: &Arc<MessageEvent>, answers: &Answers) -> Numbered {
        let known = match self.dedup.lookup(key, event.msg_id, event.ts_ms) {
            Lookup::Known(number) => Some(number),
            Lookup::New => None,
            Lookup::Ask => answers
                .sends
                .get(&key)
                .copied()
                .flatten()
                .filter(|number| number.msg_id == event.msg_id || repeats(number, event.ts_ms)),
        };
        if let Some(number) = known {
            return numbered(number, true);
        }
        let seq = self.tails.push(event);
        let number = HeldNumber { epoch: EPOCH, seq, msg_id: event.msg_id, ts_ms: event.ts_ms };
        self.dedup.insert(key, number, false);
        numbered(number, false)
    }
}

/// [`Missing`] with names of its own, to be read without the mutex.
struct ToRead {
    heads: Vec<String>,
    sends: Vec<(SendKey, [String; 3])>,
    forgotten: u64,
}

impl Missing<'_> {
    fn owned(self) -> ToRead {
        let names =
            |event: &MessageEvent| [&event.conv, &event.from, &event.client_msg_id].map(|name| name.to_string());
        ToRead {
            heads: self.heads.into_iter().map(str::to_owned).collect(),
            sends: self.sends.into_iter().map(|(key, event)| (key, names(event))).collect(),
            forgotten: self.forgotten,
        }
    }
}

impl ToRead {
    async fn read(self, state: &EmbeddedState, answers: &mut Answers) -> Result<(), StoreError> {
        if !self.heads.is_empty() {
            if answers.forgotten != self.forgotten {
                answers.heads.clear();
                answers.forgotten = self.forgotten;
            }
            let names: Vec<&str> = self.heads.iter().map(String::as_str).collect();
            let found = sqlite::heads(&state.database, &names).await?;
            let head = |conv: &str| found.get(conv).map_or(0, |(_, head)| *head);
            answers.heads.extend(names.iter().map(|conv| ((*conv).to_owned(), head(conv))));
        }
        if !self.sends.is_empty() {
            let names: Vec<(&str, &str, &str)> =
                self.sends.iter().map(|(_, [conv, from, id])| (conv.as_str(), from.as_str(), id.as_str())).collect();
            let found: HashMap<usize, HeldNumber> = sqlite::sends(&state.database, &names).await?.into_iter().collect();
            let answer = |(at, (key, _)): (usize, &(SendKey, _))| (*key, found.get(&at).copied());
            answers.sends.extend(self.sends.iter().enumerate().map(answer));
        }
        Ok(())
    }
}
