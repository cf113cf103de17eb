//! Months, and the tables of messages: one for each, made ahead and dropped by retention.
//!
//! **Which month a message goes to.** That of its time, but never an earlier one than the conversation's newest, so
//! that a conversation's numbers rise with its months, a number is looked for in one table, and the table's own key
//! keeps it unique. Clocks that are wrong are bounded: a time after next month counts as next month, a time before
//! what retention keeps counts as the oldest month kept. What was placed stays there: a repeat finds its row by its
//! number (`conversation_months`), not by its time.
//!
//! **Client message ids over a month's border.** The key of a table keeps (conversation, sender, client message id)
//! unique in its month; `reuse` counts ids that came back after the time of dedup for a new message. A repeat that
//! should never have got a number of its own comes within minutes of the first, so a message from the first minutes
//! of a month is also looked for in the month before. A table of all ids would have cost a second write for each
//! message, all over an index, to find what can only be in two places.

use std::collections::BTreeSet;

use ringway_store::ports::StoreError;
use sqlx::{AssertSqlSafe, MySqlPool};

use crate::database::{Database, now_ms};
use crate::fault::{Fault, is_missing_table, retried};
use crate::holes::{self, Moved, Standing};
use crate::limits::{DROP_ROWS_MAX, LIST_MAX, MONTHS_AHEAD};
use crate::spans;
use crate::text::Text;

const DAY_MS: u64 = 24 * 3_600_000;
const PREFIX: &str = "messages_";

/// A calendar month in UTC, from 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month {
    /// Months since January of year 0.
    index: u32,
}

impl Month {
    const FIRST: Self = Self { index: 1970 * 12 };
    const LAST: Self = Self { index: 9999 * 12 + 11 };

    /// The month of a moment in Unix milliseconds.
    #[must_use]
    pub fn of(unix_ms: u64) -> Self {
        // Days since 0000-03-01 and eras of 400 years, so that the leap day is the last of its year:
        // "chrono-Compatible Low-Level Date Algorithms", H. Hinnant.
        let days = unix_ms / DAY_MS + 719_468;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let index = (days / 146_097 * 400 + year_of_era) * 12 + 2 + from_march;
        Self { index: u32::try_from(index).unwrap_or(u32::MAX) }.clamp(Self::FIRST, Self::LAST)
    }

    /// When it begins, Unix milliseconds.
    #[must_use]
    pub fn start_ms(self) -> u64 {
        let from_march = self.index - 2;
        let (year, month) = (u64::from(from_march / 12), u64::from(from_march % 12));
        let year_of_era = year % 400;
        let day_of_era = 365 * year_of_era + year_of_era / 4 - year_of_era / 100 + (153 * month + 2) / 5;
        (year / 400 * 146_097 + day_of_era - 719_468) * DAY_MS
    }

    /// As a number: 202611 is November 2026.
    #[must_use]
    pub fn number(self) -> u32 {
        self.index / 12 * 100 + self.index % 12 + 1
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        let month = (number % 100).checked_sub(1).filter(|month| *month < 12)?;
        let found = Self { index: number / 100 * 12 + month };
        (Self::FIRST..=Self::LAST).contains(&found).then_some(found)
    }

    /// This many months later.
    #[must_use]
    pub fn later(self, months: u32) -> Self {
        Self { index: self.index.saturating_add(months) }.min(Self::LAST)
    }

    /// This many months earlier.
    #[must_use]
    pub fn earlier(self, months: u32) -> Self {
        Self { index: self.index.saturating_sub(months) }.max(Self::FIRST)
    }

    /// The table of its messages.
    #[must_use]
    pub fn table(self) -> String {
        format!("{PREFIX}{:06}", self.number())
    }
}

/// What [`Database::keep_months`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptMonths {
    /// Tables that were not there before.
    pub made: Vec<Month>,
    /// Tables that were dropped with their messages.
    pub dropped: Vec<Month>,
}

