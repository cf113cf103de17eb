//! Reminders of this process: told by its workers what is archived.
//!
//! Best effort: what was waited for when they are stopped is waited for again by whoever consumes next, if it was
//! archived within `push.push_after_ms`; otherwise the recipient finds it at the next connect. Should their task end by
//! itself, the archive goes on, and `/readyz` says so.

use std::sync::Arc;

use ringway_parts::board::Board;
use ringway_persist::Watcher;
use ringway_push::{Reminders, RemindersConfig, RemindersPorts};
use ringway_store::ports::ArchiveBatch;

use crate::background::Background;

/// Begins to remind, and shows it on the board. The workers are to be watched by what it returns.
pub(crate) fn start(ports: RemindersPorts, config: RemindersConfig, board: &Board) -> (Background, Watcher) {
    let reminders = Arc::new(Reminders::new(ports, config));
    let (running, measured) = (Arc::clone(&reminders), Arc::clone(&reminders));
    board.add_measure(move || measured.metrics_text());
    let ended = "reminders have ended: nobody is nudged or pushed";
    let background = Background::start("reminders", ended, board, |stop| async move { running.run(stop).await });
    (background, Arc::new(move |batch: &ArchiveBatch| reminders.archived(batch)))
}
