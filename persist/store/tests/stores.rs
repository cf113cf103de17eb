//! Archive, shared state and event log of `ringway up`, held to the conformance suites.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use ringway_journal::JournalConfig;
use ringway_store::conformance::shared_state::Stores;
use ringway_store::conformance::{archive, event_log, shared_state};
use ringway_store::embedded::{EmbeddedState, OpenError, open_directory, open_embedded_with};
use ringway_store::ports::EventLog;
use ringway_store::sqlite::{Database, SqliteArchive, SqliteDirectory};

struct Opened {
    _folder: tempfile::TempDir,
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
            state: EmbeddedState::open(database).await.unwrap(),
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
async fn a_batch_is_archived_once_and_whole() {
    archive::commits(&Opened::new().await.archive).await;
    archive::pages(&Opened::new().await.archive).await;
    archive::pages_are_bounded_in_bytes(&Opened::new().await.archive).await;
    archive::reused_ids(&Opened::new().await.archive).await;
    archive::refuses_a_taken_number(&Opened::new().await.archive).await;
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
    event_log::appends_and_reads(&*opened.log).await;
    event_log::wakes_a_waiter(&*opened.log).await;
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
    opened.log.append(vec!["record".into()]).await.unwrap();
    let batch =
        ringway_store::ports::ArchiveBatch { next_offset: ringway_store::ports::LogOffset(1), ..Default::default() };
    ringway_store::ports::Archive::commit(&*opened.archive, &batch).await.unwrap();
    opened.close().await;
    std::fs::remove_dir_all(folder.path().join("journal")).unwrap();
    let refused = open_embedded_with(folder.path(), journal(folder.path())).await.unwrap_err();
    assert!(matches!(refused, OpenError::Mismatch { end: 0, consumed: 1, .. }), "{refused}");
}
