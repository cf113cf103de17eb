//! The outbox: what a change of the directory still has to tell the gateways, written with the change.

use std::time::Duration;

use sqlx::{Sqlite, Transaction};

use super::{Database, failed, signed, unsigned};
use crate::ports::{DirectoryError, OutboxEntry, ServerMessage, Signal, StoreError};

/// How long [`wait`] sleeps when nothing was put out here: entries of other processes show by then.
const WAIT_MS: u64 = 1_000;

/// A system message without its id, which comes from the entry's.
pub(super) struct Notice<'a> {
    pub(super) conv: &'a str,
    pub(super) body: &'a str,
}

pub(super) async fn put(
    transaction: &mut Transaction<'static, Sqlite>,
    signal: Option<&Signal>,
    notice: Option<Notice<'_>>,
) -> Result<(), StoreError> {
    let signal = signal.map(super::json_list).transpose()?;
    sqlx::query("INSERT INTO outbox (signal, conv, body) VALUES (?1, ?2, ?3)")
        .bind(signal)
        .bind(notice.as_ref().map(|notice| notice.conv))
        .bind(notice.as_ref().map(|notice| notice.body))
        .execute(&mut **transaction)
        .await
        .map_err(failed)?;
    Ok(())
}

type Row = (i64, Option<String>, Option<String>, Option<String>);

pub(super) async fn list(database: &Database, limit: usize) -> Result<Vec<OutboxEntry>, DirectoryError> {
    let rows: Vec<Row> = sqlx::query_as("SELECT id, signal, conv, body FROM outbox ORDER BY id LIMIT ?1")
        .bind(signed(limit as u64))
        .fetch_all(&database.readers)
        .await
        .map_err(failed)?;
    rows.into_iter().map(entry).collect()
}

fn entry((id, signal, conv, body): Row) -> Result<OutboxEntry, DirectoryError> {
    let signal = signal.map(|text| serde_json::from_str(&text)).transpose();
    let message = conv.zip(body).map(|(conv, body)| ServerMessage {
        conv,
        client_msg_id: format!("outbox-{id}"),
        kind: "system".to_owned(),
        body,
    });
    Ok(OutboxEntry { id: unsigned(id), signal: signal.map_err(|error| StoreError::new("sqlite", error))?, message })
}

pub(super) async fn done(database: &Database, up_to_id: u64) -> Result<(), DirectoryError> {
    sqlx::query("DELETE FROM outbox WHERE id <= ?1")
        .bind(signed(up_to_id))
        .execute(&database.writer)
        .await
        .map_err(failed)?;
    Ok(())
}

pub(super) async fn wait(database: &Database) {
    // Elapsed is as good as notified: the caller looks either way.
    let _ = tokio::time::timeout(Duration::from_millis(WAIT_MS), database.outbox_filled.notified()).await;
}
