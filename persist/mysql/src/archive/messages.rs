//! Rows of the tables of messages: bulk inserts, and what is there already.
//!
//! The key (conversation, sequence) is the order of the rows on disk, so a conversation's messages lie side by side
//! and a page is one range. Inserts are plain: nothing that the server would refuse is ignored. What is known to be
//! archived was left out before; a client message id that is taken makes the server refuse the whole statement, and
//! then its rows are looked at one by one.

use std::collections::{BTreeMap, HashMap};

use ringway_engine::packet::schema::Message;
use ringway_store::ports::{CommitError, NumberedMessage};
use sqlx::{AssertSqlSafe, MySqlConnection};

use crate::database::Database;
use crate::fault::{Fault, is_duplicate, is_missing_table};
use crate::limits::{INSERT_BYTES_MAX, INSERT_ROWS, PLACES_MAX, REPEAT_MS};
use crate::lists::{push_any, statement};
use crate::months::{Month, or_dropped};
use crate::spans::Known;
use crate::text::Text;

type Failed = Fault<CommitError>;

/// A message that goes to this month.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed<'a> {
    pub(super) conversation: u64,
    pub(super) month: Month,
    pub(super) message: &'a NumberedMessage,
}

/// The columns of [`Row`], of a table called `m`.
pub(crate) const COLUMNS: &str = "m.seq, m.epoch, m.msg_id, m.sender, m.client_msg_id, m.kind, m.body, m.enc, m.ts_ms";

/// A message as it is read.
pub(crate) type Row = (u64, u64, u64, Text, Text, Text, Text, Text, u64);

pub(crate) fn message(conv: &str, (seq, epoch, msg_id, from, client_msg_id, kind, body, enc, ts): Row) -> Message {
    Message {
        conv: conv.to_owned(),
        msg_id,
        epoch,
        seq,
        from: from.0,
        client_msg_id: client_msg_id.0,
        kind: kind.0,
        body: body.0,
        enc: enc.0,
        ts,
    }
}

/// Which message holds each archived number of these ranges (conversation to lowest and highest number).
pub(super) async fn held(
    connection: &mut MySqlConnection,
    known: &HashMap<u64, Known>,
    ranges: &BTreeMap<u64, (u64, u64)>,
) -> Result<HashMap<(u64, u64), u64>, sqlx::Error> {
    let mut by_month: BTreeMap<Month, Vec<(u64, u64, u64)>> = BTreeMap::new();
    for (id, (low, high)) in ranges {
        let spans = known.get(id).map(|known| known.spans.as_slice()).unwrap_or_default();
        for span in spans.iter().filter(|span| span.first <= *high && *low <= span.last) {
            by_month.entry(span.month).or_default().push((*id, *low, *high));
        }
    }
    let mut held = HashMap::new();
    for (month, ranges) in by_month {
        for chunk in ranges.chunks(PLACES_MAX) {
            let mut select = statement(format!("SELECT conversation, seq, msg_id FROM {} WHERE ", month.table()));
            push_any(&mut select, chunk, |select, (id, low, high)| {
                select.push("conversation = ").push_bind(*id).push(" AND seq BETWEEN ").push_bind(*low);
                select.push(" AND ").push_bind(*high);
            });
            let rows = select.build_query_as().fetch_all(&mut *connection).await;
            let rows: Vec<(u64, u64, u64)> = or_dropped(rows)?;
            held.extend(rows.into_iter().map(|(id, seq, msg_id)| ((id, seq), msg_id)));
        }
    }
    Ok(held)
}

