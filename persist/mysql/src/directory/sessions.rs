//! Sign-in sessions: rows of `sessions`, and the refresh tokens they have spent.
//!
//! ```text
//!  open ──► live ──rotate──► live (new hash; the old one is spent)
//!             │ revoke, or a spent hash comes back
//!             ▼
//!          revoked until its last access token ends ──► gone
//! ```
//!
//! A rotation locks the session's row first, so two that bring the same token are one after the other, and the second
//! finds it spent.

use ringway_engine::ids::{DeviceId, Uid};
use ringway_store::ports::{DirectoryError, LoginSession, NewSession, Signal};
use sqlx::{MySql, MySqlConnection, Transaction};

use super::{Failed, outbox};
use crate::database::Database;
use crate::fault::wrong;
use crate::text::Text;

pub(super) async fn open(database: &Database, session: &NewSession) -> Result<(), Failed> {
    let mut transaction = database.write().await?;
    // What has ended long ago goes here, so that the table is bounded by live sign-ins.
    sqlx::query("DELETE FROM sessions WHERE uid = ? AND expires_ms <= ? AND COALESCE(revoked_until_ms, 0) <= ?")
        .bind(session.uid.as_str())
        .bind(session.created_ms)
        .bind(session.created_ms)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(
        "INSERT INTO sessions (sid, uid, device, platform, refresh_hash, created_ms, expires_ms) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&session.sid)
    .bind(session.uid.as_str())
    .bind(session.device.as_str())
    .bind(&session.platform)
    .bind(session.refresh_hash.as_slice())
    .bind(session.created_ms)
    .bind(session.expires_ms)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(())
}

type Row = (Text, Text, Text, u64, Option<u64>);

/// The session with its new hash; none when the token is unknown, expired, revoked or was spent before.
pub(super) async fn rotate(
    database: &Database,
    old_hash: &[u8],
    new_hash: &[u8],
    now_ms: u64,
    expires_ms: u64,
) -> Result<Option<LoginSession>, Failed> {
    let mut transaction = database.write().await?;
    let row: Option<Row> = sqlx::query_as(
        "SELECT sid, uid, device, expires_ms, revoked_until_ms FROM sessions WHERE refresh_hash = ? FOR UPDATE",
    )
    .bind(old_hash)
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((sid, uid, device, old_expires_ms, revoked)) = row else {
        reused(transaction, old_hash).await?;
        return Ok(None);
    };
    if revoked.is_some() || old_expires_ms <= now_ms {
        return Ok(None);
    }
    sqlx::query("INSERT INTO spent_refresh_tokens (hash, sid, expires_ms) VALUES (?, ?, ?)")
        .bind(old_hash)
        .bind(&sid.0)
        .bind(old_expires_ms)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("UPDATE sessions SET refresh_hash = ?, expires_ms = ? WHERE sid = ?")
        .bind(new_hash)
        .bind(expires_ms)
        .bind(&sid.0)
        .execute(&mut *transaction)
        .await?;
    sqlx::query("DELETE FROM spent_refresh_tokens WHERE sid = ? AND expires_ms <= ?")
        .bind(&sid.0)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let uid = Uid::parse(&uid.0).map_err(wrong)?;
    let device = DeviceId::parse(&device.0).map_err(wrong)?;
    Ok(Some(LoginSession { sid: sid.0, uid, device, expires_ms }))
}

/// A hash that is no session's current one: if it was spent, somebody else holds the token too, so the
/// session ends. Its access tokens are over at the latest when its refresh token would have been.
async fn reused(mut transaction: Transaction<'static, MySql>, hash: &[u8]) -> Result<(), Failed> {
    let row: Option<(Text, u64)> = sqlx::query_as(
        "SELECT s.sid, s.expires_ms FROM spent_refresh_tokens t JOIN sessions s ON s.sid = t.sid \
         WHERE t.hash = ? AND s.revoked_until_ms IS NULL FOR UPDATE",
    )
    .bind(hash)
    .fetch_optional(&mut *transaction)
    .await?;
    if let Some((sid, expires_ms)) = row {
        tracing::warn!(sid = sid.0, "a spent refresh token came back: session revoked");
        mark_revoked(&mut transaction, &sid.0, expires_ms).await?;
        transaction.commit().await?;
    }
    Ok(())
}

async fn mark_revoked(connection: &mut MySqlConnection, sid: &str, until_ms: u64) -> Result<(), Failed> {
    let done =
        sqlx::query("UPDATE sessions SET revoked_until_ms = GREATEST(COALESCE(revoked_until_ms, 0), ?) WHERE sid = ?")
            .bind(until_ms)
            .bind(sid)
            .execute(&mut *connection)
            .await?;
    if done.rows_affected() == 0 {
        return Err(DirectoryError::NotFound.into());
    }
    outbox::put(connection, &Signal::SessionRevoked { sid: sid.to_owned(), until_ms }, None).await
}

pub(super) async fn revoke(database: &Database, sid: &str, now_ms: u64, until_ms: u64) -> Result<(), Failed> {
    let mut transaction = database.write().await?;
    sqlx::query("DELETE FROM sessions WHERE revoked_until_ms <= ? AND sid <> ?")
        .bind(now_ms)
        .bind(sid)
        .execute(&mut *transaction)
        .await?;
    mark_revoked(&mut transaction, sid, until_ms).await?;
    transaction.commit().await?;
    Ok(())
}

pub(super) async fn revoked(database: &Database, now_ms: u64) -> Result<Vec<(String, u64)>, Failed> {
    let rows: Vec<(Text, u64)> =
        sqlx::query_as("SELECT sid, revoked_until_ms FROM sessions WHERE revoked_until_ms > ?")
            .bind(now_ms)
            .fetch_all(database.primary())
            .await?;
    Ok(rows.into_iter().map(|(sid, until_ms)| (sid.0, until_ms)).collect())
}
