//! Sign-in sessions: rows of `sessions`, and the refresh tokens they have spent.
//!
//! ```text
//!  open ──► live ──rotate──► live (new hash; the old one is spent)
//!             │ revoke, or a spent hash comes back
//!             ▼
//!          revoked until its last access token ends ──► gone
//! ```

use ringway_engine::ids::{DeviceId, Uid};

use super::{Database, failed, outbox, signed, unsigned};
use crate::ports::{DirectoryError, LoginSession, NewSession, Signal, StoreError};

pub(super) async fn open(database: &Database, session: &NewSession) -> Result<(), DirectoryError> {
    let mut transaction = database.write().await?;
    // What has ended long ago goes here, so that the table is bounded by live sign-ins.
    sqlx::query("DELETE FROM sessions WHERE uid = ?1 AND expires_ms <= ?2 AND coalesce(revoked_until_ms, 0) <= ?2")
        .bind(session.uid.as_str())
        .bind(signed(session.created_ms))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    sqlx::query(
        "INSERT INTO sessions (sid, uid, device, platform, refresh_hash, created_ms, expires_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )
    .bind(&session.sid)
    .bind(session.uid.as_str())
    .bind(session.device.as_str())
    .bind(&session.platform)
    .bind(session.refresh_hash.as_slice())
    .bind(signed(session.created_ms))
    .bind(signed(session.expires_ms))
    .execute(&mut *transaction)
    .await
    .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    Ok(())
}

type Row = (String, String, String, i64, Option<i64>);

pub(super) async fn rotate(
    database: &Database,
    old_hash: &[u8],
    new_hash: &[u8],
    now_ms: u64,
    expires_ms: u64,
) -> Result<LoginSession, DirectoryError> {
    let mut transaction = database.write().await?;
    let row: Option<Row> =
        sqlx::query_as("SELECT sid, uid, device, expires_ms, revoked_until_ms FROM sessions WHERE refresh_hash = ?1")
            .bind(old_hash)
            .fetch_optional(&mut *transaction)
            .await
            .map_err(failed)?;
    let Some((sid, uid, device, old_expires_ms, revoked)) = row else {
        return reused(database, transaction, old_hash).await;
    };
    if revoked.is_some() || unsigned(old_expires_ms) <= now_ms {
        return Err(DirectoryError::NotFound);
    }
    for (statement, hash, expires) in [
        ("INSERT INTO spent_refresh_tokens (sid, hash, expires_ms) VALUES (?1, ?2, ?3)", old_hash, old_expires_ms),
        ("UPDATE sessions SET refresh_hash = ?2, expires_ms = ?3 WHERE sid = ?1", new_hash, signed(expires_ms)),
    ] {
        let query = sqlx::query(statement).bind(&sid).bind(hash).bind(expires);
        query.execute(&mut *transaction).await.map_err(failed)?;
    }
    sqlx::query("DELETE FROM spent_refresh_tokens WHERE sid = ?1 AND expires_ms <= ?2")
        .bind(&sid)
        .bind(signed(now_ms))
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    let damaged = |error| StoreError::new("sqlite", error);
    let uid = Uid::parse(&uid).map_err(damaged)?;
    let device = DeviceId::parse(&device).map_err(damaged)?;
    Ok(LoginSession { sid, uid, device, expires_ms })
}

/// A hash that is no session's current one: if it was spent, somebody else holds the token too, so the
/// session ends. Its access tokens are over at the latest when its refresh token would have been.
async fn reused(
    database: &Database,
    mut transaction: sqlx::Transaction<'static, sqlx::Sqlite>,
    hash: &[u8],
) -> Result<LoginSession, DirectoryError> {
    let row: Option<(String, i64)> = sqlx::query_as(
        "SELECT s.sid, s.expires_ms FROM spent_refresh_tokens t JOIN sessions s ON s.sid = t.sid \
         WHERE t.hash = ?1 AND s.revoked_until_ms IS NULL",
    )
    .bind(hash)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failed)?;
    if let Some((sid, expires_ms)) = row {
        tracing::warn!(sid, "a spent refresh token came back: session revoked");
        mark_revoked(&mut transaction, &sid, unsigned(expires_ms)).await?;
        transaction.commit().await.map_err(failed)?;
        database.outbox_filled.notify_one();
    }
    Err(DirectoryError::NotFound)
}

async fn mark_revoked(
    transaction: &mut sqlx::Transaction<'static, sqlx::Sqlite>,
    sid: &str,
    until_ms: u64,
) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE sessions SET revoked_until_ms = max(coalesce(revoked_until_ms, 0), ?2) WHERE sid = ?1")
            .bind(sid)
            .bind(signed(until_ms))
            .execute(&mut **transaction)
            .await
            .map_err(failed)?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    outbox::put(transaction, Some(&Signal::SessionRevoked { sid: sid.to_owned(), until_ms }), None).await?;
    Ok(true)
}

pub(super) async fn revoke(database: &Database, sid: &str, now_ms: u64, until_ms: u64) -> Result<(), DirectoryError> {
    let mut transaction = database.write().await?;
    if !mark_revoked(&mut transaction, sid, until_ms).await? {
        return Err(DirectoryError::NotFound);
    }
    sqlx::query("DELETE FROM sessions WHERE revoked_until_ms <= ?1 AND sid <> ?2")
        .bind(signed(now_ms))
        .bind(sid)
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
    transaction.commit().await.map_err(failed)?;
    database.outbox_filled.notify_one();
    Ok(())
}

pub(super) async fn revoked(database: &Database, now_ms: u64) -> Result<Vec<(String, u64)>, DirectoryError> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT sid, revoked_until_ms FROM sessions WHERE revoked_until_ms > ?1")
            .bind(signed(now_ms))
            .fetch_all(&database.readers)
            .await
            .map_err(failed)?;
    Ok(rows.into_iter().map(|(sid, until)| (sid, unsigned(until))).collect())
}
