//! Accounts: rows of `users`.

use ringway_engine::ids::Uid;
use ringway_store::ports::{Account, DirectoryError};

use super::Failed;
use crate::database::Database;
use crate::fault::is_duplicate;
use crate::text::Text;

pub(super) async fn create(database: &Database, account: &Account, password_hash: &str) -> Result<(), Failed> {
    let made = sqlx::query("INSERT INTO users (uid, name, password_hash, created_ms) VALUES (?, ?, ?, ?)")
        .bind(account.uid.as_str())
        .bind(&account.name)
        .bind(password_hash)
        .bind(account.created_ms)
        .execute(database.primary())
        .await;
    match made {
        Err(error) if is_duplicate(&error) => Err(DirectoryError::Taken.into()),
        made => Ok(made.map(drop)?),
    }
}

pub(super) async fn find(database: &Database, uid: &Uid) -> Result<Option<Account>, Failed> {
    let row: Option<(Text, u64)> = sqlx::query_as("SELECT name, created_ms FROM users WHERE uid = ?")
        .bind(uid.as_str())
        .fetch_optional(database.primary())
        .await?;
    Ok(row.map(|(name, created_ms)| Account { uid: uid.clone(), name: name.0, created_ms }))
}

pub(super) async fn rename(database: &Database, uid: &Uid, name: &str) -> Result<(), Failed> {
    // The driver counts rows found, so an unchanged name is no unknown user.
    let done = sqlx::query("UPDATE users SET name = ? WHERE uid = ?")
        .bind(name)
        .bind(uid.as_str())
        .execute(database.primary())
        .await?;
    if done.rows_affected() == 0 { Err(DirectoryError::NotFound.into()) } else { Ok(()) }
}

pub(super) async fn password_hash(database: &Database, uid: &Uid) -> Result<Option<String>, Failed> {
    let hash: Option<Text> = sqlx::query_scalar("SELECT password_hash FROM users WHERE uid = ?")
        .bind(uid.as_str())
        .fetch_optional(database.primary())
        .await?;
    Ok(hash.map(|hash| hash.0))
}
