//! The schema: made or brought up to date by whichever process comes first, one at a time.
//!
//! MySQL cannot take a CREATE TABLE back, so a migration that was cut short is run again from its start: each of its
//! statements must bear that. The format is recorded after it.

use sqlx::{Connection as _, MySqlConnection};

use crate::database::OpenError;
use crate::fault::is_missing_table;

/// Format of the database that this version writes.
pub const FORMAT_VERSION: u64 = 2;
/// How long another process's migration is waited for.
const LOCK_WAIT_S: u64 = 120;
/// Format after it, and its statements.
const MIGRATIONS: [(u64, &str); 2] =
    [(1, include_str!("../migrations/0001_path.sql")), (2, include_str!("../migrations/0002_holes.sql"))];

/// Brings the schema up to date. The connection is not used for anything else: its lock ends with it.
pub(crate) async fn run(mut connection: MySqlConnection) -> Result<(), OpenError> {
    if found_format(&mut connection).await? == Some(FORMAT_VERSION) {
        connection.close().await?;
        return Ok(());
    }
    let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(CONCAT('ringway ', MD5(DATABASE())), ?)")
        .bind(LOCK_WAIT_S)
        .fetch_one(&mut connection)
        .await?;
    if locked != Some(1) {
        return Err(OpenError::Busy);
    }
    let found = found_format(&mut connection).await?.unwrap_or(0);
    for (version, statements) in MIGRATIONS.into_iter().filter(|(version, _)| *version > found) {
        sqlx::raw_sql(statements).execute(&mut connection).await?;
        sqlx::query(
            "INSERT INTO state (name, value) VALUES ('format_version', ?) \
             ON DUPLICATE KEY UPDATE value = VALUES(value)",
        )
        .bind(version)
        .execute(&mut connection)
        .await?;
    }
    connection.close().await?;
    Ok(())
}

async fn found_format(connection: &mut MySqlConnection) -> Result<Option<u64>, OpenError> {
    let found: Result<Option<u64>, sqlx::Error> =
        sqlx::query_scalar("SELECT value FROM state WHERE name = 'format_version'").fetch_optional(connection).await;
    match found {
        Ok(Some(found)) if found > FORMAT_VERSION => Err(OpenError::Newer { found }),
        Ok(found) => Ok(found),
        Err(error) if is_missing_table(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
