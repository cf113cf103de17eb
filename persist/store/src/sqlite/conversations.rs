//! What a shared state asks of the database: heads, earlier sends, a user's conversations.
//!
//! Lists of conversations or places go to SQLite as one JSON value each, so a call is one statement.

use std::collections::HashMap;

use ringway_engine::ids::{DeviceId, Uid};
use ringway_engine::packet::schema::Message;

use super::messages::{self, Row, epoch, row};
use super::{Database, Times, failed, json_list, signed, unsigned};
use crate::limits::CONVERSATION_SEQ_MAX;
use crate::ports::{Cursor, HeldNumber, ListRow, Place, StoreError};

fn held(key: i64, epoch: i64, msg_id: i64, ts_ms: i64) -> HeldNumber {
    let seq = unsigned(key & signed(CONVERSATION_SEQ_MAX));
    HeldNumber { epoch: unsigned(epoch), seq, msg_id: unsigned(msg_id), ts_ms: unsigned(ts_ms) }
}

/// Archived heads of those conversations that have any.
pub(crate) async fn heads(database: &Database, convs: &[&str]) -> Result<HashMap<String, (u64, u64)>, StoreError> {
    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as("SELECT c.conv, c.epoch, c.head FROM json_each(?1) j JOIN conversations c ON c.conv = j.value")
            .bind(json_list(&convs)?)
            .fetch_all(&database.readers)
            .await
            .map_err(failed)?;
    Ok(rows.into_iter().map(|(conv, epoch, head)| (conv, (unsigned(epoch), unsigned(head)))).collect())
}

/// Looks sends up by (conversation, sender, client message id): the place in the list, and the latest
/// message that holds the id.
pub(crate) async fn sends(
    database: &Database,
    sends: &[(&str, &str, &str)],
) -> Result<Vec<(usize, HeldNumber)>, StoreError> {
    let rows: Vec<(i64, i64, i64, i64, i64)> = sqlx::query_as(concat!(
        "SELECT j.key, m.key, ",
        epoch!(),
        ", m.msg_id, m.ts_ms FROM json_each(?1) j JOIN conversations c ON c.conv = j.value ->> 0 \
         JOIN messages m ON m.conv = c.id AND m.sender = j.value ->> 1 AND m.client_msg_id = j.value ->> 2 \
         ORDER BY j.key, m.reuse"
    ))
    .bind(json_list(&sends)?)
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    let mut found: Vec<(usize, HeldNumber)> = Vec::with_capacity(rows.len());
    for (at, key, epoch, msg_id, ts_ms) in rows {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let number = held(key, epoch, msg_id, ts_ms);
        match found.last_mut() {
            Some(last) if last.0 == at => last.1 = number,
            _ => found.push((at, number)),
        }
    }
    Ok(found)
}

/// An archived send with its names.
pub(crate) struct RecentSend {
    pub(crate) conv: String,
    pub(crate) from: String,
    pub(crate) client_msg_id: String,
    pub(crate) number: HeldNumber,
}

/// The archived sends with the highest message ids below `before`, at most `limit`, falling.
pub(crate) async fn sends_before(
    database: &Database,
    before: u64,
    limit: usize,
) -> Result<Vec<RecentSend>, StoreError> {
    let rows: Vec<(String, String, String, i64, i64, i64, i64)> = sqlx::query_as(concat!(
        "SELECT c.conv, m.sender, m.client_msg_id, m.key, ",
        epoch!(),
        ", m.msg_id, m.ts_ms FROM messages m CROSS JOIN conversations c ON c.id = m.conv WHERE m.msg_id < ?1 \
         ORDER BY m.msg_id DESC LIMIT ?2"
    ))
    .bind(signed(before))
    .bind(signed(limit as u64))
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    Ok(rows
        .into_iter()
        .map(|(conv, from, client_msg_id, key, epoch, msg_id, ts_ms)| RecentSend {
            conv,
            from,
            client_msg_id,
            number: held(key, epoch, msg_id, ts_ms),
        })
        .collect())
}

