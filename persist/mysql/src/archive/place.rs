//! The messages of a batch: what of them is archived already, where the rest goes, and what that changes of their
//! conversations.
//!
//! Invariants, all under the locks of the conversations' rows: a number is held by one message; the months of a
//! conversation rise with its numbers; everything up to `dense` is archived; a message is written only under the
//! current epoch.

use std::collections::{BTreeMap, HashMap};

use ringway_store::ports::{CommitError, NumberedMessage};
use sqlx::MySqlConnection;

use super::conversations::{self, Conversation, Raised};
use super::messages::{self, Placed};
use crate::database::Database;
use crate::fault::Fault;
use crate::holes::{self, Moved};
use crate::months::Month;
use crate::spans::{self, Known};

type Failed = Fault<CommitError>;

/// A message of the batch with the row number of its conversation.
type Wanted<'a> = (u64, &'a NumberedMessage);

/// Writes the messages that are not archived yet.
pub(super) async fn write(
    database: &Database,
    connection: &mut MySqlConnection,
    batch: &[NumberedMessage],
    epoch: u64,
    archived_ms: u64,
) -> Result<(), Failed> {
    let mut convs: Vec<&str> = batch.iter().map(|message| message.event.conv.as_str()).collect();
    convs.sort_unstable();
    convs.dedup();
    let before = conversations::lock(connection, &convs).await?;
    let wanted = sorted(batch, &before)?;
    let bounds = Bounds::at(database, archived_ms);
    let (wanted, known) = not_archived(connection, wanted, &before, (epoch, &bounds)).await?;
    if let Some((_, stale)) = wanted.iter().find(|(_, message)| message.epoch != epoch) {
        return Err(out_of_date(stale, epoch));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let mut placed: Vec<Placed<'_>> = Vec::with_capacity(wanted.len());
    let mut raised: Vec<Raised<'_>> = Vec::new();
    let by_row: HashMap<u64, (&str, &Conversation)> = before.iter().map(|(conv, row)| (row.id, (*conv, row))).collect();
    for of_one in wanted.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((conv, row)) = of_one.first().and_then(|(id, _)| by_row.get(id)) else { continue };
        raised.push(place(conv, row, known.get(&row.id), epoch, of_one, &bounds, &mut placed));
    }
    for raised in &raised {
        if let Some(month) = raised.months.keys().find(|month| !database.has_month(**month)) {
            return Err(Fault::NoMonth(*month));
        }
    }
    messages::insert(database, connection, placed, archived_ms).await?;
    conversations::widen(connection, &raised).await?;
    for raised in &mut raised {
        let row = by_row.get(&raised.now.id).map(|(_, row)| *row);
        // Numbers above an old hole were archived before this batch: it may have closed the hole below them.
        if row.is_some_and(|row| row.dense < row.head && raised.now.dense > row.dense) {
            let id = raised.now.id;
            let known = spans::of_rows(connection, &[id]).await?.remove(&id).unwrap_or_default();
            raised.now.dense = spans::dense_end(connection, &known, raised.now.dense).await?;
        }
    }
    conversations::raise(connection, &raised).await?;
    let moved = |raised: &Raised<'_>| {
        let (_, before) = by_row.get(&raised.now.id)?;
        Some(Moved { id: before.id, before: before.standing(), now: raised.now.standing() })
    };
    let moved: Vec<Moved> = raised.iter().filter_map(moved).collect();
    holes::write(connection, &moved, archived_ms).await?;
    Ok(())
}

/// The messages in the order of (conversation, number), each once: side by side as they will lie in the table.
fn sorted<'a>(batch: &'a [NumberedMessage], rows: &BTreeMap<&str, Conversation>) -> Result<Vec<Wanted<'a>>, Failed> {
    let mut wanted: Vec<Wanted<'a>> =
        batch.iter().filter_map(|message| Some((rows.get(message.event.conv.as_str())?.id, message))).collect();
    wanted.sort_by_key(|(id, message)| (*id, message.seq));
    for pair in wanted.windows(2) {
        if let [(one_id, one), (other_id, other)] = pair
            && (one_id, one.seq) == (other_id, other.seq)
            && one.event.msg_id != other.event.msg_id
        {
            return Err(taken(other, one.event.msg_id));
        }
    }
    wanted.dedup_by(|(other_id, other), (one_id, one)| (one_id, one.seq) == (other_id, other.seq));
    Ok(wanted)
}

fn out_of_date(message: &NumberedMessage, current: u64) -> Failed {
    Fault::Refused(CommitError::Stale { numbered: message.epoch, current })
}

