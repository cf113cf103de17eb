//! Reading messages: pages, from the replica where that makes no difference; single messages.
//!
//! **Read your writes.** What is archived never changes, so a page that is full, without a hole and begins right where
//! it was asked to is the same on every server. Any other page may lack what the replica has not applied yet: the newest
//! page, a short one, one with a hole. Those are read from the primary, and so is everything while the replica fails.
//! Only of a month that retention has just dropped may a replica that is behind still show pages.

use std::collections::BTreeSet;
use std::sync::Arc;

use ringway_engine::limits::PAGE_BYTES_MAX;
use ringway_engine::packet::schema::Message;
use ringway_store::ports::{ArchivedMessage, PageFrom, StoreError};
use sqlx::{AssertSqlSafe, MySqlConnection, MySqlPool};

use super::messages::{COLUMNS, Row, message};
use crate::database::Database;
use crate::fault::{Fault, is_missing_table};
use crate::floors::Floors;
use crate::months::{Month, or_dropped, present};
use crate::spans::{self, Known};
use crate::text::Text;

/// A page as it is filled, from the end where it was asked to begin.
struct Filling {
    items: Vec<Arc<Message>>,
    bytes: usize,
    full: bool,
}

impl Filling {
    fn take(&mut self, item: Message, limit: usize) {
        self.bytes += item.body.len();
        if self.full || (self.bytes > PAGE_BYTES_MAX && !self.items.is_empty()) {
            self.full = true;
            return;
        }
        self.items.push(Arc::new(item));
        self.full = self.items.len() >= limit;
    }

    /// Whether no server could answer otherwise.
    fn is_settled(&self, from: PageFrom) -> bool {
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else { return false };
        let (begins, ends) = match from {
            PageFrom::After(seq) => (first.seq.checked_sub(1) == Some(seq), self.full),
            PageFrom::Before(seq) => (first.seq.checked_add(1) == Some(seq), self.full || last.seq == 1),
        };
        begins && ends && first.seq.abs_diff(last.seq) + 1 == self.items.len() as u64
    }
}

pub(super) async fn page(
    database: &Database,
    conv: &str,
    from: PageFrom,
    limit: usize,
) -> Result<Vec<Arc<Message>>, StoreError> {
    let newest = matches!(from, PageFrom::Before(u64::MAX));
    let mut filling = None;
    if let Some(replica) = database.replica().filter(|_| !newest) {
        let found = database.ask_replica(fill(replica, conv, from, limit)).await;
        filling = found.filter(|found| found.is_settled(from));
    }
    let filling = match filling {
        Some(filling) => filling,
        None => {
            let read = async { Ok::<_, Fault<StoreError>>(fill(database.primary(), conv, from, limit).await?) };
            database.bounded(read).await?
        }
    };
    let mut items = filling.items;
    if matches!(from, PageFrom::Before(_)) {
        items.reverse();
    }
    Ok(items)
}

/// The lowest number that retention has left. What is dense is archived, so what is dense and lies below the first
/// month that is there has been dropped; a month whose table is gone is gone, whatever still points to it.
pub(super) async fn first_kept(database: &Database, conv: &str) -> Result<u64, StoreError> {
    let read = async {
        let months = present(database.primary()).await?;
        let oldest = months.first().map_or(0, |month| month.number());
        // In one statement, so that both are of one moment.
        let found: Option<(u64, Option<u64>)> = sqlx::query_as(
            "SELECT c.dense, MIN(m.first_seq) FROM conversations c \
             LEFT JOIN conversation_months m ON m.conversation = c.id AND m.month >= ? WHERE c.conv = ? GROUP BY c.id",
        )
        .bind(oldest)
        .bind(conv)
        .fetch_optional(database.primary())
        .await?;
        let (dense, first) = found.unwrap_or_default();
        let above = dense.saturating_add(1);
        Ok::<_, Fault<StoreError>>(first.map_or(above, |first| first.min(above)))
    };
    database.bounded(read).await
}

async fn fill(pool: &MySqlPool, conv: &str, from: PageFrom, limit: usize) -> Result<Filling, sqlx::Error> {
    let mut filling = Filling { items: Vec::new(), bytes: 0, full: limit == 0 };
    let mut connection = pool.acquire().await?;
    let Some(known) = spans::of_names(&mut connection, &[conv]).await?.remove(conv) else { return Ok(filling) };
    let months: Vec<Month> = match from {
        PageFrom::After(seq) => known.spans.iter().filter(|span| span.last > seq).map(|span| span.month).collect(),
        PageFrom::Before(seq) => {
            known.spans.iter().rev().filter(|span| span.first < seq).map(|span| span.month).collect()
        }
    };
    for month in months {
        if filling.full {
            break;
        }
        for row in rows(&mut connection, &known, month, from, limit - filling.items.len()).await? {
            filling.take(message(conv, row), limit);
        }
    }
    let floors = Floors::of(&mut connection, &[known.id]).await?;
    for item in filling.items.iter_mut().filter_map(Arc::get_mut) {
        item.epoch = floors.epoch(known.id, item.seq, item.epoch);
    }
    Ok(filling)
}

