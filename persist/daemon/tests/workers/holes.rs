//! Holes of the archive: one process counts each that stays, once.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ringway_persist::{HoleConfig, HolePorts, HoleWatch};
use ringway_store::conformance::message;
use ringway_store::conformance::shared_state::now_ms;
use ringway_store::ports::{
    Archive as _, ArchiveBatch, Hole, Holes, Leases as _, LogOffset, NumberedMessage, SharedState as _, StoreError,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::parts::{Shared, until};

/// Holes as they are told.
#[derive(Default)]
struct Listed(Mutex<Vec<Hole>>);

#[async_trait]
impl Holes for Listed {
    async fn oldest_holes(&self, limit: usize) -> Result<Vec<Hole>, StoreError> {
        Ok(self.0.lock().unwrap().iter().take(limit).cloned().collect())
    }
}

fn hole(conv: &str, first: u64, age_ms: u64) -> Hole {
    Hole { conv: conv.into(), first, since_ms: now_ms() - age_ms }
}

/// Messages 1 to 4 of a conversation, of which the archive lacks the third.
async fn leave_a_hole(shared: &Shared, conv: &str, first_id: u64) {
    let events: Vec<_> = (1..=4).map(|n| message(conv, "a", &format!("{conv}-{n}"), first_id + n, now_ms())).collect();
    let numbers = shared.state.number(&events).await.unwrap();
    let messages = events.iter().zip(numbers).filter(|(_, number)| number.seq != 3);
    let messages = messages.map(|(event, number)| NumberedMessage {
        event: Arc::clone(event),
        epoch: number.epoch,
        seq: number.seq,
    });
    let batch = ArchiveBatch { messages: messages.collect(), next_offset: LogOffset(0), ..ArchiveBatch::default() };
    shared.archives[0].commit(&batch).await.unwrap();
}

/// The watch of one process.
struct Watching {
    holes: Arc<HoleWatch>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Watching {
    fn start(shared: &Shared, listed: &Arc<Listed>, owner: &str) -> Self {
        let ports = HolePorts {
            holes: listed.clone(),
            archive: shared.archives[0].clone(),
            state: shared.state.clone(),
            leases: shared.leases.clone(),
        };
        let config = HoleConfig { alarm_ms: 60_000, look_ms: 5, lease_ms: 500 };
        let holes = Arc::new(HoleWatch::new(ports, owner.to_owned(), config));
        let (stop, stopped) = watch::channel(false);
        let running = Arc::clone(&holes);
        Self { holes, stop, task: tokio::spawn(async move { running.run(stopped).await }) }
    }

    /// Waits until so many were counted and so many stand.
    async fn tells(&self, told: u64, old: u64) {
        let rows = [("holes_alarmed_total", told), ("holes_old", old)];
        let expected = rows.map(|(name, value)| format!("\nringway_persist_{name} {value}\n"));
        until(&format!("{told} told, {old} standing"), async || {
            let text = self.holes.metrics_text();
            expected.iter().all(|row| text.contains(row))
        })
        .await;
    }

    fn oldest_age_s(&self) -> f64 {
        let text = self.holes.metrics_text();
        let row = text.lines().find(|row| row.starts_with("ringway_persist_hole_oldest_age_seconds ")).unwrap();
        row.rsplit(' ').next().unwrap().parse().unwrap()
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_hole_that_stays_is_counted_once_by_one_process() {
    let shared = Shared::new(1).await;
    let listed = Arc::new(Listed::default());
    for (conv, first_id) in [("p2p:a:b", 10), ("p2p:a:c", 20), ("p2p:a:d", 30)] {
        leave_a_hole(&shared, conv, first_id).await;
    }
    // The first is old; the second is common; the third was filled when it was looked for: the archive has the number.
    let told = vec![hole("p2p:a:b", 3, 90_000), hole("p2p:a:d", 2, 80_000), hole("p2p:a:c", 3, 1_000)];
    listed.0.lock().unwrap().clone_from(&told);
    let one = Watching::start(&shared, &listed, "one");
    one.tells(1, 2).await;
    assert!(one.oldest_age_s() >= 90.0, "{}", one.oldest_age_s());
    let other = Watching::start(&shared, &listed, "other");
    other.tells(0, 0).await;
    // Another look at the same tells nothing new; one that grows old does.
    listed.0.lock().unwrap()[2].since_ms -= 60_000;
    one.tells(2, 3).await;
    // What is filled and left again is another.
    listed.0.lock().unwrap().remove(0);
    one.tells(2, 2).await;
    listed.0.lock().unwrap().insert(0, told[0].clone());
    one.tells(3, 3).await;
    listed.0.lock().unwrap().clear();
    one.tells(3, 0).await;
    assert_eq!(one.oldest_age_s(), 0.0);
    // Whoever takes over tells what still stands.
    listed.0.lock().unwrap().push(told[0].clone());
    one.tells(4, 1).await;
    assert_eq!(other.oldest_age_s(), 0.0);
    one.stop().await;
    other.tells(1, 1).await;
    assert_eq!(shared.leases.held("holes").await.unwrap(), [("holes".to_owned(), "other".to_owned())]);
    other.stop().await;
    assert!(shared.leases.held("holes").await.unwrap().is_empty());
}
