//! `ringway-persist --replay-from`: what the database has lost comes back from RocketMQ, once, under its old numbers.

use std::sync::Arc;

use ringway_engine::event::MessageEvent;
use ringway_mysql::Month;
use ringway_parts::stores::Stores;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::conformance::{conv, message};
use ringway_store::ports::PageFrom;

use crate::deployment::{Deployment, wait_for};
use crate::program::{Program, check_fails};

const CONVERSATIONS: [&str; 3] = ["p2p:a:b", "p2p:a:c", "group:g"];
/// Messages of each.
const EACH: u64 = 12;

/// Numbers and ids of what is archived, by conversation.
type Archived = Vec<Vec<(u64, u64)>>;

async fn archived(stores: &Stores) -> Archived {
    let mut all = Vec::new();
    for name in CONVERSATIONS {
        let page = stores.archive.page(&conv(name), PageFrom::After(0), 1_000).await.unwrap();
        all.push(page.iter().map(|item| (item.seq, item.msg_id)).collect());
    }
    all
}

/// Messages that take turns between the conversations, taken at one moment.
fn events(ts_ms: u64) -> Vec<Arc<MessageEvent>> {
    let ids = (1..).take(CONVERSATIONS.len() * EACH as usize);
    ids.zip(CONVERSATIONS.into_iter().cycle()).map(|(id, of)| message(of, "a", &format!("c-{id}"), id, ts_ms)).collect()
}

/// One run of a daemon, until every record is consumed.
fn run(deployment: &Deployment, order: &[&str], records: u64) {
    let order: Vec<String> = order.iter().map(ToString::to_string).collect();
    let mut persist = Program::start("ringway-persist", &[deployment.persist("persist-1"), order].concat());
    // What is ordered has been done by then.
    persist.ready();
    wait_for("the last record", || {
        let consumed = deployment.sql("SELECT COALESCE(SUM(next_offset), 0) FROM consumed_offsets");
        (consumed.split_whitespace().last() == Some(&records.to_string())).then_some(())
    });
    persist.stop();
}

#[tokio::test]
async fn what_the_database_lost_comes_back_once_under_its_old_numbers() {
    const ALL: [&str; 2] = ["--replay-from", "all=earliest"];
    let deployment = Deployment::new();
    let stores = deployment.stores().await;
    let ts_ms = now_ms();
    let (events, table) = (events(ts_ms), Month::of(ts_ms).table());
    let records = events.len() as u64;
    deployment.append(&events).await;
    run(&deployment, &[], records);
    let before = archived(&stores).await;
    let numbers: Vec<u64> = before.iter().flatten().map(|(seq, _)| *seq).collect();
    assert_eq!(numbers, [1..=EACH, 1..=EACH, 1..=EACH].into_iter().flatten().collect::<Vec<_>>());

    // Nothing is missing: nothing comes.
    run(&deployment, &ALL, records);
    assert_eq!(archived(&stores).await, before);

    // Some messages are missing, the latest among them.
    deployment.sql(&format!("DELETE FROM {table} WHERE seq IN (1, 5, 6, {EACH})"));
    assert_eq!(archived(&stores).await.concat().len() as u64, records - 4 * CONVERSATIONS.len() as u64);
    run(&deployment, &ALL, records);
    assert_eq!(archived(&stores).await, before);

    // All of them, and what the database knew of their conversations.
    for table in [&*table, "conversations", "conversation_months", "conversation_users", "epoch_floors", "holes"] {
        deployment.sql(&format!("DELETE FROM {table}"));
    }
    assert!(archived(&stores).await.concat().is_empty());
    run(&deployment, &ALL, records);
    assert_eq!(archived(&stores).await, before);
    stores.close().await;

    // One queue, by its name; and what cannot be done.
    let queue = deployment.sql("SELECT log FROM consumed_offsets ORDER BY next_offset DESC LIMIT 1");
    let queue = queue.split_whitespace().last().unwrap().to_owned();
    run(&deployment, &["--replay-from", &format!("{queue}=0")], records);
    let refused = |order: &str, expected: &str| {
        let order = ["--replay-from".to_owned(), order.to_owned()];
        check_fails("ringway-persist", &[deployment.persist("persist-1"), order.to_vec()].concat(), 1, expected);
    };
    refused(&format!("{queue}=1000000"), "and not yet to 1000000");
    refused("elsewhere/0=0", "no queue elsewhere/0; there are ");
    assert_eq!(archived(&deployment.stores().await).await, before);
}
