//! A queue that is read again archives nothing twice.

use ringway_persist::{ReplayError, replay_from};
use ringway_store::ports::{Archive as _, LogOffset, LogReadError};

use crate::parts::{Shared, quick, until};

#[tokio::test]
async fn a_replay_adds_what_is_missing_and_nothing_else() {
    let shared = Shared::new(1).await;
    let (queue, archive) = (&*shared.queues[0], &*shared.archives[0]);
    (0..20).for_each(|_| shared.send(0));
    // As if an archive had been restored from a copy: half of it is not there, and the offset says that it is.
    archive.set_consumed_offset(LogOffset(10)).await.unwrap();
    let one = shared.process("one", quick());
    shared.all_archived().await;
    let rest = shared.archived(0).await.len();
    assert_eq!(rest, 10);
    let ahead = replay_from(queue, archive, LogOffset(21)).await;
    assert!(matches!(ahead, Err(ReplayError::Ahead { .. })), "{ahead:?}");
    assert_eq!(replay_from(queue, archive, LogOffset(0)).await.unwrap(), LogOffset(20));
    // The consumer that runs learns of it by its next commit.
    shared.send(0);
    shared.all_archived().await;
    assert_eq!(shared.archived(0).await, (1..=21).collect::<Vec<_>>());
    until("counted", async || one.workers.metrics_text().contains("_log_replays_total{queue=\"broker-a/0\"} 1\n"))
        .await;
    for from in [0, 5, 20] {
        replay_from(queue, archive, LogOffset(from)).await.unwrap();
        shared.send(0);
        shared.all_archived().await;
    }
    assert_eq!(shared.archived(0).await, (1..=24).collect::<Vec<_>>());
    one.stop().await;
}

#[tokio::test]
async fn what_the_queue_does_not_hold_any_more_is_not_replayed() {
    let shared = Shared::new(1).await;
    let (queue, archive) = (&*shared.queues[0], &*shared.archives[0]);
    shared.send(0);
    archive.set_consumed_offset(LogOffset(1)).await.unwrap();
    *queue.fault.lock().unwrap() = Some(LogReadError::Released(LogOffset(0)));
    let gone = replay_from(queue, archive, LogOffset(0)).await;
    assert!(matches!(gone, Err(ReplayError::Queue(LogReadError::Released(_)))), "{gone:?}");
    assert_eq!(archive.consumed_offset().await.unwrap(), LogOffset(1));
}
