//! The suites of the port, on one server.

use ringway_store::conformance::shared_state;

use crate::harness::Single;

macro_rules! conforms {
    ($($name:ident: $suite:path),* $(,)?) => {$(
        #[tokio::test]
        async fn $name() {
            let single = Single::start().await;
            let state = single.state().await;
            $suite(single.sql.stores(&state)).await;
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
    lists_know_what_is_only_in_redis: shared_state::lists,
    read_marks_count_at_once_and_last: shared_state::read_marks,
}

#[tokio::test]
async fn processes_at_once_agree_on_every_number() {
    let single = Single::start().await;
    let (one, other, third) = (single.state().await, single.state().await, single.state().await);
    shared_state::many_callers(single.sql.stores(&one), &[&other, &third]).await;
    assert_eq!(single.sql.epoch().await, 2, "they share the epoch that the first of them took");
}
