//! The outbox: what a change of the directory still has to tell the gateways, written with the change.
//!
//! Entries are relayed in the order of their ids and removed up to an id, so ids must appear in the order they were
//! given out: an entry that became visible after a higher one was relayed would be removed unread. AUTO_INCREMENT
//! gives ids out before transactions end, in any order. So an id is taken from a row of `state`, which the transaction
//! then holds to its end; it is taken last, so that it is held for the time of a commit only.

use std::time::Duration;

use ringway_store::ports::{OutboxEntry, ServerMessage, Signal};
use sqlx::MySqlConnection;

use super::Failed;
use crate::database::Database;
use crate::fault::wrong;
use crate::text::Text;

/// How long [`wait`] sleeps when nothing was put out here: entries of other processes show by then.
const WAIT_MS: u64 = 1_000;

/// A system message without its id, which comes from the entry's.
pub(super) struct Notice<'a> {
    pub(super) conv: &'a str,
    pub(super) body: &'a str,
}

/// Puts an entry out: the last statement of its transaction.
pub(super) async fn put(
    connection: &mut MySqlConnection,
    signal: &Signal,
    notice: Option<Notice<'_>>,
) -> Result<(), Failed> {
    let signal = serde_json::to_string(signal).map_err(wrong)?;
    let taken = sqlx::query("UPDATE state SET value = LAST_INSERT_ID(value + 1) WHERE name = 'outbox'")
        .execute(&mut *connection)
        .await?;
    sqlx::query("INSERT INTO outbox (id, `signal`, conv, body) VALUES (?, ?, ?, ?)")
        .bind(taken.last_insert_id())
        .bind(signal)
        .bind(notice.as_ref().map(|notice| notice.conv))
        .bind(notice.as_ref().map(|notice| notice.body))
        .execute(connection)
        .await?;
    Ok(())
}

type Row = (u64, Option<Text>, Option<Text>, Option<Text>);

pub(super) async fn list(database: &Database, limit: usize) -> Result<Vec<OutboxEntry>, Failed> {
    let rows: Vec<Row> = sqlx::query_as("SELECT id, `signal`, conv, body FROM outbox ORDER BY id LIMIT ?")
        .bind(limit as u64)
        .fetch_all(database.primary())
        .await?;
    rows.into_iter().map(entry).collect()
}

fn entry((id, signal, conv, body): Row) -> Result<OutboxEntry, Failed> {
    let signal = signal.map(|text| serde_json::from_str(&text.0)).transpose().map_err(wrong)?;
    let message = conv.zip(body).map(|(conv, body)| ServerMessage {
        conv: conv.0,
        client_msg_id: format!("outbox-{id}"),
        kind: "system".to_owned(),
        body: body.0,
    });
    Ok(OutboxEntry { id, signal, message })
}

pub(super) async fn done(database: &Database, up_to_id: u64) -> Result<(), Failed> {
    sqlx::query("DELETE FROM outbox WHERE id <= ?").bind(up_to_id).execute(database.primary()).await?;
    Ok(())
}

pub(super) async fn wait(database: &Database) {
    // Elapsed is as good as notified: the caller looks either way.
    let _ = tokio::time::timeout(Duration::from_millis(WAIT_MS), database.outbox_filled().notified()).await;
}
