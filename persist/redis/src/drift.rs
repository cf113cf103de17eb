//! A round that compares what Redis holds with SQL, and repairs: see [`ringway_store::ports::Drift`].
//!
//! ```text
//!   SCAN, server by server ──► a page: sequences, cursors
//!                                │ Redis, then SQL, in bulk: fits? ──yes──► done
//!                                ▼ no
//!                              suspect ──after `drift_settle_ms`──► Redis again: still? ──no──► done
//!                                                                      │ yes
//!                                                                      ▼ `mending`
//! ```
//!
//! Whatever is suspect is looked at twice: messages that were archived a moment ago are told of a moment later, and
//! cursors are written every second. What two looks together prove, `standing` says. The whole comparison of a
//! conversation is of one epoch, which is asked of SQL after the archive: else it is dropped, for what an earlier epoch
//! left is void anyway.
//!
//! Owns the place in the scan and the suspects. A server may answer a key twice, and one that comes or goes meanwhile
//! perhaps not at all: the next round has it. Lives on tokio; a dropped call leaves place and suspects as they were.

use std::collections::{BTreeSet, VecDeque};
use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fred::types::Value;
use fred::types::config::Server;
use ringway_store::ports::{DriftKind, DriftRound, Drifted, Start, StoreError};
use tokio::time::{Instant, sleep_until};

use crate::fence::text;
use crate::keys::Walked;
use crate::limits::{DRIFT_HOLES_MAX, DRIFT_PAGE, DRIFT_SCAN_KEYS, DRIFT_SCANS_AT_ONCE, DRIFT_SUSPECTS_MAX};
use crate::reply::Reply;
use crate::script::COMPARED;
use crate::standing::{Finding, Standing};
use crate::state::Shared;
use crate::together::together;

/// What did not fit at the first look.
enum Suspect {
    Conversation {
        conv: String,
        epoch: u64,
        before: Standing,
        archive: Start,
    },
    /// Cursors of a user that nobody carries to SQL: field and value.
    User {
        uid: String,
        cursors: Vec<(String, String)>,
    },
}

/// A conversation that did not fit at the second look either.
pub(crate) struct Faulty {
    pub(crate) conv: String,
    pub(crate) epoch: u64,
    pub(crate) archive: Start,
    pub(crate) findings: Vec<Finding>,
}

/// See the module's doc.
pub(crate) struct Round {
    shared: Arc<Shared>,
    /// Servers that are not scanned to their end; the last one is being scanned.
    ahead: Vec<Option<Server>>,
    /// Where it goes on.
    cursor: String,
    /// With the time of their first look, rising.
    suspects: VecDeque<(Instant, Suspect)>,
    /// Since the last answer.
    found: Drifted,
}

impl Round {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let ahead = shared.connection.servers();
        Self { shared, ahead, cursor: "0".to_owned(), suspects: VecDeque::new(), found: Drifted::default() }
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(self.shared.config.drift_settle_ms)
    }

    /// Scans for a page, and looks at it.
    async fn page(&mut self) -> Result<(), StoreError> {
        let Some(server) = self.ahead.last().cloned() else { return Ok(()) };
        let shared = Arc::clone(&self.shared);
        let pattern = shared.connection.keys.walked_pattern();
        let (mut names, mut cursor) = (BTreeSet::new(), self.cursor.clone());
        for _ in 0..DRIFT_SCANS_AT_ONCE {
            let (next, keys) = shared.connection.scan(server.as_ref(), &cursor, &pattern, DRIFT_SCAN_KEYS).await?;
            cursor = next;
            names.extend(keys);
            if cursor == "0" || names.len() >= DRIFT_PAGE {
                break;
            }
        }
        let (mut convs, mut users) = (Vec::new(), Vec::new());
        for name in &names {
            match shared.connection.keys.walked(name) {
                Some(Walked::Conversation(conv)) => convs.push(conv),
                Some(Walked::User(uid)) => users.push(uid),
                None => {}
            }
        }
        for convs in convs.chunks(DRIFT_PAGE) {
            self.look_at(&shared, convs).await?;
        }
        for users in users.chunks(DRIFT_PAGE) {
            self.look_at_users(&shared, users).await?;
        }
        self.found.conversations += convs.len() as u64;
        self.found.users += users.len() as u64;
        if cursor == "0" {
            self.ahead.pop();
        }
        self.cursor = cursor;
        Ok(())
    }

    async fn look_at(&mut self, shared: &Shared, convs: &[&str]) -> Result<(), StoreError> {
        let epoch = shared.fence.working(&shared.connection).await?.epoch;
        let standings = together(convs.iter().map(|conv| shared.standing(epoch, conv)).collect()).await?;
        let standing = |(conv, standing): (&&'_ str, Option<Standing>)| Some(((*conv).to_owned(), standing?));
        let present: Vec<(String, Standing)> = convs.iter().zip(standings).filter_map(standing).collect();
        if present.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = present.iter().map(|(conv, _)| conv.as_str()).collect();
        let archived = shared.epochs.starts(&names).await?;
        // What was archived under a later one says nothing of this one.
        if shared.epochs.current().await?.number != epoch {
            return Ok(());
        }
        let now = Instant::now();
        for ((conv, before), archive) in present.into_iter().zip(archived) {
            if !before.findings(&archive, &before).is_empty() {
                self.suspects.push_back((now, Suspect::Conversation { conv, epoch, before, archive }));
            }
        }
        Ok(())
    }

    async fn look_at_users(&mut self, shared: &Shared, users: &[&str]) -> Result<(), StoreError> {
        let held = together(users.iter().map(|uid| shared.forgotten_cursors(uid)).collect()).await?;
        let now = Instant::now();
        for (uid, cursors) in users.iter().zip(held).filter(|(_, cursors)| !cursors.is_empty()) {
            self.suspects.push_back((now, Suspect::User { uid: (*uid).to_owned(), cursors }));
        }
        Ok(())
    }

    /// Looks again at what was suspect long enough ago, and has repaired what still is.
    async fn look_again(&mut self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let due = Instant::now().checked_sub(self.settle());
        let count = self.suspects.iter().take_while(|(since, _)| due.is_some_and(|due| *since <= due)).count();
        let count = count.min(DRIFT_PAGE);
        let due = || self.suspects.iter().take(count).map(|(_, suspect)| suspect);
        let faulty = together(due().map(|suspect| shared.still_faulty(suspect)).collect()).await?;
        let faulty: Vec<Faulty> = faulty.into_iter().flatten().collect();
        shared.mend(&faulty, &mut self.found).await?;
        for (_, suspect) in self.suspects.iter().take(count) {
            if let Suspect::User { uid, cursors } = suspect {
                let written = shared.mend_cursors(uid, cursors).await?;
                self.found.repair(DriftKind::Cursor, written);
            }
        }
        self.suspects.drain(..count);
        Ok(())
    }
}

