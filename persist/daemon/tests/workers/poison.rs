//! What an archive refuses for good does not keep the rest; a store that is away is waited for.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;

use crate::parts::{Shared, quick, until};

#[tokio::test]
async fn a_record_that_the_archive_refuses_is_set_aside_and_the_rest_goes_on() {
    let shared = Shared::new(2).await;
    *shared.archives[0].refused.lock().unwrap() = Some("poison".into());
    for n in 0..13 {
        shared.send_body(0, if n == 6 { "poison" } else { "text" });
    }
    shared.queues[0].append(Bytes::from_static(b"no event"));
    shared.send(1);
    let one = shared.process("one", quick());
    until("the other queue goes on", async || shared.archived(1).await == [1]).await;
    shared.all_archived().await;
    let expected: Vec<u64> = (1..=13).filter(|seq| *seq != 7).collect();
    assert_eq!(shared.archived(0).await, expected);
    let letters = shared.archives[0].letters.lock().unwrap().clone();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert_eq!(letters[0].offset.0, 6);
    assert_eq!(letters[0].reason, "the archive refuses it: archive: this text cannot be stored");
    assert!(String::from_utf8_lossy(&letters[0].bytes).contains("poison"), "its bytes are kept");
    assert_eq!(letters[1].offset.0, 13);
    until("counted", async || one.workers.metrics_text().contains("_log_dead_letters_total{queue=\"broker-a/0\"} 2\n"))
        .await;
    // And alone in its batch.
    shared.send_body(0, "poison");
    shared.all_archived().await;
    assert_eq!(shared.archives[0].letters.lock().unwrap().len(), 3);
    one.stop().await;
}

#[tokio::test]
async fn a_store_that_is_away_makes_no_dead_letter() {
    let shared = Shared::new(1).await;
    // More calls than a refusal takes, those that ask whether it is there at all among them.
    shared.archives[0].away.store(11, Relaxed);
    shared.send(0);
    let one = shared.process("one", quick());
    shared.all_archived().await;
    assert_eq!(shared.archived(0).await, [1]);
    assert!(shared.archives[0].letters.lock().unwrap().is_empty());
    assert_eq!(shared.archives[0].away.load(Relaxed), 0);
    one.stop().await;
}
