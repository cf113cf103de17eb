//! Holes of the archive that stay: the log names the node that has the message, or those that may.

use std::sync::Arc;

use ringway_engine::event::MessageEvent;
use ringway_engine::snowflake::{SHARD_BITS, Snowflake};
use ringway_parts::stores::Stores;
use ringway_store::conformance::message;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::ports::{ArchiveBatch, NumberedMessage, SharedState as _, Upkeep as _};
use serde_json::json;

use crate::deployment::{Deployment, get, keys, wait_for};
use crate::program::Program;

/// Messages that these nodes took one after the other.
fn sent_by(conv: &str, nodes: &[u16]) -> Vec<Arc<MessageEvent>> {
    let one = |(n, node): (u64, &u16)| {
        let id = Snowflake::new(node << SHARD_BITS, 0).next_id(now_ms() + n);
        message(conv, "a", &format!("{conv}-{n}"), id, now_ms())
    };
    (1..).zip(nodes).map(one).collect()
}

/// Archives all but those with these numbers.
async fn archive(stores: &Stores, events: &[Arc<MessageEvent>], lacking: &[u64], told: bool) {
    let numbers = stores.state.number(events).await.unwrap();
    let messages = events.iter().zip(numbers).filter(|(_, number)| !lacking.contains(&number.seq));
    let messages = messages.map(|(event, number)| NumberedMessage {
        event: Arc::clone(event),
        epoch: number.epoch,
        seq: number.seq,
    });
    let batch = ArchiveBatch { messages: messages.collect(), ..ArchiveBatch::default() };
    stores.archive.commit(&batch).await.unwrap();
    if told {
        stores.state.archived(&batch).await.unwrap();
    }
}

/// Waits until the metrics have these rows.
fn wait_for_rows(admin: &str, rows: &[(&str, &str)]) {
    wait_for(&format!("{rows:?}"), || {
        let text = get(admin, "/metrics").1;
        rows.iter().all(|(name, value)| text.contains(&format!("\nringway_persist_{name} {value}\n"))).then_some(())
    });
}

#[tokio::test]
async fn a_hole_that_stays_is_told_with_the_node_that_has_the_message() {
    let deployment = Deployment::new();
    let stores = deployment.stores().await;
    // The fourth and fifth wait in the spool of node 7, which is dead.
    let spooled = sent_by("p2p:a:b", &[1, 1, 2, 7, 7, 2]);
    archive(&stores, &spooled, &[4, 5], true).await;
    let order = keys(&[("persist.hole_alarm_ms", "1000")]);
    let mut persist = Program::start("ringway-persist", &[deployment.persist("persist-1"), order].concat());
    let admin = persist.ready()["admin"].as_str().unwrap().to_owned();
    let line = persist.wait_for_log("a hole of the archive: its node has the message");
    assert_eq!(
        json!([line["conv"], line["first"], line["last"], line["nodes"], line["msg_id"]]),
        json!(["p2p:a:b", 4, 5, "{7}", spooled[3].msg_id])
    );
    assert!(line["age_ms"].as_u64().unwrap() >= 1_000, "{line}");
    wait_for_rows(&admin, &[("holes_alarmed_total", "1"), ("holes_old", "1")]);

    // The disk of node 7 is brought back.
    archive(&stores, &spooled, &[], true).await;
    wait_for_rows(&admin, &[("holes_alarmed_total", "1"), ("holes_old", "0"), ("hole_oldest_age_seconds", "0")]);

    // Of another conversation nobody has the message any more: readers stop below it, and the log says who took part.
    let lost = sent_by("p2p:a:c", &[3, 9, 4]);
    let epoch = stores.state.epoch();
    let messages = (1..).zip(&lost).filter(|(seq, _)| *seq != 2);
    let messages = messages.map(|(seq, event)| NumberedMessage { event: Arc::clone(event), epoch, seq });
    let batch = ArchiveBatch { messages: messages.collect(), ..ArchiveBatch::default() };
    stores.archive.commit(&batch).await.unwrap();
    let line = persist.wait_for_log("a hole of the archive: nobody has it, readers stop below");
    assert_eq!(json!([line["conv"], line["first"], line["last"], line["nodes"]]), json!(["p2p:a:c", 2, 2, "{3, 4}"]));
    wait_for_rows(&admin, &[("holes_alarmed_total", "2"), ("holes_old", "1")]);
    stores.close().await;
    persist.stop();
}