#[async_trait]
impl DriftRound for Round {
    async fn next(&mut self) -> Result<Option<Drifted>, StoreError> {
        let is_full = self.suspects.len() >= DRIFT_SUSPECTS_MAX;
        match self.suspects.front() {
            None if self.ahead.is_empty() => return Ok(None),
            Some((since, _)) if is_full || self.ahead.is_empty() => sleep_until(*since + self.settle()).await,
            _ => {}
        }
        self.look_again().await?;
        if self.suspects.len() < DRIFT_SUSPECTS_MAX {
            self.page().await?;
        }
        Ok(Some(take(&mut self.found)))
    }
}

impl Shared {
    /// What Redis holds of a conversation; nothing if that is not of this epoch.
    pub(crate) async fn standing(&self, epoch: u64, conv: &str) -> Result<Option<Standing>, StoreError> {
        let keys = &self.connection.keys;
        let names = vec![keys.marker(conv), keys.seq(conv), keys.recent(conv), keys.holes(conv)];
        let arguments = vec![text(epoch), text(DRIFT_HOLES_MAX)];
        let Some(answer) = or_damaged(conv, self.connection.call(&COMPARED, names, arguments).await)? else {
            return Ok(None);
        };
        let mut reply = Reply::new(answer)?;
        if reply.text()? != "stands" {
            return Ok(None);
        }
        let (head, dense, waiting) = (reply.number()?, reply.number()?, reply.number()?);
        let (lowest, more) = (reply.number()?, reply.number()?);
        let mut holes = Vec::new();
        while !reply.is_empty() {
            let range = reply.text()?;
            let ends = range.split_once('-').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
            // What is none is given out by nobody.
            holes.extend(ends);
        }
        Ok(Some(Standing { head, dense, waiting, lowest, holes, whole: more == 0 }))
    }

    async fn still_faulty(&self, suspect: &Suspect) -> Result<Option<Faulty>, StoreError> {
        let Suspect::Conversation { conv, epoch, before, archive } = suspect else { return Ok(None) };
        let Some(now) = self.standing(*epoch, conv).await? else { return Ok(None) };
        let findings = before.findings(archive, &now);
        let (conv, epoch, archive) = (conv.clone(), *epoch, archive.clone());
        Ok((!findings.is_empty()).then_some(Faulty { conv, epoch, archive, findings }))
    }

    /// Cursors of a user who is not among those whose cursors are to be written; of very many, some.
    pub(crate) async fn forgotten_cursors(&self, uid: &str) -> Result<Vec<(String, String)>, StoreError> {
        let dirty = self.connection.keys.dirty();
        if self.connection.command("SISMEMBER", dirty, vec![Value::from(uid)]).await?.as_u64() != Some(0) {
            return Ok(Vec::new());
        }
        let fields = or_damaged(uid, self.some_cursors_of(uid).await)?.unwrap_or_default();
        let pairs = fields.chunks_exact(2).filter_map(|pair| match pair {
            [field, value] => Some((field.clone(), value.clone())),
            _ => None,
        });
        Ok(pairs.collect())
    }
}

/// One key that is of another kind than it should be must not end a round: nothing, if that is what the answer says.
fn or_damaged<T>(of: &str, answer: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match answer {
        Err(error) if error.message.contains("WRONGTYPE") => {
            tracing::error!(of, %error, "keys are damaged and cannot be compared: remove them");
            Ok(None)
        }
        answer => answer.map(Some),
    }
}