/// The next rows of one month, in the direction of the page.
async fn rows(
    connection: &mut MySqlConnection,
    known: &Known,
    month: Month,
    from: PageFrom,
    limit: usize,
) -> Result<Vec<Row>, sqlx::Error> {
    let (compared, order, seq) = match from {
        PageFrom::After(seq) => (">", "ASC", seq),
        PageFrom::Before(seq) => ("<", "DESC", seq),
    };
    let text = format!(
        "SELECT {COLUMNS} FROM {} m WHERE m.conversation = ? AND m.seq {compared} ? ORDER BY m.seq {order} LIMIT ?",
        month.table()
    );
    let rows =
        sqlx::query_as(AssertSqlSafe(text)).bind(known.id).bind(seq).bind(limit as u64).fetch_all(connection).await;
    or_dropped(rows)
}

/// A message by its id, whichever month it is in.
pub(super) async fn by_id(database: &Database, msg_id: u64) -> Result<Option<ArchivedMessage>, StoreError> {
    type Found = (u64, Text, u64, u64, u64, u64, Text, Text, Text, Text, Text, u64);
    let select = format!("SELECT c.id, c.conv, m.archived_ms, {COLUMNS} FROM");
    let join = "m JOIN conversations c ON c.id = m.conversation WHERE m.msg_id = ?";
    let read = async {
        loop {
            let months = present(database.primary()).await?;
            let parts: Vec<String> =
                months.iter().rev().map(|month| format!("{select} {} {join}", month.table())).collect();
            if parts.is_empty() {
                return Ok::<_, Fault<StoreError>>(None);
            }
            let mut query = sqlx::query_as(AssertSqlSafe(format!("{} LIMIT 1", parts.join(" UNION ALL "))));
            for _ in &parts {
                query = query.bind(msg_id);
            }
            match query.fetch_optional(database.primary()).await {
                // A month was dropped in between.
                Err(error) if is_missing_table(&error) => {}
                found => return Ok(found?),
            }
        }
    };
    let found: Option<Found> = database.bounded(read).await?;
    let Some((of, conv, archived_at_ms, seq, epoch, id, from, client_msg_id, kind, body, enc, ts_ms)) = found else {
        return Ok(None);
    };
    let floors = async {
        let mut connection = database.primary().acquire().await?;
        Ok::<_, Fault<StoreError>>(Floors::of(&mut connection, &[of]).await?)
    };
    let epoch = database.bounded(floors).await?.epoch(of, seq, epoch);
    let row = (seq, epoch, id, from, client_msg_id, kind, body, enc, ts_ms);
    Ok(Some(ArchivedMessage { message: Arc::new(message(&conv.0, row)), archived_at_ms }))
}

pub(super) async fn highest_msg_id(database: &Database) -> Result<u64, StoreError> {
    let read = async {
        let months: BTreeSet<Month> = present(database.primary()).await?;
        let mut highest = 0;
        for month in months {
            let text = format!("SELECT MAX(msg_id) FROM {}", month.table());
            let found = sqlx::query_scalar(AssertSqlSafe(text)).fetch_one(database.primary()).await;
            let found: Option<u64> = or_dropped(found)?;
            highest = highest.max(found.unwrap_or(0));
        }
        Ok::<_, Fault<StoreError>>(highest)
    };
    database.bounded(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(seqs: &[u64], limit: usize) -> Filling {
        let mut filling = Filling { items: Vec::new(), bytes: 0, full: false };
        for seq in seqs {
            filling.take(Message { seq: *seq, ..Message::default() }, limit);
        }
        filling
    }

    #[test]
    fn a_page_that_could_look_different_elsewhere_is_not_settled() {
        for (from, seqs, settled) in [
            (PageFrom::After(4), &[5, 6, 7][..], true),
            (PageFrom::After(4), &[5, 6], false),
            (PageFrom::After(4), &[6, 7, 8], false),
            (PageFrom::After(4), &[5, 7, 8], false),
            (PageFrom::After(4), &[], false),
            (PageFrom::Before(9), &[8, 7, 6], true),
            (PageFrom::Before(9), &[8, 7], false),
            (PageFrom::Before(9), &[7, 6, 5], false),
            (PageFrom::Before(9), &[8, 6, 5], false),
            (PageFrom::Before(3), &[2, 1], true),
        ] {
            assert_eq!(filled(seqs, 3).is_settled(from), settled, "{from:?} {seqs:?}");
        }
    }
}
