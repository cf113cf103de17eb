//! `ringway-persist --check-drift`: one round, now, for whoever has restored something.

use std::sync::Arc;

use ringway_store::conformance::message;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::ports::{ArchiveBatch, NumberedMessage, SharedState as _};
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::program::Program;

/// What a check prints, having ended well.
fn check(deployment: &Deployment) -> Value {
    let order = vec!["--check-drift".to_owned()];
    let mut program = Program::start("ringway-persist", &[deployment.persist("checker"), order].concat());
    let drift = program.says("drift");
    program.ends();
    drift
}

#[tokio::test]
async fn a_check_by_order_repairs_prints_and_ends() {
    let deployment = Deployment::new();
    let stores = deployment.stores().await;
    let events: Vec<_> = (1..=5).map(|n| message("p2p:a:b", "a", &format!("c-{n}"), n, now_ms())).collect();
    let numbers = stores.state.number(&events).await.unwrap();
    // Four of them are archived, and nobody tells Redis.
    let messages = events.iter().zip(numbers).take(4).map(|(event, number)| NumberedMessage {
        event: Arc::clone(event),
        epoch: number.epoch,
        seq: number.seq,
    });
    let batch = ArchiveBatch { messages: messages.collect(), ..ArchiveBatch::default() };
    stores.archive.commit(&batch).await.unwrap();
    stores.close().await;
    let nothing = json!({"copies": 0, "heads": 0, "holes": 0, "dense": 0, "missing": 0, "taken": 0, "cursors": 0});
    let mut copies = nothing.clone();
    copies["copies"] = json!(4);
    assert_eq!(check(&deployment), json!({"conversations": 1, "users": 0, "repaired": copies}));
    assert_eq!(check(&deployment), json!({"conversations": 1, "users": 0, "repaired": nothing}));
}
