//! What a shared state asks of SQL: earlier sends, a user's conversations, cursors. All of it from the primary.
//!
//! Messages are found through the months of their conversations, so lists of places cost one statement for each month
//! they lie in.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use ringway_engine::ids::{DeviceId, Uid};
use ringway_engine::packet::schema::Message;
use ringway_store::ports::{Cursor, CursorUpdate, HeldNumber, ListRow, Place, Records, StoreError};
use sqlx::MySqlConnection;

use crate::archive::{COLUMNS, Row, message};
use crate::database::Database;
use crate::fault::{Fault, retried};
use crate::floors::Floors;
use crate::limits::{LIST_MAX, PLACES_MAX, SEND_MONTHS_MAX};
use crate::lists::{filled, push_any, push_list, statement};
use crate::months::{Month, or_dropped};
use crate::spans::{self, Known};
use crate::text::Text;

type Failed = Fault<StoreError>;

/// Looks sends up in the newest months of their conversations; the newest month that has one decides.
async fn read_sends(database: &Database, sends: &[(&str, &str, &str)]) -> Result<Vec<(usize, HeldNumber)>, Failed> {
    let mut connection = database.primary().acquire().await?;
    let known = spans::of_names(&mut connection, &distinct(sends.iter().map(|(conv, ..)| *conv))).await?;
    let mut by_month: BTreeMap<Month, Vec<(u64, &str, &str)>> = BTreeMap::new();
    for (conv, from, client_msg_id) in sends {
        let Some(known) = known.get(*conv) else { continue };
        for span in known.spans.iter().rev().take(SEND_MONTHS_MAX) {
            by_month.entry(span.month).or_default().push((known.id, from, client_msg_id));
        }
    }
    let mut found: HashMap<(u64, String, String), HeldNumber> = HashMap::new();
    // Rising, in month and in use of an id, so that the latest message stays.
    for (month, sends) in by_month {
        for chunk in sends.chunks(PLACES_MAX) {
            let mut select = statement(format!(
                "SELECT conversation, sender, client_msg_id, epoch, seq, msg_id, ts_ms FROM {} WHERE ",
                month.table()
            ));
            push_any(&mut select, chunk, |select, (id, from, client_msg_id)| {
                select.push("conversation = ").push_bind(*id).push(" AND sender = ").push_bind(*from);
                select.push(" AND client_msg_id = ").push_bind(*client_msg_id);
            });
            select.push(" ORDER BY reuse");
            let rows = select.build_query_as().fetch_all(&mut *connection).await;
            let rows: Vec<(u64, Text, Text, u64, u64, u64, u64)> = or_dropped(rows)?;
            for (id, from, client_msg_id, epoch, seq, msg_id, ts_ms) in rows {
                found.insert((id, from.0, client_msg_id.0), HeldNumber { epoch, seq, msg_id, ts_ms });
            }
        }
    }
    let floors = Floors::of(&mut connection, &found.keys().map(|(id, ..)| *id).collect::<Vec<_>>()).await?;
    let held = |(at, (conv, from, client_msg_id)): (usize, &(&str, &str, &str))| {
        let id = known.get(*conv)?.id;
        let held = *found.get(&(id, (*from).to_owned(), (*client_msg_id).to_owned()))?;
        Some((at, HeldNumber { epoch: floors.epoch(id, held.seq, held.epoch), ..held }))
    };
    Ok(sends.iter().enumerate().filter_map(held).collect())
}

fn distinct<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut items: Vec<&str> = items.collect();
    items.sort_unstable();
    items.dedup();
    items
}