fn cursor(epoch: Option<i64>, seq: Option<i64>) -> Option<Cursor> {
    Some(Cursor { epoch: unsigned(epoch?), seq: unsigned(seq?) })
}

/// Whose conversations are asked for: user, device, and conversations that the database may not know yet.
pub(super) type PlacesOf = (Uid, DeviceId, Vec<String>);

/// All conversations of a user and those in `fresh`, with the cursors of one device and of all.
pub(crate) async fn places(
    database: &Database,
    uid: &Uid,
    device: &DeviceId,
    fresh: &[String],
) -> Result<Vec<Place>, StoreError> {
    let asked = (uid.clone(), device.clone(), fresh.to_vec());
    database.gathers.places.ask(database, asked, places_of).await
}

/// The same of several devices, in their order.
async fn places_of(database: Database, asked: Vec<PlacesOf>) -> Result<Vec<Vec<Place>>, StoreError> {
    type Found = (i64, String, i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>);
    let list: Vec<(&str, &str, &[String])> =
        asked.iter().map(|(uid, device, fresh)| (uid.as_str(), device.as_str(), fresh.as_slice())).collect();
    let rows: Vec<Found> = sqlx::query_as(
        "WITH asked (n, uid, device, fresh) AS MATERIALIZED ( \
           SELECT key, value ->> 0, value ->> 1, value -> 2 FROM json_each(?1)), \
         mine (n, uid, device, conv, joined_seq) AS ( \
           SELECT n, a.uid, device, conv, 0 FROM asked a CROSS JOIN conversation_users m ON m.uid = a.uid \
           UNION SELECT n, uid, device, f.value, 0 FROM asked a CROSS JOIN json_each(a.fresh) f \
           UNION ALL SELECT n, a.uid, device, 'group:' || group_id, joined_seq \
             FROM asked a CROSS JOIN group_members m ON m.uid = a.uid) \
         SELECT mine.n, mine.conv, mine.joined_seq, coalesce(c.head, 0), d.epoch, d.seq, u.epoch, u.seq \
         FROM mine LEFT JOIN conversations c ON c.conv = mine.conv \
         LEFT JOIN cursors d ON d.uid = mine.uid AND d.conv = mine.conv AND d.device = mine.device \
         LEFT JOIN cursors u ON u.uid = mine.uid AND u.conv = mine.conv AND u.device = ( \
           SELECT device FROM cursors k WHERE k.uid = mine.uid AND k.conv = mine.conv \
           ORDER BY k.epoch DESC, k.seq DESC LIMIT 1)",
    )
    .bind(json_list(&list)?)
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    let mut places: Vec<Vec<Place>> = vec![Vec::new(); asked.len()];
    for (at, conv, joined_seq, head, device_epoch, device_seq, user_epoch, user_seq) in rows {
        if let Some(places) = usize::try_from(at).ok().and_then(|at| places.get_mut(at)) {
            places.push(Place {
                conv,
                joined_seq: unsigned(joined_seq),
                head: unsigned(head),
                device_cursor: cursor(device_epoch, device_seq),
                user_cursor: cursor(user_epoch, user_seq),
            });
        }
    }
    Ok(places)
}

/// A user's conversations after `after` in the order of ids.
pub(crate) async fn list(
    database: &Database,
    uid: &Uid,
    after: &str,
    limit: usize,
) -> Result<Vec<ListRow>, StoreError> {
    let rows: Vec<(String, i64, i64, i64, String)> = sqlx::query_as(
        "WITH mine (conv, joined_seq, name) AS ( \
           SELECT conv, 0, '' FROM conversation_users WHERE uid = ?1 AND conv > ?2 \
           UNION ALL SELECT 'group:' || m.group_id, m.joined_seq, g.name \
             FROM group_members m JOIN groups g ON g.id = m.group_id WHERE m.uid = ?1) \
         SELECT mine.conv, mine.joined_seq, coalesce(c.head, 0), coalesce(r.read_seq, 0), mine.name \
         FROM mine LEFT JOIN conversations c ON c.conv = mine.conv \
         LEFT JOIN receipts r ON r.uid = ?1 AND r.conv = mine.conv \
         WHERE mine.conv > ?2 ORDER BY mine.conv LIMIT ?3",
    )
    .bind(uid.as_str())
    .bind(after)
    .bind(signed(limit as u64))
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    Ok(rows
        .into_iter()
        .map(|(conv, joined_seq, head, read, name)| ListRow {
            conv,
            joined_seq: unsigned(joined_seq),
            head: unsigned(head),
            read: unsigned(read),
            name,
        })
        .collect())
}