/// The months that have a table, rising.
pub(crate) async fn present(pool: &MySqlPool) -> Result<BTreeSet<Month>, sqlx::Error> {
    let names: Vec<Text> = sqlx::query_scalar(
        "SELECT table_name AS name FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name LIKE 'messages\\_______'",
    )
    .fetch_all(pool)
    .await?;
    let number = |name: &Text| name.0.strip_prefix(PREFIX)?.parse().ok();
    Ok(names.iter().filter_map(number).filter_map(Month::from_number).collect())
}

/// Makes the table of a month if there is none.
pub(crate) async fn make(pool: &MySqlPool, month: Month) -> Result<(), sqlx::Error> {
    let text = format!(
        "CREATE TABLE IF NOT EXISTS {} (
            conversation  BIGINT UNSIGNED NOT NULL,
            seq           BIGINT UNSIGNED NOT NULL,
            epoch         BIGINT UNSIGNED NOT NULL,
            msg_id        BIGINT UNSIGNED NOT NULL,
            sender        VARBINARY(32)   NOT NULL,
            client_msg_id VARBINARY(64)   NOT NULL,
            reuse         INT UNSIGNED    NOT NULL,
            kind          VARBINARY(32)   NOT NULL,
            body          MEDIUMTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
            enc           VARBINARY(32)   NOT NULL,
            ts_ms         BIGINT UNSIGNED NOT NULL,
            archived_ms   BIGINT UNSIGNED NOT NULL,
            PRIMARY KEY (conversation, seq),
            UNIQUE KEY sends (conversation, sender, client_msg_id, reuse),
            KEY by_id (msg_id)
        ) ENGINE = InnoDB",
        month.table()
    );
    sqlx::raw_sql(AssertSqlSafe(text)).execute(pool).await.map(drop)
}

impl Database {
    /// Makes the tables of the coming months and drops those that retention does not keep: for one process of a
    /// deployment, once an hour or so. `now_ms` is Unix time. Commits make a table that is missing themselves, so a
    /// call that is late costs them a moment and nothing else.
    ///
    /// # Errors
    /// The server could not answer; the next call goes on where this one stopped.
    pub async fn keep_months(&self, now_ms: u64) -> Result<KeptMonths, StoreError> {
        let mut kept = KeptMonths { made: self.make_months(now_ms).await?, dropped: Vec::new() };
        let Some(oldest) = self.oldest_kept(now_ms) else { return Ok(kept) };
        let present = self.bounded(async { Ok::<_, Fault<StoreError>>(present(self.primary()).await?) }).await?;
        for month in present.range(..oldest).copied() {
            self.drop_month(month).await?;
            tracing::info!(month = month.number(), "messages of the month are past their retention: dropped");
            kept.dropped.push(month);
        }
        // Also what a process left that ended between the two steps.
        self.forget_months_before(oldest).await?;
        Ok(kept)
    }

    /// Makes the tables of this month and the coming ones; which were missing.
    pub(crate) async fn make_months(&self, now_ms: u64) -> Result<Vec<Month>, StoreError> {
        let mut present = self.bounded(async { Ok::<_, Fault<StoreError>>(present(self.primary()).await?) }).await?;
        let mut made = Vec::new();
        let now = Month::of(now_ms);
        for month in (0..=MONTHS_AHEAD).map(|ahead| now.later(ahead)) {
            if present.insert(month) {
                self.make_month(month).await?;
                made.push(month);
            }
        }
        self.knows_months(present);
        Ok(made)
    }

    pub(crate) async fn make_month(&self, month: Month) -> Result<(), StoreError> {
        self.bounded(async { Ok::<_, Fault<StoreError>>(make(self.primary(), month).await?) }).await?;
        self.knows_months([month]);
        Ok(())
    }

    /// The first month that retention keeps.
    pub(crate) fn oldest_kept(&self, now_ms: u64) -> Option<Month> {
        self.retention_months().map(|months| Month::of(now_ms).earlier(months))
    }

