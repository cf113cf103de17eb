//! The directory over SQLite.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use ringway_store::conformance;
use ringway_store::ports::{Account, Directory};
use ringway_store::sqlite::{Database, FORMAT_VERSION, OpenError, SqliteDirectory};

async fn fresh() -> (tempfile::TempDir, SqliteDirectory) {
    let folder = tempfile::tempdir().unwrap();
    let directory = SqliteDirectory::new(Database::open(folder.path()).await.unwrap());
    (folder, directory)
}

async fn raw(folder: &std::path::Path) -> sqlx::SqlitePool {
    sqlx::SqlitePool::connect(&format!("sqlite://{}", folder.join("ringway.db").display())).await.unwrap()
}

#[tokio::test]
async fn accounts_are_created_once() {
    conformance::directory::accounts(&fresh().await.1).await;
}

#[tokio::test]
async fn a_spent_refresh_token_revokes_its_session() {
    conformance::directory::sessions(&fresh().await.1).await;
}

#[tokio::test]
async fn a_group_tells_its_members_of_every_change() {
    conformance::directory::groups(&fresh().await.1).await;
}

#[tokio::test]
async fn a_group_holds_ten_thousand_members() {
    let (folder, directory) = fresh().await;
    let pool = raw(folder.path()).await;
    let names = serde_json::to_string(&conformance::directory::many_names()).unwrap();
    sqlx::query("INSERT INTO users SELECT value, value, '', 1 FROM json_each(?1)")
        .bind(names)
        .execute(&pool)
        .await
        .unwrap();
    conformance::directory::the_largest_group(&directory).await;
}

#[tokio::test]
async fn another_open_of_the_same_file_writes_beside_the_first() {
    let (folder, directory) = fresh().await;
    let other = SqliteDirectory::new(Database::open(folder.path()).await.unwrap());
    let opened: Vec<_> = (0..4).map(|_| Database::open(folder.path())).collect();
    for database in opened {
        database.await.unwrap().close().await;
    }
    for n in 0..50 {
        let writer = if n % 2 == 0 { &directory } else { &other };
        let account = Account { uid: conformance::uid(&format!("u{n}")), name: String::new(), created_ms: 1 };
        writer.create_account(&account, "").await.unwrap();
        assert!(directory.account(&account.uid).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_database_of_a_newer_format_is_refused() {
    let (folder, _) = fresh().await;
    let pool = raw(folder.path()).await;
    sqlx::query("UPDATE state SET value = value + 1 WHERE name = 'format_version'").execute(&pool).await.unwrap();
    pool.close().await;
    let refused = Database::open(folder.path()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found, .. } if found == FORMAT_VERSION + 1), "{refused}");
}