/// Display names of users.
pub(crate) async fn names(database: &Database, uids: &[&str]) -> Result<HashMap<String, String>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT u.uid, u.name FROM json_each(?1) j JOIN users u ON u.uid = j.value")
            .bind(json_list(&uids)?)
            .fetch_all(&database.readers)
            .await
            .map_err(failed)?;
    Ok(rows.into_iter().collect())
}

/// When the messages at these places were taken; those not archived are left out.
pub(crate) async fn times(database: &Database, places: &[(&str, u64)]) -> Result<Times, StoreError> {
    let asked = places.iter().map(|(conv, seq)| ((*conv).to_owned(), *seq)).collect();
    database.gathers.times.ask(database, asked, times_of).await
}

/// The same of several lists, in their order.
async fn times_of(database: Database, asked: Vec<Vec<(String, u64)>>) -> Result<Vec<Times>, StoreError> {
    let list: Vec<(usize, &str, u64)> = asked
        .iter()
        .enumerate()
        .flat_map(|(at, places)| places.iter().map(move |(conv, seq)| (at, conv.as_str(), *seq)))
        .collect();
    let rows: Vec<(i64, String, i64, i64)> = sqlx::query_as(
        "SELECT j.value ->> 0, c.conv, m.key, m.ts_ms FROM json_each(?1) j \
         JOIN conversations c ON c.conv = j.value ->> 1 JOIN messages m ON m.key = (c.id << 32) | (j.value ->> 2)",
    )
    .bind(json_list(&list)?)
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    let mut times: Vec<Times> = vec![Times::new(); asked.len()];
    for (at, conv, key, ts_ms) in rows {
        if let Some(times) = usize::try_from(at).ok().and_then(|at| times.get_mut(at)) {
            times.insert((conv, unsigned(key & signed(CONVERSATION_SEQ_MAX))), unsigned(ts_ms));
        }
    }
    Ok(times)
}

/// How many archived messages of each range (conversation, above, up to) `uid` has sent.
pub(crate) async fn own_counts(
    database: &Database,
    uid: &Uid,
    ranges: &[(&str, u64, u64)],
) -> Result<HashMap<String, u64>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT c.conv, (SELECT count(*) FROM messages m WHERE m.key > (c.id << 32) | (j.value ->> 1) \
                AND m.key <= (c.id << 32) | (j.value ->> 2) AND m.sender = ?1) \
         FROM json_each(?2) j JOIN conversations c ON c.conv = j.value ->> 0",
    )
    .bind(uid.as_str())
    .bind(json_list(&ranges)?)
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    Ok(rows.into_iter().map(|(conv, count)| (conv, unsigned(count))).collect())
}

/// The archived messages at these places.
pub(crate) async fn messages_at(
    database: &Database,
    places: &[(&str, u64)],
) -> Result<HashMap<String, Message>, StoreError> {
    type Found = (String, i64, i64, i64, String, String, String, String, String, i64);
    let rows: Vec<Found> = sqlx::query_as(concat!(
        "SELECT c.conv, ",
        row!(),
        " FROM json_each(?1) j JOIN conversations c ON c.conv = j.value ->> 0 \
         JOIN messages m ON m.key = (c.id << 32) | (j.value ->> 1)"
    ))
    .bind(json_list(&places)?)
    .fetch_all(&database.readers)
    .await
    .map_err(failed)?;
    Ok(rows
        .into_iter()
        .map(|(conv, key, epoch, msg_id, from, client_msg_id, kind, body, enc, ts_ms)| {
            let row: Row = (key, epoch, msg_id, from, client_msg_id, kind, body, enc, ts_ms);
            let message = messages::message(&conv, row);
            (conv, message)
        })
        .collect())
}
