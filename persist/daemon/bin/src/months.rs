//! Tables of messages, month by month: coming ones are made ahead, those past the retention dropped.
//!
//! One process at a time does it, by a lease; a repeat does no harm. Lives on tokio; a dropped call leaves the lease to
//! run out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringway_mysql::{Database, Month};
use ringway_store::ports::{Leases as _, StoreError};
use tokio::time::{MissedTickBehavior, interval};

/// The lease.
const LEASE: &str = "months";
/// How often it is looked whether tables are to be made or dropped.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// Dropping a large table takes its time.
const LEASE_MS: u64 = 300_000;

/// Keeps the tables in order until it is dropped. What fails is tried again at the next look.
pub(crate) async fn keep(database: Database, owner: String) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = look(&database, &owner).await {
            tracing::warn!(%error, "tables of months are not looked after; trying again later");
        }
    }
}

async fn look(database: &Database, owner: &str) -> Result<(), StoreError> {
    if !database.hold(LEASE, owner, LEASE_MS).await? {
        return Ok(());
    }
    let kept = database.keep_months(now_ms()).await;
    database.let_go(LEASE, owner).await?;
    let kept = kept?;
    for (what, months) in [("made", &kept.made), ("dropped", &kept.dropped)] {
        if !months.is_empty() {
            let tables: Vec<String> = months.iter().copied().map(Month::table).collect();
            tracing::info!(what, tables = tables.join(", "), "tables of months");
        }
    }
    Ok(())
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