async fn read_places(
    database: &Database,
    uid: &Uid,
    device: &DeviceId,
    fresh: &[String],
) -> Result<Vec<Place>, Failed> {
    let mut connection = database.primary().acquire().await?;
    let rows: Vec<(Text, u64, u64)> = sqlx::query_as(
        "SELECT u.conv, CAST(0 AS UNSIGNED), CAST(COALESCE(c.head, 0) AS UNSIGNED) FROM conversation_users u \
         LEFT JOIN conversations c ON c.conv = u.conv WHERE u.uid = ? \
         UNION ALL SELECT CONCAT('group:', m.group_id), m.joined_seq, CAST(COALESCE(c.head, 0) AS UNSIGNED) \
         FROM group_members m LEFT JOIN conversations c ON c.conv = CONCAT('group:', m.group_id) WHERE m.uid = ?",
    )
    .bind(uid.as_str())
    .bind(uid.as_str())
    .fetch_all(&mut *connection)
    .await?;
    let place = |(conv, joined_seq, head): (Text, u64, u64)| {
        (conv.0.clone(), Place { conv: conv.0, joined_seq, head, ..Place::default() })
    };
    let mut places: HashMap<String, Place> = rows.into_iter().map(place).collect();
    let unknown: Vec<&str> =
        distinct(fresh.iter().map(String::as_str)).into_iter().filter(|conv| !places.contains_key(*conv)).collect();
    let heads = heads(&mut connection, &unknown).await?;
    for conv in unknown {
        let head = heads.get(conv).copied().unwrap_or(0);
        places.insert(conv.to_owned(), Place { conv: conv.to_owned(), head, ..Place::default() });
    }
    let cursors: Vec<(Text, Text, u64, u64)> =
        sqlx::query_as("SELECT conv, device, epoch, seq FROM cursors WHERE uid = ?")
            .bind(uid.as_str())
            .fetch_all(&mut *connection)
            .await?;
    for (conv, on, epoch, seq) in cursors {
        let Some(place) = places.get_mut(&conv.0) else { continue };
        let cursor = Some(Cursor { epoch, seq });
        place.user_cursor = place.user_cursor.max(cursor);
        if on.0 == device.as_str() {
            place.device_cursor = cursor;
        }
    }
    Ok(places.into_values().collect())
}

async fn heads(connection: &mut MySqlConnection, convs: &[&str]) -> Result<HashMap<String, u64>, sqlx::Error> {
    let mut heads = HashMap::with_capacity(convs.len());
    for chunk in convs.chunks(LIST_MAX) {
        let mut select = statement("SELECT conv, head FROM conversations WHERE conv IN ");
        push_list(&mut select, chunk.iter().copied());
        let rows: Vec<(Text, u64)> = select.build_query_as().fetch_all(&mut *connection).await?;
        heads.extend(rows.into_iter().map(|(conv, head)| (conv.0, head)));
    }
    Ok(heads)
}

async fn read_list(database: &Database, uid: &Uid, after: &str, limit: usize) -> Result<Vec<ListRow>, Failed> {
    let rows: Vec<(Text, u64, u64, u64, Text)> = sqlx::query_as(
        "SELECT mine.conv, mine.joined_seq, CAST(COALESCE(c.head, 0) AS UNSIGNED), \
                CAST(COALESCE(r.read_seq, 0) AS UNSIGNED), mine.name \
         FROM (SELECT conv, CAST(0 AS UNSIGNED) AS joined_seq, '' AS name FROM conversation_users \
                 WHERE uid = ? AND conv > ? \
               UNION ALL SELECT CONCAT('group:', m.group_id), m.joined_seq, g.name \
                 FROM group_members m JOIN `groups` g ON g.id = m.group_id WHERE m.uid = ?) mine \
         LEFT JOIN conversations c ON c.conv = mine.conv \
         LEFT JOIN receipts r ON r.uid = ? AND r.conv = mine.conv \
         WHERE mine.conv > ? ORDER BY mine.conv LIMIT ?",
    )
    .bind(uid.as_str())
    .bind(after)
    .bind(uid.as_str())
    .bind(uid.as_str())
    .bind(after)
    .bind(limit as u64)
    .fetch_all(database.primary())
    .await?;
    let row = |(conv, joined_seq, head, read, name): (Text, u64, u64, u64, Text)| ListRow {
        conv: conv.0,
        joined_seq,
        head,
        read,
        name: name.0,
    };
    Ok(rows.into_iter().map(row).collect())
}

async fn read_names(database: &Database, uids: &[&str]) -> Result<HashMap<String, String>, Failed> {
    let mut names = HashMap::with_capacity(uids.len());
    for chunk in uids.chunks(LIST_MAX) {
        let mut select = statement("SELECT uid, name FROM users WHERE uid IN ");
        push_list(&mut select, chunk.iter().copied());
        let rows: Vec<(Text, Text)> = select.build_query_as().fetch_all(database.primary()).await?;
        names.extend(rows.into_iter().map(|(uid, name)| (uid.0, name.0)));
    }
    Ok(names)
}

