//! The adapters, held to the conformance suites.

use ringway_store::conformance::{archive, directory, epochs, holes, leases, records};

use crate::harness::Opened;

#[tokio::test]
async fn a_batch_is_archived_once_and_whole() {
    archive::commits(&Opened::new().await.archive).await;
    archive::refuses_a_taken_number(&Opened::new().await.archive).await;
}

#[tokio::test]
async fn an_offset_is_set_back() {
    archive::is_set_back(&Opened::new().await.archive).await;
}

#[tokio::test]
async fn pages_end_at_their_bounds() {
    archive::pages(&Opened::new().await.archive).await;
    archive::pages_are_bounded_in_bytes(&Opened::new().await.archive).await;
}

#[tokio::test]
async fn an_id_used_again_after_its_time_is_a_message_of_its_own() {
    archive::reused_ids(&Opened::new().await.archive).await;
}

#[tokio::test]
async fn accounts_are_created_once() {
    directory::accounts(&Opened::new().await.directory).await;
}

#[tokio::test]
async fn a_refresh_token_serves_once() {
    directory::sessions(&Opened::new().await.directory).await;
}

#[tokio::test]
async fn groups_tell_their_members_of_each_change() {
    directory::groups(&Opened::new().await.directory).await;
}

#[tokio::test]
async fn the_largest_group_is_made_in_one_call() {
    let opened = Opened::new().await;
    let names = directory::many_names();
    let mut connection = opened.connect().await;
    let mut insert = sqlx::QueryBuilder::new("INSERT INTO users (uid, name, password_hash, created_ms) ");
    insert.push_values(&names, |mut row, name| {
        row.push_bind(name).push("'', '', 1");
    });
    insert.build().execute(&mut connection).await.unwrap();
    directory::the_largest_group(&opened.directory).await;
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
async fn holes_are_found_until_they_are_filled() {
    let opened = Opened::new().await;
    holes::are_found_until_filled(&opened.database, &opened.archive).await;
    assert_eq!(opened.count("SELECT COUNT(*) FROM holes").await, 0);
}

#[tokio::test]
async fn records_are_found_by_send_and_by_place() {
    let opened = Opened::new().await;
    records::messages(&opened.database, &opened.archive).await;
}

#[tokio::test]
async fn records_are_found_by_user() {
    let opened = Opened::new().await;
    records::conversations(&opened.database, &opened.archive, &opened.directory).await;
}

#[tokio::test]
async fn cursors_rise_by_epoch_and_number() {
    let opened = Opened::new().await;
    records::cursors(&opened.database, &opened.archive).await;
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_runs_out() {
    leases::one_holder(&Opened::new().await.database).await;
    leases::run_out(&Opened::new().await.database).await;
}

#[tokio::test]
async fn leases_are_listed_by_the_beginning_of_their_names() {
    leases::listed_by_prefix(&Opened::new().await.database).await;
}

#[tokio::test]
async fn of_many_processes_one_gets_the_lease() {
    let one = Opened::new().await;
    let other = one.again().await;
    leases::one_winner(&[&one.database, &other.database]).await;
}