    /// The table goes before what points to it: readers take a missing one for an empty one.
    async fn drop_month(&self, month: Month) -> Result<(), StoreError> {
        while retried!(self, self.close_holes_of(month))? > 0 {}
        self.forgets_month(month);
        let text = format!("DROP TABLE IF EXISTS {}", month.table());
        self.bounded(async {
            sqlx::raw_sql(AssertSqlSafe(text)).execute(self.primary()).await?;
            Ok::<_, Fault<StoreError>>(())
        })
        .await
    }

    /// A hole in what is dropped will never be filled, and what was archived around it is none: everything up to the
    /// end of the month counts as archived. How many conversations were changed; a bounded number at once.
    async fn close_holes_of(&self, month: Month) -> Result<u64, Fault<StoreError>> {
        let mut transaction = self.write().await?;
        let rows: Vec<(u64, u64, u64, u64)> = sqlx::query_as(
            "SELECT c.id, m.last_seq, c.dense, c.head FROM conversation_months m JOIN conversations c ON c.id = m.conversation \
             WHERE m.month = ? AND c.dense < m.last_seq ORDER BY c.conv LIMIT ? FOR UPDATE",
        )
        .bind(month.number())
        .bind(LIST_MAX as u64)
        .fetch_all(&mut *transaction)
        .await?;
        let ids: Vec<u64> = rows.iter().map(|(id, ..)| *id).collect();
        let known = spans::of_rows(&mut transaction, &ids).await?;
        let mut moved = Vec::with_capacity(rows.len());
        for (id, last, was_dense, head) in rows {
            let known = known.get(&id).cloned().unwrap_or_default();
            let dense = spans::dense_end(&mut transaction, &known, last).await?;
            moved.push(Moved { id, before: Standing { dense: was_dense, head }, now: Standing { dense, head } });
            sqlx::query("UPDATE conversations SET dense = ? WHERE id = ?")
                .bind(dense)
                .bind(id)
                .execute(&mut *transaction)
                .await?;
        }
        holes::write(&mut transaction, &moved, now_ms()).await?;
        transaction.commit().await?;
        Ok(moved.len() as u64)
    }

    async fn forget_months_before(&self, oldest: Month) -> Result<(), StoreError> {
        loop {
            let taken = self
                .bounded(async {
                    let taken = sqlx::query("DELETE FROM conversation_months WHERE month < ? LIMIT ?")
                        .bind(oldest.number())
                        .bind(DROP_ROWS_MAX)
                        .execute(self.primary())
                        .await?;
                    Ok::<_, Fault<StoreError>>(taken.rows_affected())
                })
                .await?;
            if taken < DROP_ROWS_MAX {
                return Ok(());
            }
        }
    }
}

/// What was found in the table of a month, nothing if it has been dropped.
pub(crate) fn or_dropped<T: Default>(found: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
    match found {
        Err(error) if is_missing_table(&error) => Ok(T::default()),
        found => found,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_at_its_first_millisecond() {
        for (ms, number) in [
            (0, 197_001),
            (951_782_400_000 - 1, 200_002), // 2000-02-28, a leap year
            (951_868_800_000 - 1, 200_002), // 2000-02-29
            (951_868_800_000, 200_003),
            (1_795_262_236_000, 202_611), // 2026-11-21
            (u64::MAX, 999_912),
        ] {
            assert_eq!(Month::of(ms).number(), number);
        }
        let mut month = Month::FIRST;
        while month < Month::of(4_102_444_800_000) {
            let start = month.start_ms();
            assert_eq!(Month::of(start), month);
            assert!(start == 0 || Month::of(start - 1) == month.earlier(1));
            assert_eq!(Month::from_number(month.number()), Some(month));
            month = month.later(1);
        }
        assert_eq!(Month::of(0).earlier(1), Month::FIRST);
        assert_eq!(Month::LAST.later(1), Month::LAST);
        assert!(Month::from_number(202_613).is_none() && Month::from_number(202_600).is_none());
    }
}