/// Rows at places, with the conversation each is of.
async fn rows_at<T>(
    database: &Database,
    places: &[(&str, u64)],
    columns: &str,
    mut take: impl FnMut(&str, T),
) -> Result<(), Failed>
where
    T: for<'r> sqlx::FromRow<'r, sqlx::mysql::MySqlRow> + HasConversation + Send + Unpin,
{
    let mut connection = database.primary().acquire().await?;
    let known = spans::of_names(&mut connection, &distinct(places.iter().map(|(conv, _)| *conv))).await?;
    let names: HashMap<u64, &str> = known.iter().map(|(conv, known)| (known.id, conv.as_str())).collect();
    let mut by_month: BTreeMap<Month, Vec<(u64, u64)>> = BTreeMap::new();
    for (conv, seq) in places {
        let month = known.get(*conv).and_then(|known| Some((known.id, known.month_of(*seq)?)));
        if let Some((id, month)) = month {
            by_month.entry(month).or_default().push((id, *seq));
        }
    }
    for (month, places) in by_month {
        for chunk in places.chunks(PLACES_MAX) {
            let mut select = statement(format!("SELECT {columns} FROM {} m WHERE ", month.table()));
            push_any(&mut select, chunk, |select, (id, seq)| {
                select.push("m.conversation = ").push_bind(*id).push(" AND m.seq = ").push_bind(*seq);
            });
            let rows = select.build_query_as().fetch_all(&mut *connection).await;
            let rows: Vec<T> = or_dropped(rows)?;
            for row in rows {
                if let Some(conv) = names.get(&row.conversation()) {
                    take(conv, row);
                }
            }
        }
    }
    Ok(())
}

async fn read_messages_at(database: &Database, places: &[(&str, u64)]) -> Result<HashMap<String, Message>, Failed> {
    let (mut messages, mut ids) = (HashMap::with_capacity(places.len()), Vec::with_capacity(places.len()));
    let columns = format!("m.conversation, {COLUMNS}");
    rows_at(database, places, &columns, |conv, row: MessageRow| {
        let (id, seq, epoch, msg_id, from, client_msg_id, kind, body, enc, ts_ms) = row;
        let row: Row = (seq, epoch, msg_id, from, client_msg_id, kind, body, enc, ts_ms);
        messages.insert(conv.to_owned(), message(conv, row));
        ids.push((conv.to_owned(), id));
    })
    .await?;
    let mut connection = database.primary().acquire().await?;
    let floors = Floors::of(&mut connection, &ids.iter().map(|(_, id)| *id).collect::<Vec<_>>()).await?;
    for (conv, id) in ids {
        if let Some(message) = messages.get_mut(&conv) {
            message.epoch = floors.epoch(id, message.seq, message.epoch);
        }
    }
    Ok(messages)
}

/// A row that tells the conversation it is of.
trait HasConversation {
    fn conversation(&self) -> u64;
}

impl HasConversation for (u64, u64, u64) {
    fn conversation(&self) -> u64 {
        self.0
    }
}

/// A message with the row number of its conversation before it.
type MessageRow = (u64, u64, u64, u64, Text, Text, Text, Text, Text, u64);

impl HasConversation for MessageRow {
    fn conversation(&self) -> u64 {
        self.0
    }
}

async fn read_own_counts(
    database: &Database,
    uid: &Uid,
    ranges: &[(&str, u64, u64)],
) -> Result<HashMap<String, u64>, Failed> {
    let mut connection = database.primary().acquire().await?;
    let known = spans::of_names(&mut connection, &distinct(ranges.iter().map(|(conv, ..)| *conv))).await?;
    let mut counts: HashMap<u64, u64> = known.values().map(|known: &Known| (known.id, 0)).collect();
    let mut by_month: BTreeMap<Month, Vec<(u64, u64, u64)>> = BTreeMap::new();
    for (conv, above, up_to) in ranges {
        let Some(known) = known.get(*conv) else { continue };
        for span in known.spans.iter().filter(|span| span.last > *above && span.first <= *up_to) {
            by_month.entry(span.month).or_default().push((known.id, *above, *up_to));
        }
    }
    for (month, ranges) in by_month {
        for chunk in ranges.chunks(PLACES_MAX) {
            let mut select = statement(format!("SELECT conversation, COUNT(*) FROM {} WHERE sender = ", month.table()));
            select.push_bind(uid.as_str()).push(" AND ");
            push_any(&mut select, chunk, |select, (id, above, up_to)| {
                select.push("conversation = ").push_bind(*id).push(" AND seq > ").push_bind(*above);
                select.push(" AND seq <= ").push_bind(*up_to);
            });
            select.push(" GROUP BY conversation");
            let rows = select.build_query_as().fetch_all(&mut *connection).await;
            let rows: Vec<(u64, i64)> = or_dropped(rows)?;
            for (id, count) in rows {
                *counts.entry(id).or_default() += u64::try_from(count).unwrap_or(0);
            }
        }
    }
    let count = |(conv, known): (String, Known)| (conv, counts.get(&known.id).copied().unwrap_or(0));
    Ok(known.into_iter().map(count).collect())
}

