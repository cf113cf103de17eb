//! Failures inside the adapters, and what is tried again.
//!
//! ```text
//!                    deadlock (1213), lock wait (1205)
//!   transaction ─────────────────────────────────────► rolled back ──► run again, TRIES_MAX times in one call
//!        │
//!        └── anything else ──► the caller's error
//! ```
//!
//! The server has rolled a deadlock's victim back; after a lock wait only the statement, so the transaction is always
//! dropped as a whole and begun anew.

use std::time::Duration;

use ringway_store::ports::StoreError;

use crate::limits::{RETRY_MS, TRIES_MAX};
use crate::months::Month;

/// The name of this store in errors.
const STORE: &str = "mysql";
const DEADLOCK: u16 = 1213;
const LOCK_WAIT: u16 = 1205;
const NO_SUCH_TABLE: u16 = 1146;
const DUPLICATE: u16 = 1062;

/// Why an attempt failed. `R` is what the port refuses with.
#[derive(Debug)]
pub(crate) enum Fault<R> {
    /// The server, the connection or the pool.
    Sql(sqlx::Error),
    /// The table of this month is not there.
    NoMonth(Month),
    /// The port's own answer.
    Refused(R),
}

impl<R> From<sqlx::Error> for Fault<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl<R: From<StoreError>> Fault<R> {
    /// Something that is wrong with the data or the request.
    pub(crate) fn wrong(what: impl std::fmt::Display) -> Self {
        Self::Refused(wrong(what).into())
    }

    /// As the port's caller sees it.
    pub(crate) fn answer(self) -> R {
        match self {
            Self::Sql(error) => wrong(error).into(),
            Self::NoMonth(month) => wrong(format!("table {} went away during the call", month.table())).into(),
            Self::Refused(refusal) => refusal,
        }
    }
}

/// An error of this store.
pub(crate) fn wrong(what: impl std::fmt::Display) -> StoreError {
    StoreError::new(STORE, what)
}

/// The server's number of an error.
fn number(error: &sqlx::Error) -> Option<u16> {
    let sqlx::Error::Database(error) = error else { return None };
    error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(sqlx::mysql::MySqlDatabaseError::number)
}

/// Whether a table does not exist.
pub(crate) fn is_missing_table(error: &sqlx::Error) -> bool {
    number(error) == Some(NO_SUCH_TABLE)
}

/// Whether a unique key is taken.
pub(crate) fn is_duplicate(error: &sqlx::Error) -> bool {
    number(error) == Some(DUPLICATE)
}

/// The tries of one call.
#[derive(Debug)]
pub(crate) struct Tries {
    made: u32,
    wait_ms: u64,
}

impl Tries {
    pub(crate) fn new() -> Self {
        Self { made: 1, wait_ms: RETRY_MS }
    }

    /// Waits until the attempt that ended so is to be made again, or gives its fault back.
    pub(crate) async fn again<R>(&mut self, fault: Fault<R>) -> Result<(), Fault<R>> {
        let found = match &fault {
            Fault::Sql(error) => number(error),
            _ => None,
        };
        if self.made >= TRIES_MAX || !matches!(found, Some(DEADLOCK | LOCK_WAIT)) {
            return Err(fault);
        }
        tracing::debug!(number = found, tries = self.made, "transaction is run again");
        self.made += 1;
        tokio::time::sleep(Duration::from_millis(self.wait_ms)).await;
        self.wait_ms *= 2;
        Ok(())
    }
}

/// Runs an attempt (an expression that gives a new future each time) again while [`Tries`] says so, within the bound of
/// a call.
macro_rules! retried {
    ($database:expr, $attempt:expr) => {
        $database
            .bounded(async {
                let mut tries = $crate::fault::Tries::new();
                loop {
                    match $attempt.await {
                        Ok(done) => break Ok(done),
                        Err(fault) => tries.again(fault).await?,
                    }
                }
            })
            .await
    };
}
pub(crate) use retried;
