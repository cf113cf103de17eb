//! Tables of months: made ahead, crossed by conversations, dropped.

use ringway_engine::limits::DEDUP_MS;
use ringway_mysql::{Month, MySqlConfig, limits};
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, message};
use ringway_store::ports::{Archive, Epochs, Holes as _, LogOffset, NumberedMessage, PageFrom, Records, Start};

use crate::harness::{Opened, batch, run, run_at};

async fn tables(opened: &Opened) -> Vec<String> {
    let mut connection = opened.connect().await;
    sqlx::query_scalar(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() \
         AND table_name LIKE 'messages%' ORDER BY table_name",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

fn names(months: impl IntoIterator<Item = Month>) -> Vec<String> {
    months.into_iter().map(Month::table).collect()
}

async fn rows(opened: &Opened, month: Month) -> i64 {
    opened.count(&format!("SELECT COUNT(*) FROM {}", month.table())).await
}

#[tokio::test]
async fn the_tables_of_coming_months_are_made_ahead() {
    let opened = Opened::new().await;
    let now = Month::of(now_ms());
    assert_eq!(tables(&opened).await, names((0..=limits::MONTHS_AHEAD).map(|ahead| now.later(ahead))));
    let next_year = now.later(12);
    let kept = opened.database.keep_months(next_year.start_ms()).await.unwrap();
    assert_eq!(kept.made, (12..=12 + limits::MONTHS_AHEAD).map(|ahead| now.later(ahead)).collect::<Vec<_>>());
    assert!(kept.dropped.is_empty(), "without retention everything is kept");
    assert_eq!(opened.database.keep_months(next_year.start_ms()).await.unwrap().made, []);
}

#[tokio::test]
async fn a_conversation_crosses_the_border_of_a_month() {
    let opened = Opened::new().await;
    let month = Month::of(now_ms());
    let (before, border) = (month.earlier(1), month.start_ms());
    // The last is late: its clock says the month before, but numbers rise with months.
    let messages = [run_at("p2p:a:b", border - 1, 1..=3), run_at("p2p:a:b", border, 4..=5)].concat();
    let late = run_at("p2p:a:b", border - 5, [6]);
    for _ in 0..2 {
        opened.archive.commit(&batch([messages.clone(), late.clone()].concat(), 0, 6)).await.unwrap();
    }
    assert_eq!((rows(&opened, before).await, rows(&opened, month).await), (3, 3));
    for (from, limit, expected) in [
        (PageFrom::After(0), 10, vec![1, 2, 3, 4, 5, 6]),
        (PageFrom::After(1), 3, vec![2, 3, 4]),
        (PageFrom::Before(u64::MAX), 4, vec![3, 4, 5, 6]),
        (PageFrom::Before(4), 2, vec![2, 3]),
    ] {
        let page = opened.archive.page(&conv("p2p:a:b"), from, limit).await.unwrap();
        assert_eq!(page.iter().map(|item| item.seq).collect::<Vec<_>>(), expected, "{from:?}");
    }
    for id in [3, 6] {
        assert_eq!(opened.archive.message(id).await.unwrap().unwrap().message.seq, id);
    }
    let sends = [("p2p:a:b", "a", "c-2"), ("p2p:a:b", "a", "c-5")];
    let found = opened.database.sends(&sends).await.unwrap();
    assert_eq!(found.iter().map(|(at, held)| (*at, held.seq)).collect::<Vec<_>>(), [(0, 2), (1, 5)]);
}

#[tokio::test]
async fn a_hole_is_closed_where_its_neighbours_are() {
    let opened = Opened::new().await;
    let border = Month::of(now_ms()).start_ms();
    let messages = [run_at("p2p:a:b", border - 1, [1, 3]), run_at("p2p:a:b", border, [5, 6])].concat();
    opened.archive.commit(&batch(messages, 0, 1)).await.unwrap();
    let start = opened.database.starts(&["p2p:a:b"]).await.unwrap();
    assert_eq!(start, [Start { dense: 1, head: 6, holes: vec![2, 4] }]);
    opened.archive.commit(&batch(run("p2p:a:b", [2, 4]), 1, 2)).await.unwrap();
    assert_eq!(opened.seqs("p2p:a:b").await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(opened.database.starts(&["p2p:a:b"]).await.unwrap()[0].dense, 6);
}

#[tokio::test]
async fn one_send_is_not_archived_twice_across_the_border() {
    let opened = Opened::new().await;
    let border = Month::of(now_ms()).start_ms();
    let sent = |id: &str, msg_id, ts_ms, seq| NumberedMessage {
        event: message("p2p:a:b", "a", id, msg_id, ts_ms),
        epoch: 1,
        seq,
    };
    let first = vec![sent("id", 1, border - 1_000, 1), sent("old", 2, border - DEDUP_MS, 2)];
    opened.archive.commit(&batch(first, 0, 1)).await.unwrap();
    let repeat = vec![sent("other", 3, border + 1_000, 3), sent("id", 4, border + 1_000, 4)];
    opened.archive.commit(&batch(repeat, 1, 2)).await.unwrap_err();
    assert_eq!(opened.seqs("p2p:a:b").await, [1, 2], "nothing of a refused batch is written");
    let old = vec![sent("old", 5, border + 1_000, 3)];
    opened.archive.commit(&batch(old, 1, 2)).await.unwrap();
    assert_eq!(opened.database.sends(&[("p2p:a:b", "a", "old")]).await.unwrap()[0].1.msg_id, 5);
}

#[tokio::test]
async fn a_wrong_clock_opens_no_month_of_its_own() {
    let opened = Opened::new().await;
    let now = Month::of(now_ms());
    opened.archive.commit(&batch(run_at("p2p:a:b", u64::MAX / 2, [1]), 0, 1)).await.unwrap();
    assert_eq!(tables(&opened).await, names((0..=limits::MONTHS_AHEAD).map(|ahead| now.later(ahead))));
    assert_eq!(rows(&opened, now.later(1)).await, 1);
}

#[tokio::test]
async fn months_past_their_retention_are_dropped() {
    let opened = Opened::new().await;
    let now = now_ms();
    let month = Month::of(now);
    let old = month.earlier(4).start_ms();
    let messages = [
        run_at("p2p:a:b", old, [1, 2, 4]),
        run_at("p2p:a:b", month.earlier(1).start_ms(), [5]),
        run_at("p2p:a:b", now, [6, 8]),
        run_at("p2p:a:c", old, 1..=2),
    ];
    opened.archive.commit(&batch(messages.concat(), 0, 8)).await.unwrap();
    let config = MySqlConfig { retention_months: Some(1), ..MySqlConfig::new(&opened.url) };
    let keeping = Opened::with(config).await;
    let kept = keeping.database.keep_months(now).await.unwrap();
    assert_eq!((kept.made.len(), kept.dropped), (0, vec![month.earlier(4)]));
    assert_eq!(keeping.database.keep_months(now).await.unwrap().dropped, []);
    // Also for a process that has known the table.
    for opened in [&opened, &keeping] {
        assert_eq!(opened.seqs("p2p:a:b").await, [5, 6, 8]);
        assert!(opened.seqs("p2p:a:c").await.is_empty());
        assert!(opened.archive.message(1).await.unwrap().is_none());
        let mut kept = Vec::new();
        for name in ["p2p:a:b", "p2p:a:c", "p2p:a:d"] {
            kept.push(opened.archive.first_kept(&conv(name)).await.unwrap());
        }
        assert_eq!(kept, [5, 3, 1], "what is kept, one above all that was dropped, and one where nothing was");
        // The hole in what is gone will never be filled; numbers go on above.
        let starts = opened.database.starts(&["p2p:a:b", "p2p:a:c"]).await.unwrap();
        let start = |dense, head, holes: &[u64]| Start { dense, head, holes: holes.to_vec() };
        assert_eq!(starts, [start(6, 8, &[7]), start(2, 2, &[])]);
        let holes = opened.database.oldest_holes(9).await.unwrap();
        assert!(holes.len() == 1 && (holes[0].conv.as_str(), holes[0].first) == ("p2p:a:b", 7), "{holes:?}");
    }
    // A log that is read again does not bring back what is gone. What it had not told yet is kept with the oldest.
    let again = [run_at("p2p:a:b", old, 1..=4), run_at("p2p:a:c", old, 1..=3)].concat();
    for _ in 0..2 {
        keeping.archive.commit(&batch(again.clone(), 8, 9)).await.unwrap();
    }
    assert_eq!(keeping.seqs("p2p:a:b").await, [5, 6, 8]);
    assert_eq!(keeping.seqs("p2p:a:c").await, [3]);
    assert!(!tables(&keeping).await.contains(&month.earlier(4).table()));
    assert_eq!(keeping.archive.consumed_offset().await.unwrap(), LogOffset(9));
}

#[tokio::test]
async fn a_commit_makes_the_table_that_another_process_dropped() {
    let opened = Opened::new().await;
    let mut connection = opened.connect().await;
    let drop = format!("DROP TABLE {}", Month::of(now_ms()).table());
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
    opened.archive.commit(&batch(run("p2p:a:b", [1]), 0, 1)).await.unwrap();
    assert_eq!(opened.seqs("p2p:a:b").await, [1]);
}
