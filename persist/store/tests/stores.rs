//! Archive, shared state and event log of `ringway up`, held to the conformance suites.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use ringway_journal::JournalConfig;
use ringway_store::conformance::shared_state::Stores;
use ringway_store::conformance::{archive, epochs, event_log, records, shared_state};
use ringway_store::embedded::{EmbeddedState, OpenError, open_directory, open_embedded_with};
use ringway_store::ports::EventLog;
use ringway_store::sqlite::{Database, SqliteArchive, SqliteDirectory};

struct Opened {
    _folder: tempfile::TempDir,
    database: Database,
    archive: SqliteArchive,
    directory: SqliteDirectory,
    state: EmbeddedState,
}

impl Opened {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(folder.path()).await.unwrap();
        Self {
            _folder: folder,
            archive: SqliteArchive::new(database.clone()),
            directory: SqliteDirectory::new(database.clone()),
            state: EmbeddedState::open(database.clone()).await.unwrap(),
            database,
        }
    }

    fn stores(&self) -> Stores<'_> {
        Stores { state: &self.state, upkeep: &self.state, archive: &self.archive, directory: &self.directory }
    }
}

macro_rules! conforms {
    ($($name:ident: $suite:path),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            $suite(Opened::new().await.stores()).await;
        }
    )*};
}

conforms! {
    numbers_are_dense_and_repeats_keep_theirs: shared_state::numbers,
    an_id_used_again_after_its_time_is_a_new_message: shared_state::old_ids,
    pages_have_no_seam: shared_state::pages,
    a_backlog_of_ten_thousand_is_paged_through: shared_state::a_long_backlog,
    cursors_rise_for_each_device: shared_state::cursors,
    queues_start_at_their_floor: shared_state::floors,
    lists_know_what_is_only_in_memory: shared_state::lists,
    read_marks_count_at_once_and_last: shared_state::read_marks,
}

#[tokio::test]
async fn callers_at_once_agree_on_every_number() {
    let opened = Opened::new().await;
    shared_state::many_callers(opened.stores(), &[&opened.state, &opened.state]).await;
}

#[tokio::test]
async fn an_epoch_is_taken_once() {
    epochs::compare_and_set(&Opened::new().await.database).await;
}

#[tokio::test]
async fn numbers_of_an_epoch_that_is_over_are_not_archived() {
    let opened = Opened::new().await;
    epochs::fence(&opened.database, &opened.archive).await;
}

#[tokio::test]
async fn a_conversation_starts_at_its_archived_head_and_its_holes() {
    let opened = Opened::new().await;
    epochs::starts(&opened.database, &opened.archive).await;
}

#[tokio::test]
async fn an_old_epoch_ends_at_its_floor() {
    let opened = Opened::new().await;
    epochs::floors(&opened.database, &opened.archive).await;
}

#[tokio::test]
async fn places_rise_where_an_epoch_closes_holes() {
    let opened = Opened::new().await;
    epochs::places_rise(&opened.database, &opened.archive, &opened.database).await;
}

#[tokio::test]
async fn records_are_found_by_send_by_user_and_by_place() {
    let opened = Opened::new().await;
    records::messages(&opened.database, &opened.archive).await;
    let opened = Opened::new().await;
    records::conversations(&opened.database, &opened.archive, &opened.directory).await;
    let opened = Opened::new().await;
    records::cursors(&opened.database, &opened.archive).await;
}

#[tokio::test]
async fn a_batch_is_archived_once_and_whole() {
    archive::commits(&Opened::new().await.archive).await;
    archive::pages(&Opened::new().await.archive).await;
    archive::pages_are_bounded_in_bytes(&Opened::new().await.archive).await;
    archive::reused_ids(&Opened::new().await.archive).await;
    archive::refuses_a_taken_number(&Opened::new().await.archive).await;
    archive::is_set_back(&Opened::new().await.archive).await;
}

fn journal(folder: &std::path::Path) -> JournalConfig {
    let mut config = JournalConfig::new(folder.join("journal"));
    config.segment_bytes = 256 * 1024;
    config
}

#[tokio::test]
async fn the_journal_is_an_event_log() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open_embedded_with(folder.path(), journal(folder.path())).await.unwrap();
    let log = &*opened.log;
    event_log::appends_and_reads(log, log).await;
    event_log::lets_go_of_what_is_released(log).await;
    event_log::wakes_a_waiter(log, log).await;
    opened.close().await;
}

#[tokio::test]
async fn a_second_server_is_refused_and_the_directory_opens_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open_embedded_with(folder.path(), journal(folder.path())).await.unwrap();
    let refused = open_embedded_with(folder.path(), journal(folder.path())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Folder(_)), "{refused}");
    open_directory(folder.path()).await.unwrap();
    opened.close().await;
    open_embedded_with(folder.path(), journal(folder.path())).await.unwrap().close().await;
}

#[tokio::test]
async fn a_journal_that_does_not_belong_to_the_archive_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let opened = open_embedded_with(folder.path(), journal(folder.path())).await.unwrap();
    let record = ringway_store::ports::NewRecord { key: 0, bytes: "record".into() };
    opened.log.append(vec![record]).await.unwrap();
    let batch =
        ringway_store::ports::ArchiveBatch { next_offset: ringway_store::ports::LogOffset(1), ..Default::default() };
    ringway_store::ports::Archive::commit(&*opened.archive, &batch).await.unwrap();
    opened.close().await;
    std::fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let refused = open_embedded_with(folder.path(), journal(folder.path())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Mismatch { end: 0, consumed: 1, .. }), "{refused}");
}