fn taken(message: &NumberedMessage, holder: u64) -> Failed {
    let (conv, seq, mine) = (&message.event.conv, message.seq, message.event.msg_id);
    Fault::wrong(format!("{conv} {seq} is to be message {mine}, but is held by message {holder}"))
}

/// Leaves out what is archived under the same number, or was and has been dropped by retention: everything up to
/// `dense` was archived once, and what lies in no month that is kept went with its own. What a kept month lacks was lost
/// otherwise, and comes back. Only numbers up to the archived head can be any of these; for their conversations the months
/// are read too.
async fn not_archived<'a>(
    connection: &mut MySqlConnection,
    wanted: Vec<Wanted<'a>>,
    rows: &BTreeMap<&str, Conversation>,
    (epoch, bounds): (u64, &Bounds),
) -> Result<(Vec<Wanted<'a>>, HashMap<u64, Known>), Failed> {
    let ends: HashMap<u64, (u64, u64)> = rows.values().map(|row| (row.id, (row.dense, row.head))).collect();
    let old = |(id, message): &&Wanted<'a>| ends.get(id).is_some_and(|(_, head)| message.seq <= *head);
    let mut ranges: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (id, message) in wanted.iter().filter(old) {
        let range = ranges.entry(*id).or_insert((message.seq, message.seq));
        *range = (range.0.min(message.seq), range.1.max(message.seq));
    }
    if ranges.is_empty() {
        return Ok((wanted, HashMap::new()));
    }
    let ids: Vec<u64> = ranges.keys().copied().collect();
    let known = spans::of_rows(connection, &ids).await?;
    let held = messages::held(connection, &known, &ranges).await?;
    let is_kept = |id, seq| {
        let month = known.get(&id).and_then(|known| known.month_of(seq));
        month.is_some_and(|month| bounds.oldest.is_none_or(|oldest| month >= oldest))
    };
    let was_dropped = |id, seq| ends.get(&id).is_some_and(|(dense, _)| seq <= *dense) && !is_kept(id, seq);
    let mut rest = Vec::new();
    for (id, message) in wanted {
        match held.get(&(id, message.seq)) {
            None if was_dropped(id, message.seq) => {}
            None => rest.push((id, message)),
            Some(holder) if *holder == message.event.msg_id => {}
            // The number went to another message in a later epoch: this one is to be numbered again.
            Some(_) if message.epoch != epoch => return Err(out_of_date(message, epoch)),
            Some(holder) => return Err(taken(message, *holder)),
        }
    }
    Ok((rest, known))
}

/// Between which months a message may be placed, whatever its time says.
struct Bounds {
    oldest: Option<Month>,
    newest: Month,
}

impl Bounds {
    fn at(database: &Database, now_ms: u64) -> Self {
        Self { oldest: database.oldest_kept(now_ms), newest: Month::of(now_ms).later(1) }
    }

    fn month_of(&self, message: &NumberedMessage) -> Month {
        let month = Month::of(message.event.ts_ms).min(self.newest);
        self.oldest.map_or(month, |oldest| month.max(oldest))
    }
}

/// Places the messages of one conversation, which come in the order of their numbers.
fn place<'a, 'b>(
    conv: &'b str,
    row: &Conversation,
    known: Option<&Known>,
    epoch: u64,
    wanted: &[Wanted<'a>],
    bounds: &Bounds,
    placed: &mut Vec<Placed<'a>>,
) -> Raised<'b> {
    let mut now = Conversation { epoch: row.epoch.max(epoch), ..row.clone() };
    let mut months: BTreeMap<Month, (u64, u64)> = BTreeMap::new();
    for (_, message) in wanted {
        let by_time = bounds.month_of(message);
        let month = if message.seq > row.head {
            now.month.map_or(by_time, |newest| newest.max(by_time))
        } else {
            // A hole: with its neighbour above, so that months keep rising with numbers.
            let above = known.and_then(|known| known.spans.iter().find(|span| message.seq <= span.last));
            above.map(|span| span.month).or(row.month).unwrap_or(by_time)
        };
        now.month = now.month.max(Some(month));
        now.head = now.head.max(message.seq);
        if message.seq == now.dense + 1 {
            now.dense = message.seq;
        }
        let span = months.entry(month).or_insert((message.seq, message.seq));
        *span = (span.0.min(message.seq), span.1.max(message.seq));
        placed.push(Placed { conversation: row.id, month, message });
    }
    // Nothing was archived under an epoch before the first.
    let floor = (row.epoch < epoch && epoch > 1).then_some(row.dense);
    Raised { conv, now, floor, months }
}
