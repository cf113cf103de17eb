//! Leases: rows of `leases`, by the clock of the database.
//!
//! A statement reads the clock where it begins, before it waits for a row: what it takes runs out early rather than
//! late, and what it finds run out is so still when it has the row.

use async_trait::async_trait;
use ringway_store::limits::{LEASE_NAME_BYTES_MAX, LEASES_LISTED_MAX};
use ringway_store::ports::{Leases, StoreError};

use crate::database::Database;
use crate::fault::{Fault, is_duplicate, retried};
use crate::limits::{LEASE_MS_MAX, LEASES_FORGOTTEN_AFTER_MS, LEASES_FORGOTTEN_MAX};
use crate::text::Text;

type Failed = Fault<StoreError>;

/// The database's clock, Unix milliseconds.
macro_rules! now {
    () => {
        "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS UNSIGNED)"
    };
}

async fn try_hold(database: &Database, name: &str, owner: &str, ttl_ms: u64) -> Result<bool, Failed> {
    for text in [name, owner] {
        if text.len() > LEASE_NAME_BYTES_MAX {
            return Err(Fault::wrong(format!("{} bytes for a lease's name or owner", text.len())));
        }
    }
    let ttl_ms = ttl_ms.min(LEASE_MS_MAX);
    // The driver counts rows found, so a renewal within the same millisecond counts too.
    let renewed = sqlx::query(concat!(
        "UPDATE leases SET owner = ?, until_ms = ",
        now!(),
        " + ? WHERE name = ? AND (owner = ? OR until_ms <= ",
        now!(),
        ")"
    ))
    .bind(owner)
    .bind(ttl_ms)
    .bind(name)
    .bind(owner)
    .execute(database.primary())
    .await?;
    if renewed.rows_affected() > 0 {
        return Ok(true);
    }
    let made = sqlx::query(concat!("INSERT INTO leases (name, owner, until_ms) VALUES (?, ?, ", now!(), " + ?)"))
        .bind(name)
        .bind(owner)
        .bind(ttl_ms)
        .execute(database.primary())
        .await;
    match made {
        Err(error) if is_duplicate(&error) => return Ok(false),
        made => made?,
    };
    forget_old(database).await;
    Ok(true)
}

/// Names that nobody will use again, those of processes above all. What stays is taken by the next new name.
async fn forget_old(database: &Database) {
    let forgotten = sqlx::query(concat!("DELETE FROM leases WHERE until_ms < ", now!(), " - ? LIMIT ?"))
        .bind(LEASES_FORGOTTEN_AFTER_MS)
        .bind(LEASES_FORGOTTEN_MAX)
        .execute(database.primary())
        .await;
    if let Err(error) = forgotten {
        // The lease is held all the same.
        tracing::debug!(%error, "old leases are not removed");
    }
}

async fn try_let_go(database: &Database, name: &str, owner: &str) -> Result<(), Failed> {
    sqlx::query("DELETE FROM leases WHERE name = ? AND owner = ?")
        .bind(name)
        .bind(owner)
        .execute(database.primary())
        .await?;
    Ok(())
}

async fn read_held(database: &Database, prefix: &str) -> Result<Vec<(String, String)>, Failed> {
    let rows: Vec<(Text, Text)> = sqlx::query_as(concat!(
        "SELECT name, owner FROM leases WHERE name >= ? AND LEFT(name, ?) = ? AND until_ms > ",
        now!(),
        " ORDER BY name LIMIT ?"
    ))
    .bind(prefix)
    .bind(prefix.len() as u64)
    .bind(prefix)
    .bind(LEASES_LISTED_MAX as u64)
    .fetch_all(database.primary())
    .await?;
    Ok(rows.into_iter().map(|(name, owner)| (name.0, owner.0)).collect())
}

#[async_trait]
impl Leases for Database {
    async fn hold(&self, name: &str, owner: &str, ttl_ms: u64) -> Result<bool, StoreError> {
        retried!(self, try_hold(self, name, owner, ttl_ms))
    }

    async fn let_go(&self, name: &str, owner: &str) -> Result<(), StoreError> {
        retried!(self, try_let_go(self, name, owner))
    }

    async fn held(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.bounded(read_held(self, prefix)).await
    }
}
