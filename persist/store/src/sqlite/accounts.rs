//! Accounts: rows of `users`.

use ringway_engine::ids::Uid;

use super::{Database, failed, signed, unsigned};
use crate::ports::{Account, DirectoryError};

pub(super) async fn create(database: &Database, account: &Account, password_hash: &str) -> Result<(), DirectoryError> {
    let done = sqlx::query(
        "INSERT INTO users (uid, name, password_hash, created_ms) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )
    .bind(account.uid.as_str())
    .bind(&account.name)
    .bind(password_hash)
    .bind(signed(account.created_ms))
    .execute(&database.writer)
    .await
    .map_err(failed)?;
    if done.rows_affected() == 0 { Err(DirectoryError::Taken) } else { Ok(()) }
}

pub(super) async fn find(database: &Database, uid: &Uid) -> Result<Option<Account>, DirectoryError> {
    let row: Option<(String, i64)> = sqlx::query_as("SELECT name, created_ms FROM users WHERE uid = ?1")
        .bind(uid.as_str())
        .fetch_optional(&database.readers)
        .await
        .map_err(failed)?;
    Ok(row.map(|(name, created_ms)| Account { uid: uid.clone(), name, created_ms: unsigned(created_ms) }))
}

pub(super) async fn rename(database: &Database, uid: &Uid, name: &str) -> Result<(), DirectoryError> {
    let done = sqlx::query("UPDATE users SET name = ?2 WHERE uid = ?1")
        .bind(uid.as_str())
        .bind(name)
        .execute(&database.writer)
        .await
        .map_err(failed)?;
    if done.rows_affected() == 0 { Err(DirectoryError::NotFound) } else { Ok(()) }
}

pub(super) async fn password_hash(database: &Database, uid: &Uid) -> Result<Option<String>, DirectoryError> {
    sqlx::query_scalar("SELECT password_hash FROM users WHERE uid = ?1")
        .bind(uid.as_str())
        .fetch_optional(&database.readers)
        .await
        .map_err(|error| failed(error).into())
}
