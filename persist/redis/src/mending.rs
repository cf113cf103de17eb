//! What is done about drift that two looks have proved.
//!
//! - A number that may be given out twice, or that is lost (`Head`, `Hole`, `Missing`, `Taken`), shows that the memory of
//!   a server was set back, and by how much nobody can tell: other numbers may be wrong too. That is what epochs are for
//!   ([`ringway_store::ports::Epochs`]): the next one is taken, once for all that is found, by compare-and-set in SQL. In
//!   it every conversation starts at what the archive has, and what was not archived is numbered again.
//! - Copies of archived messages go as if whoever archived them had told of it.
//! - `dense` is set by a script that compares epoch and value.
//! - Cursors are carried to SQL, where the higher one wins, and leave Redis if they are still what was written.
//!
//! Each of them may be repeated, and done by two at once.

use std::collections::HashMap;

use ringway_engine::ids::{ConversationId, DeviceId, Uid};
use ringway_store::ports::{Cursor, DriftKind, Drifted, NumberedMessage, PageFrom, Start, StoreError};

use crate::cursors::parse;
use crate::drift::Faulty;
use crate::fence::text;
use crate::limits::SCRIPT_MESSAGES_MAX;
use crate::script::SET_DENSE;
use crate::standing::{Finding, is_archived};
use crate::state::Shared;

/// A number that two messages hold.
struct Taken {
    seq: u64,
    redis: u64,
    archive: u64,
}

/// What became of messages that Redis holds under archived numbers.
#[derive(Default)]
struct Held {
    /// Messages let go.
    copies: u64,
    /// Lowest and highest of them.
    span: Option<(u64, u64)>,
    taken: Vec<Taken>,
}