/// Writes messages, which come in the order of (conversation, number), into the tables of their months.
pub(super) async fn insert(
    database: &Database,
    connection: &mut MySqlConnection,
    mut placed: Vec<Placed<'_>>,
    archived_ms: u64,
) -> Result<(), Failed> {
    // Stable: within a month the order stays.
    placed.sort_by_key(|placed| placed.month);
    for of_month in placed.chunk_by(|one, other| one.month == other.month) {
        let Some(month) = of_month.first().map(|placed| placed.month) else { continue };
        refuse_repeats_over_the_border(connection, month, of_month).await?;
        let mut rest = of_month;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(chunk_rows(rest));
            rest = after;
            match insert_chunk(connection, month, chunk, archived_ms).await {
                Ok(()) => {}
                Err(error) if is_duplicate(&error) => insert_one_by_one(connection, month, chunk, archived_ms).await?,
                Err(error) if is_missing_table(&error) => {
                    database.forgets_month(month);
                    return Err(Fault::NoMonth(month));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// How many of these rows the next statement takes: the largest of the fixed sizes that fits, in rows and bytes.
fn chunk_rows(rows: &[Placed<'_>]) -> usize {
    let mut bytes = 0;
    let fitting = rows.iter().take_while(|placed| {
        bytes += placed.message.event.body.len() + placed.message.event.client_msg_id.len();
        bytes <= INSERT_BYTES_MAX
    });
    let fitting = fitting.count();
    INSERT_ROWS.into_iter().find(|size| *size <= fitting).unwrap_or(1)
}

async fn insert_chunk(
    connection: &mut MySqlConnection,
    month: Month,
    chunk: &[Placed<'_>],
    archived_ms: u64,
) -> Result<(), sqlx::Error> {
    insert_rows(connection, month, chunk.iter().map(|placed| (placed, 0)), archived_ms).await
}

/// Inserts messages with their `reuse`.
async fn insert_rows<'a, 'b: 'a>(
    connection: &mut MySqlConnection,
    month: Month,
    rows: impl Iterator<Item = (&'a Placed<'b>, u32)>,
    archived_ms: u64,
) -> Result<(), sqlx::Error> {
    let mut insert = statement(format!(
        "INSERT INTO {} (conversation, seq, epoch, msg_id, sender, client_msg_id, reuse, kind, body, enc, ts_ms, \
         archived_ms) ",
        month.table()
    ));
    insert.push_values(rows, |mut row, (placed, reuse)| {
        let (message, event) = (placed.message, &placed.message.event);
        row.push_bind(placed.conversation).push_bind(message.seq).push_bind(message.epoch).push_bind(event.msg_id);
        row.push_bind(event.from.as_str())
            .push_bind(event.client_msg_id.as_str())
            .push_bind(reuse)
            .push_bind(event.kind.as_str());
        row.push_bind(&event.body).push_bind(event.enc.as_str()).push_bind(event.ts_ms).push_bind(archived_ms);
    });
    // The lengths are few, so these texts stay prepared.
    insert.build().execute(connection).await.map(drop)
}

/// For rows among which a client message id is taken: a message whose id was used long before is a new one.
async fn insert_one_by_one(
    connection: &mut MySqlConnection,
    month: Month,
    chunk: &[Placed<'_>],
    archived_ms: u64,
) -> Result<(), Failed> {
    let text = format!(
        "SELECT reuse, seq, ts_ms FROM {} WHERE conversation = ? AND sender = ? AND client_msg_id = ? \
         ORDER BY reuse DESC LIMIT 1",
        month.table()
    );
    for placed in chunk {
        let event = &placed.message.event;
        let latest: Option<(u32, u64, u64)> = sqlx::query_as(AssertSqlSafe(text.as_str()))
            .bind(placed.conversation)
            .bind(event.from.as_str())
            .bind(event.client_msg_id.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let reuse = match latest {
            None => 0,
            Some((_, seq, ts_ms)) if is_repeat(ts_ms, event.ts_ms) => return Err(repeat(placed, seq)),
            Some((reuse, _, _)) => reuse + 1,
        };
        insert_rows(connection, month, std::iter::once((placed, reuse)), archived_ms).await?;
    }
    Ok(())
}

fn is_repeat(one_ms: u64, other_ms: u64) -> bool {
    one_ms.abs_diff(other_ms) < REPEAT_MS
}

/// One send got two numbers: the sequencer has lost its memory and was not put into a new epoch. Numbered again in
/// one, the send has one number.
fn repeat(placed: &Placed<'_>, holder: u64) -> Failed {
    let (event, seq) = (&placed.message.event, placed.message.seq);
    Fault::wrong(format!(
        "{} {seq} is to be message {}, whose client message id was just archived as {holder}",
        event.conv, event.msg_id
    ))
}

/// Messages from the first minutes of a month may repeat one of the last minutes before it, in another table.
async fn refuse_repeats_over_the_border(
    connection: &mut MySqlConnection,
    month: Month,
    placed: &[Placed<'_>],
) -> Result<(), Failed> {
    let border_ms = month.start_ms();
    let near = |placed: &&Placed<'_>| placed.message.event.ts_ms < border_ms.saturating_add(REPEAT_MS);
    let near: Vec<&Placed<'_>> = placed.iter().filter(near).collect();
    let before = month.earlier(1);
    if near.is_empty() || before == month {
        return Ok(());
    }
    for chunk in near.chunks(PLACES_MAX) {
        let mut select =
            statement(format!("SELECT conversation, sender, client_msg_id, seq, ts_ms FROM {} WHERE ", before.table()));
        push_any(&mut select, chunk, |select, placed| {
            let event = &placed.message.event;
            select.push("conversation = ").push_bind(placed.conversation);
            select.push(" AND sender = ").push_bind(event.from.as_str());
            select.push(" AND client_msg_id = ").push_bind(event.client_msg_id.as_str());
        });
        let rows = select.build_query_as().fetch_all(&mut *connection).await;
        let rows: Vec<(u64, Text, Text, u64, u64)> = or_dropped(rows)?;
        for (conversation, sender, client_msg_id, seq, ts_ms) in rows {
            let same = |placed: &&&Placed<'_>| {
                let event = &placed.message.event;
                placed.conversation == conversation && event.from == sender.0 && event.client_msg_id == client_msg_id.0
            };
            if let Some(placed) = chunk.iter().find(same)
                && is_repeat(ts_ms, placed.message.event.ts_ms)
            {
                return Err(repeat(placed, seq));
            }
        }
    }
    Ok(())
}