async fn try_raise_cursors(database: &Database, updates: &[(CursorUpdate, u64)]) -> Result<(), Failed> {
    let mut transaction = database.write().await?;
    let convs = distinct(updates.iter().map(|(update, _)| update.conv.as_str()));
    let heads = heads(&mut transaction, &convs).await?;
    // The highest of each device, in the order of the key: two writers meet in the same order.
    let mut raised: BTreeMap<(&str, &str, &str), Cursor> = BTreeMap::new();
    for (update, head) in updates {
        let (conv, epoch) = (update.conv.as_str(), update.epoch);
        let head = heads.get(conv).copied().unwrap_or(0).max(*head);
        let cursor = Cursor { epoch, seq: update.seq.min(head) };
        let highest = raised.entry((update.uid.as_str(), conv, update.device.as_str())).or_default();
        *highest = (*highest).max(cursor);
    }
    let rows: Vec<_> = raised.into_iter().collect();
    for chunk in rows.chunks(LIST_MAX) {
        let mut insert = statement("INSERT INTO cursors (uid, conv, device, epoch, seq) ");
        insert.push_values(filled(chunk), |mut row, ((uid, conv, device), cursor)| {
            row.push_bind(*uid).push_bind(*conv).push_bind(*device).push_bind(cursor.epoch).push_bind(cursor.seq);
        });
        // Assigned from left to right: the number first, while the old epoch is there to compare with.
        insert.push(
            " ON DUPLICATE KEY UPDATE seq = IF(VALUES(epoch) > epoch, VALUES(seq), \
             IF(VALUES(epoch) = epoch, GREATEST(seq, VALUES(seq)), seq)), epoch = GREATEST(epoch, VALUES(epoch))",
        );
        insert.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

#[async_trait]
impl Records for Database {
    async fn sends(&self, sends: &[(&str, &str, &str)]) -> Result<Vec<(usize, HeldNumber)>, StoreError> {
        self.bounded(read_sends(self, sends)).await
    }

    async fn places(&self, uid: &Uid, device: &DeviceId, fresh: &[String]) -> Result<Vec<Place>, StoreError> {
        self.bounded(read_places(self, uid, device, fresh)).await
    }

    async fn list(&self, uid: &Uid, after: &str, limit: usize) -> Result<Vec<ListRow>, StoreError> {
        self.bounded(read_list(self, uid, after, limit)).await
    }

    async fn names(&self, uids: &[&str]) -> Result<HashMap<String, String>, StoreError> {
        self.bounded(read_names(self, uids)).await
    }

    async fn times(&self, places: &[(&str, u64)]) -> Result<HashMap<(String, u64), u64>, StoreError> {
        let mut times = HashMap::with_capacity(places.len());
        self.bounded(rows_at(self, places, "m.conversation, m.seq, m.ts_ms", |conv, row: (u64, u64, u64)| {
            let (_, seq, ts_ms) = row;
            times.insert((conv.to_owned(), seq), ts_ms);
        }))
        .await?;
        Ok(times)
    }

    async fn own_counts(&self, uid: &Uid, ranges: &[(&str, u64, u64)]) -> Result<HashMap<String, u64>, StoreError> {
        self.bounded(read_own_counts(self, uid, ranges)).await
    }

    async fn messages_at(&self, places: &[(&str, u64)]) -> Result<HashMap<String, Message>, StoreError> {
        self.bounded(read_messages_at(self, places)).await
    }

    async fn raise_cursors(&self, updates: &[(CursorUpdate, u64)]) -> Result<(), StoreError> {
        if updates.is_empty() {
            return Ok(());
        }
        retried!(self, try_raise_cursors(self, updates))
    }
}
