//! The way down: gateway, then servers and daemon, then the stores, within ten seconds.
//!
//! Each step has its bound, and a watchdog ends the process if they fail it together. That loses nothing:
//! what was acknowledged is in the event log, and what of it is not archived is recovered at the next start.

use std::path::Path;
use std::time::Duration;

use ringway_engine::limits::DRAIN_MS;
use ringway_service::log::Log;
use ringway_service::machine::start_watchdog;
use tokio::time::timeout;

use super::start::Node;
use crate::PROGRAM;
use crate::address_file::AddressFile;

/// What requests in flight and the daemon get once the gateway has drained.
const FINISH_MS: u64 = 1_000;
/// What the stores get to close.
const CLOSE_MS: u64 = 300;
/// When the watchdog ends the process: some time before the promise is broken.
const WATCHDOG_MS: u64 = DRAIN_MS - 150;

/// Stops a node.
pub(super) async fn stop(node: Node, folder: &Path, log: &Log) {
    start_watchdog(PROGRAM, Duration::from_millis(WATCHDOG_MS));
    let Node { gateway, embedded, stop_servers, stop_daemon, api, admin, daemon, .. } = node;
    if let Err(error) = tokio::task::spawn_blocking(move || gateway.drain()).await {
        tracing::error!(%error, "the gateway's drain has failed");
    }
    stop_servers.send_replace(true);
    stop_daemon.send_replace(true);
    // A part whose task has ended already has been reported.
    let ended = async {
        for task in [api, admin] {
            if !task.is_finished() {
                let _ = task.await;
            }
        }
        if !daemon.is_finished()
            && let Ok(Err(error)) = daemon.await
        {
            tracing::error!(%error, "the daemon ended with an error");
        }
    };
    if timeout(Duration::from_millis(FINISH_MS), ended).await.is_err() {
        tracing::warn!("not everything is archived; the event log keeps it for the next start");
    }
    AddressFile::remove(folder);
    if timeout(Duration::from_millis(CLOSE_MS), embedded.close()).await.is_err() {
        tracing::warn!("the stores took too long to close; the next start recovers them");
    }
    tracing::info!("ended");
    log.flush();
}
