//! Opening: the schema, its format, and what the server must be.

use ringway_mysql::{Database, FORMAT_VERSION, MySqlConfig, OpenError};
use ringway_stack::{Folder, MariaDb, MariaDbOptions};

use crate::harness::{Opened, fresh, shared};

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
async fn a_server_whose_packets_hold_no_batch_is_refused() {
    let folder = Folder::new().unwrap();
    let options = MariaDbOptions { arguments: vec!["--max-allowed-packet=1M".to_owned()] };
    let server = MariaDb::start_with(folder.path(), options).unwrap();
    let refused = Database::open(MySqlConfig::new(server.url())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Packet { found: 1_048_576 }), "{refused}");
}
