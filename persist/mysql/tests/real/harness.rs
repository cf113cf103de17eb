//! Databases for tests, and what they wait for.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ringway_mysql::{Database, MySqlArchive, MySqlConfig, MySqlDirectory};
use ringway_stack::{Folder, MariaDb};
use ringway_store::conformance::message;
use ringway_store::ports::{Archive, ArchiveBatch, LogOffset, NumberedMessage, PageFrom};
use sqlx::mysql::MySqlConnection;
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

/// How long anything is waited for.
const WAIT: Duration = Duration::from_secs(30);

/// The server of all tests that leave it as it is.
pub(crate) fn shared() -> &'static MariaDb {
    // Neither is dropped: both go with the process.
    static SERVER: OnceLock<(MariaDb, Folder)> = OnceLock::new();
    let start = || {
        let folder = Folder::new().unwrap();
        (MariaDb::start(folder.path()).unwrap(), folder)
    };
    &SERVER.get_or_init(start).0
}

/// The URL of a fresh database on a server.
pub(crate) fn fresh(server: &MariaDb) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    server.create_database(&format!("test_{}", MADE.fetch_add(1, Ordering::Relaxed))).unwrap()
}

/// The adapters over a database of their own.
pub(crate) struct Opened {
    pub(crate) url: String,
    pub(crate) database: Database,
    pub(crate) archive: MySqlArchive,
    pub(crate) directory: MySqlDirectory,
}

impl Opened {
    /// On the shared server, with default settings.
    pub(crate) async fn new() -> Self {
        Self::with(MySqlConfig::new(fresh(shared()))).await
    }

    pub(crate) async fn with(config: MySqlConfig) -> Self {
        let url = config.url.clone();
        let database = Database::open(config).await.unwrap();
        Self {
            url,
            archive: MySqlArchive::new(database.clone(), "log"),
            directory: MySqlDirectory::new(database.clone()),
            database,
        }
    }

    /// Another process on the same database.
    pub(crate) async fn again(&self) -> Self {
        Self::with(MySqlConfig::new(&self.url)).await
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url).await.unwrap()
    }

    /// One number that a statement finds.
    pub(crate) async fn count(&self, statement: &str) -> i64 {
        let mut connection = self.connect().await;
        let found = sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        found
    }

    /// Ids of the transactions on this database that wait for a row. From the status, which is of this moment: the
    /// table of transactions is not made anew while somebody looks at it ten times a second.
    pub(crate) async fn waiting(&self) -> Vec<u64> {
        let mut connection = self.connect().await;
        let status = sqlx::raw_sql("SHOW ENGINE INNODB STATUS").fetch_one(&mut connection).await.unwrap();
        let status: String = status.get(2);
        let found =
            sqlx::query_scalar("SELECT CAST(id AS UNSIGNED) FROM information_schema.processlist WHERE db = DATABASE()");
        let threads: Vec<u64> = found.fetch_all(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        // "---TRANSACTION 27, ACTIVE 1 sec ... LOCK WAIT 3 lock struct(s) ... MariaDB thread id 12, ..."
        let number = |text: &str, before: &str| -> Option<u64> {
            let (_, after) = text.split_once(before)?;
            after.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
        };
        let waits = |text: &&str| {
            let thread = number(text, "MariaDB thread id ");
            text.contains("\nLOCK WAIT ") && thread.is_some_and(|thread| threads.contains(&thread))
        };
        status.split("---TRANSACTION").filter(waits).filter_map(|text| number(text, " ")).collect()
    }

    /// Waits until so many transactions on this database wait for a row.
    pub(crate) async fn until_waiting(&self, transactions: usize) {
        until("transactions wait", async || self.waiting().await.len() == transactions).await;
    }

    /// The archived numbers of a conversation from its beginning.
    pub(crate) async fn seqs(&self, conv: &str) -> Vec<u64> {
        let conv = ringway_store::conformance::conv(conv);
        let page = self.archive.page(&conv, PageFrom::After(0), 10_000).await.unwrap();
        page.iter().map(|item| item.seq).collect()
    }
}

/// Asks until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited {} s until {what}", WAIT.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes a call that may fail for a while until it does not.
pub(crate) async fn until_ok<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
    mut call: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + WAIT;
    loop {
        match call().await {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "still fails after {} s: {error}", WAIT.as_secs()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Messages of one conversation under these numbers, taken now; a message's id is its number.
pub(crate) fn run(conv: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<NumberedMessage> {
    run_at(conv, ringway_store::conformance::shared_state::now_ms(), numbers)
}

/// The same, taken at a moment in Unix milliseconds.
pub(crate) fn run_at(conv: &str, ts_ms: u64, numbers: impl IntoIterator<Item = u64>) -> Vec<NumberedMessage> {
    let one = |seq: u64| NumberedMessage { event: message(conv, "a", &format!("c-{seq}"), seq, ts_ms), epoch: 1, seq };
    numbers.into_iter().map(one).collect()
}

/// A batch read from one place of the log to another.
pub(crate) fn batch(messages: Vec<NumberedMessage>, first: u64, next: u64) -> ArchiveBatch {
    ArchiveBatch {
        messages,
        first_offset: Some(LogOffset(first)),
        next_offset: LogOffset(next),
        ..ArchiveBatch::default()
    }
}
