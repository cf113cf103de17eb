//! The watch of this process over holes of the archive.

use std::sync::Arc;

use ringway_parts::board::Board;
use ringway_parts::stores::Stores;
use ringway_persist::{HoleConfig, HolePorts, HoleWatch};

use crate::background::Background;

/// Begins to watch, and shows it on the board.
pub(crate) fn start(alarm_ms: u64, stores: &Stores, owner: String, board: &Board) -> Background {
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
    let ended = "the watch over holes has ended: nobody looks here";
    Background::start("watch over holes", ended, board, |stop| async move { holes.run(stop).await })
}
