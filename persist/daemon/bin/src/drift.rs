//! The drift check of this process: rounds beside its work, or one round instead of it (`--check-drift`).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use ringway_parts::board::Board;
use ringway_parts::stores::Stores;
use ringway_persist::{DriftCheck, DriftConfig, check_drift};
use ringway_store::ports::{DriftKind, Drifted};

use crate::background::Background;
use crate::config::Config;
use crate::orders::CHECK_DRIFT;

/// Begins rounds every so many seconds, and shows them on the board; none for 0.
pub(crate) fn start(every_s: u64, stores: &Stores, owner: String, board: &Board) -> Option<Background> {
    if every_s == 0 {
        return None;
    }
    let config = DriftConfig::every(every_s.saturating_mul(1_000));
    let leases = Arc::new(stores.database.clone());
    let check = Arc::new(DriftCheck::new(stores.state.clone(), leases, owner, config));
    let measured = Arc::clone(&check);
    board.add_measure(move || measured.metrics_text());
    let ended = "the drift check has ended: nobody compares here";
    Some(Background::start("drift check", ended, board, |stop| async move { check.run(stop).await }))
}

/// One round, now; its outcome goes to standard output.
///
/// # Errors
/// A store cannot be opened or answered too seldom.
pub(crate) async fn check_now(config: &Config) -> anyhow::Result<()> {
    // Nobody asks it: what is waited for is in the log.
    let board = Board::new();
    let stores = Stores::open(&board, &config.mysql.config()?, &config.redis.config()?).await?;
    let checked = check_drift(&*stores.state).await;
    stores.close().await;
    let line = report(&checked.with_context(|| format!("--{CHECK_DRIFT}"))?);
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("cannot write to standard output")
}

/// The line for whoever reads it.
fn report(drifted: &Drifted) -> String {
    let repaired: BTreeMap<&str, u64> =
        DriftKind::ALL.into_iter().map(|kind| (kind.name(), drifted.repaired(kind))).collect();
    let Drifted { conversations, users, .. } = drifted;
    serde_json::json!({"drift": {"conversations": conversations, "users": users, "repaired": repaired}}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_object_that_names_every_kind() {
        let mut drifted = Drifted::looked_at(3, 2);
        drifted.repair(DriftKind::Head, 1);
        let repaired = r#"{"copies":0,"cursors":0,"dense":0,"heads":1,"holes":0,"missing":0,"taken":0}"#;
        let expected = format!(r#"{{"drift":{{"conversations":3,"repaired":{repaired},"users":2}}}}"#);
        assert_eq!(report(&drifted), expected);
    }
}
