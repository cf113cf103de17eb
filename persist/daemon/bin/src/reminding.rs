//! Reminders of this process: told by its workers what is archived.
//!
//! Best effort: what was waited for when they are stopped is forgotten, and the recipient finds it at the next connect.
//! Should their task end by itself, the archive goes on, and `/readyz` says so.

use std::sync::Arc;
use std::time::Duration;

use ringway_parts::board::Board;
use ringway_persist::Watcher;
use ringway_push::{Reminders, RemindersConfig, RemindersPorts};
use ringway_store::ports::ArchiveBatch;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The task of the reminders. Dropping it lets the task end by itself.
pub(crate) struct Reminding {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Reminding {
    /// Begins to remind, and shows it on the board. The workers are to be watched by what it returns.
    pub(crate) fn start(ports: RemindersPorts, config: RemindersConfig, board: &Board) -> (Self, Watcher) {
        let reminders = Arc::new(Reminders::new(ports, config));
        let (stop, stopped) = watch::channel(false);
        let (running, measured, told) = (Arc::clone(&reminders), Arc::clone(&reminders), reminders);
        let task = tokio::spawn(async move { running.run(stopped).await });
        let judged = task.abort_handle();
        board.add_judge(move || {
            let why = judged.is_finished().then(|| "reminders have ended: nobody is nudged or pushed".to_owned());
            why.into_iter().collect()
        });
        board.add_measure(move || measured.metrics_text());
        (Self { task, stop }, Arc::new(move |batch: &ArchiveBatch| told.archived(batch)))
    }

    /// Ends them; whether they did so in time.
    pub(crate) async fn end(mut self, limit: Duration) -> bool {
        self.stop.send_replace(true);
        let ended = timeout(limit, &mut self.task).await;
        match &ended {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the task of the reminders failed"),
            Err(_) => self.task.abort(),
        }
        ended.is_ok()
    }
}
