//! The watch of this process over holes of the archive.

use std::sync::Arc;
use std::time::Duration;

use ringway_parts::board::Board;
use ringway_parts::stores::Stores;
use ringway_persist::{HoleConfig, HolePorts, HoleWatch};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The task of the watch. Dropping it lets the task end by itself.
pub(crate) struct Watching {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Watching {
    /// Begins, and shows it on the board.
    pub(crate) fn start(alarm_ms: u64, stores: &Stores, owner: String, board: &Board) -> Self {
        let database = Arc::new(stores.database.clone());
        let ports = HolePorts {
            holes: database.clone(),
            archive: Arc::clone(&stores.archive),
            state: stores.state.clone(),
            leases: database,
        };
        let holes = Arc::new(HoleWatch::new(ports, owner, HoleConfig::older_than(alarm_ms)));
        let measured = Arc::clone(&holes);
        board.add_measure(move || measured.metrics_text());
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move { holes.run(stopped).await });
        let judged = task.abort_handle();
        board.add_judge(move || {
            let why = judged.is_finished().then(|| "the watch over holes has ended: nobody looks here".to_owned());
            why.into_iter().collect()
        });
        Self { task, stop }
    }

    /// Ends it; whether it did so in time.
    pub(crate) async fn end(mut self, limit: Duration) -> bool {
        self.stop.send_replace(true);
        let ended = timeout(limit, &mut self.task).await;
        match &ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the task of the watch over holes failed"),
            Err(_) => self.task.abort(),
        }
        ended.is_ok()
    }
}