impl Shared {
    /// Repairs conversations.
    pub(crate) async fn mend(&self, faulty: &[Faulty], found: &mut Drifted) -> Result<(), StoreError> {
        // First what may be numbered wrongly this very moment. What else such a conversation has is void after it.
        let at_risk = |faulty: &&Faulty| faulty.findings.iter().any(|finding| kind_at_risk(finding).is_some());
        if let Some(first) = faulty.iter().find(at_risk) {
            let renewed = self.fence.renew(&self.connection, first.epoch).await?;
            for faulty in faulty.iter().filter(at_risk).filter(|faulty| renewed && faulty.epoch == first.epoch) {
                report_at_risk(faulty, found);
            }
            return Ok(());
        }
        for Faulty { conv, epoch, archive, findings } in faulty {
            for finding in findings {
                match finding {
                    Finding::Dense { redis, archive } => self.mend_dense(*epoch, conv, *redis, *archive, found).await?,
                    Finding::Copies => self.mend_copies(*epoch, conv, archive, found).await?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn mend_dense(
        &self,
        epoch: u64,
        conv: &str,
        redis: u64,
        archive: u64,
        found: &mut Drifted,
    ) -> Result<(), StoreError> {
        let keys = vec![self.connection.keys.marker(conv), self.connection.keys.seq(conv)];
        let answer = self.connection.call(&SET_DENSE, keys, vec![text(epoch), text(redis), text(archive)]).await?;
        if answer.as_u64() == Some(1) {
            tracing::warn!(conv, kind = DriftKind::Dense.name(), redis, archive, "drift repaired");
            found.repair(DriftKind::Dense, 1);
        }
        Ok(())
    }

    async fn mend_copies(
        &self,
        epoch: u64,
        conv: &str,
        archive: &Start,
        found: &mut Drifted,
    ) -> Result<(), StoreError> {
        let Ok(id) = ConversationId::parse(conv) else { return Ok(()) };
        let held = self.let_copies_go(epoch, &id, archive).await?;
        if let Some((first, last)) = held.span {
            let (kind, redis) = (DriftKind::Copy.name(), format!("{first}-{last}"));
            tracing::warn!(conv, kind, redis, archive = archive.head, messages = held.copies, "drift repaired");
            found.repair(DriftKind::Copy, held.copies);
        }
        if !held.taken.is_empty() && self.fence.renew(&self.connection, epoch).await? {
            for Taken { seq, redis, archive } in &held.taken {
                let kind = DriftKind::Taken.name();
                tracing::error!(
                    conv,
                    kind,
                    seq,
                    redis,
                    archive,
                    "drift repaired by a new epoch: two messages, one number"
                );
            }
            found.repair(DriftKind::Taken, held.taken.len() as u64);
        }
        Ok(())
    }

    /// Lets messages go that the archive had at the first look, and still has under their ids.
    async fn let_copies_go(&self, epoch: u64, conv: &ConversationId, archive: &Start) -> Result<Held, StoreError> {
        let (mut outcome, mut after) = (Held::default(), 0);
        loop {
            let held = self.held_after(conv, after).await?;
            let Some(last) = held.last().filter(|last| last.epoch == epoch).map(|last| last.seq) else { break };
            let archived: Vec<NumberedMessage> =
                held.into_iter().filter(|held| is_archived(archive, held.seq)).collect();
            let found = self.found_again(conv, archived, &mut outcome.taken).await?;
            self.messages_archived(&found).await?;
            for message in &found {
                outcome.copies += 1;
                let (first, _) = outcome.span.unwrap_or((message.seq, message.seq));
                outcome.span = Some((first, message.seq));
            }
            after = last;
            if after >= archive.head {
                break;
            }
        }
        Ok(outcome)
    }

    /// Those of the messages, which rise, that the archive has under their numbers and ids. One that a replica does not
    /// show yet is left to the next round. A number shared with another is left as it is: both would go.
    async fn found_again(
        &self,
        conv: &ConversationId,
        messages: Vec<NumberedMessage>,
        taken: &mut Vec<Taken>,
    ) -> Result<Vec<NumberedMessage>, StoreError> {
        let (mut found, mut rest) = (Vec::new(), messages.as_slice());
        while let Some(first) = rest.first() {
            let from = PageFrom::After(first.seq.saturating_sub(1));
            let page = self.archive.page(conv, from, SCRIPT_MESSAGES_MAX).await?;
            let Some(reached) = page.last().map(|last| last.seq).filter(|reached| *reached >= first.seq) else { break };
            let (decided, later) = rest.split_at(rest.partition_point(|message| message.seq <= reached));
            for message in decided {
                let Some(archived) = page.iter().find(|item| item.seq == message.seq) else { continue };
                if archived.msg_id == message.event.msg_id {
                    found.push(message.clone());
                } else {
                    let (seq, redis, archive) = (message.seq, message.event.msg_id, archived.msg_id);
                    taken.push(Taken { seq, redis, archive });
                }
            }
            rest = later;
        }
        found.retain(|message| !taken.iter().any(|taken| taken.seq == message.seq));
        Ok(found)
    }

    /// Carries cursors to SQL that were forgotten at the first look and are still there as they were. Answers how many.
    pub(crate) async fn mend_cursors(&self, uid: &str, suspect: &[(String, String)]) -> Result<u64, StoreError> {
        let mut still = self.forgotten_cursors(uid).await?;
        still.retain(|cursor| suspect.contains(cursor));
        if still.is_empty() {
            return Ok(0);
        }
        let in_sql = self.cursors_in_sql(uid, &still).await?;
        let fields: Vec<String> = still.iter().flat_map(|(field, value)| [field.clone(), value.clone()]).collect();
        let held = (&uid.to_owned(), fields);
        self.write_cursors(std::slice::from_ref(&held)).await?;
        self.written(uid, &held.1).await?;
        for (field, redis) in &still {
            let (conv, device) = field.split_once(' ').unwrap_or((field, ""));
            let in_sql = in_sql
                .get(field)
                .map_or_else(|| "none".to_owned(), |cursor| format!("{} {}", cursor.epoch, cursor.seq));
            let kind = DriftKind::Cursor.name();
            tracing::warn!(conv, uid, device, kind, redis, archive = in_sql, "drift repaired");
        }
        Ok(still.len() as u64)
    }

    /// What SQL has for these cursors, by their fields.
    async fn cursors_in_sql(
        &self,
        uid: &str,
        held: &[(String, String)],
    ) -> Result<HashMap<String, Cursor>, StoreError> {
        let mut found = HashMap::new();
        let Ok(uid) = Uid::parse(uid) else { return Ok(found) };
        let mut devices: Vec<String> =
            held.iter().filter_map(|(field, value)| parse(field, value)).map(|(_, device, _)| device).collect();
        devices.sort_unstable();
        devices.dedup();
        for name in devices {
            let Ok(device) = DeviceId::parse(&name) else { continue };
            for place in self.records.places(&uid, &device, &[]).await? {
                let Some(cursor) = place.device_cursor else { continue };
                found.insert(format!("{} {name}", place.conv), cursor);
            }
        }
        Ok(found)
    }
}

/// The kind, if numbers are at risk.
fn kind_at_risk(finding: &Finding) -> Option<(DriftKind, u64, u64)> {
    match *finding {
        Finding::Head { redis, archive } => Some((DriftKind::Head, redis, archive)),
        Finding::Hole { number } => Some((DriftKind::Hole, number, number)),
        Finding::Missing { redis, archive } => Some((DriftKind::Missing, redis, archive)),
        Finding::Dense { .. } | Finding::Copies => None,
    }
}

fn report_at_risk(faulty: &Faulty, found: &mut Drifted) {
    for (kind, redis, archive) in faulty.findings.iter().filter_map(kind_at_risk) {
        let (conv, kind_name, epoch) = (&faulty.conv, kind.name(), faulty.epoch);
        tracing::error!(conv, kind = kind_name, redis, archive, epoch, "drift repaired by a new epoch");
        found.repair(kind, 1);
    }
}
