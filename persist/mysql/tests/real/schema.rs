//! Opening: the schema, its format, and what the server must be.

use ringway_mysql::{Database, FORMAT_VERSION, MySqlConfig, OpenError};
use ringway_stack::{Folder, MariaDb, MariaDbOptions};
use ringway_store::ports::{Archive as _, Holes as _};

use crate::harness::{Opened, batch, fresh, run, shared};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_that_start_at_once_make_the_schema_once() {
    let url = fresh(shared());
    let opening = (0..4).map(|_| tokio::spawn(Database::open(MySqlConfig::new(&url))));
    for opened in opening.collect::<Vec<_>>() {
        opened.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_database_of_a_newer_format_is_refused() {
    let opened = Opened::new().await;
    let mut connection = opened.connect().await;
    sqlx::query("UPDATE state SET value = ? WHERE name = 'format_version'")
        .bind(FORMAT_VERSION + 1)
        .execute(&mut connection)
        .await
        .unwrap();
    let refused = Database::open(MySqlConfig::new(&opened.url)).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found } if found == FORMAT_VERSION + 1), "{refused}");
}

#[tokio::test]
async fn a_migration_that_was_cut_short_is_run_again() {
    let opened = Opened::new().await;
    let mut connection = opened.connect().await;
    sqlx::raw_sql("DELETE FROM state WHERE name = 'format_version'; DROP TABLE leases, dead_letters")
        .execute(&mut connection)
        .await
        .unwrap();
    opened.again().await;
    assert_eq!(opened.count("SELECT COUNT(*) FROM leases").await, 0);
    assert_eq!(opened.count("SELECT CAST(value AS SIGNED) FROM state WHERE name = 'epoch'").await, 1);
}

#[tokio::test]
async fn holes_that_an_earlier_format_has_left_are_found() {
    let opened = Opened::new().await;
    opened.archive.commit(&batch(run("p2p:a:b", [1, 3]), 0, 1)).await.unwrap();
    opened.archive.commit(&batch(run("p2p:a:c", [1, 2]), 1, 2)).await.unwrap();
    let mut connection = opened.connect().await;
    sqlx::raw_sql("UPDATE state SET value = 1 WHERE name = 'format_version'; DROP TABLE holes")
        .execute(&mut connection)
        .await
        .unwrap();
    let found = opened.again().await.database.oldest_holes(9).await.unwrap();
    assert_eq!(found.iter().map(|hole| (hole.conv.as_str(), hole.first)).collect::<Vec<_>>(), [("p2p:a:b", 2)]);
    // An earlier version fills it, and leaves the row.
    sqlx::raw_sql("UPDATE conversations SET dense = 3 WHERE conv = 'p2p:a:b'").execute(&mut connection).await.unwrap();
    assert!(opened.database.oldest_holes(9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_whose_packets_hold_no_batch_is_refused() {
    let folder = Folder::new().unwrap();
    let options = MariaDbOptions { arguments: vec!["--max-allowed-packet=1M".to_owned()] };
    let server = MariaDb::start_with(folder.path(), options).unwrap();
    let refused = Database::open(MySqlConfig::new(server.url())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Packet { found: 1_048_576 }), "{refused}");
}
