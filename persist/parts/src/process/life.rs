//! From the admin listener's first answer to the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use ringway_engine::limits::DRAIN_MS;
use ringway_service::config::{Sources, reload};
use ringway_service::failure::one_line;
use ringway_service::log::Log;
use ringway_service::machine::start_watchdog;
use ringway_service::ready;
use ringway_service::signals::{EndSignals, Signals};
use tokio::time::timeout;

use super::admin::Listener;
use super::{Process, Surroundings};
use crate::board::Board;
use crate::otlp::Traces;
use crate::otlp::limits::FLUSH;

/// When the watchdog ends the process: some time before the promise of ten seconds is broken.
const WATCHDOG: Duration = Duration::from_millis(DRAIN_MS - 150);
/// What the admin listener gets for its last answers.
const ADMIN_END: Duration = Duration::from_millis(200);

/// Lives from start to end.
///
/// # Errors
/// The start failed, or a part ended that has no business to.
pub(super) async fn live<P: Process>(
    sources: &Sources,
    mut config: P::Config,
    orders: P::Orders,
    log: &Log,
) -> anyhow::Result<()> {
    let Signals { mut ends, mut hangup } = Signals::new().context("cannot listen to signals")?;
    let done = tokio::select! {
        done = P::errand(&config, &orders) => done?,
        name = ends.next() => {
            return Err(anyhow!("told to end by {name} before it was done"));
        }
    };
    if done {
        return Ok(());
    }
    let board = Board::new();
    let (gateways, archive, requests) = (Arc::default(), Arc::default(), Arc::default());
    let traces = Traces::new(P::NAME, P::otlp(&config));
    let around = Surroundings { board, gateways, archive, requests, traces };
    let mut admin = Listener::start(P::admin(&config), &around).await?;
    tracing::info!(admin = admin.url, version = env!("CARGO_PKG_VERSION"), "starting");
    let mut process = tokio::select! {
        started = P::start(&config, orders, &around) => started?,
        name = ends.next() => {
            tracing::info!(signal = name, "told to end while starting");
            return Ok(());
        }
    };
    around.board.found("process");
    announce(&process, &admin);
    let outcome = loop {
        tokio::select! {
            name = ends.next() => {
                tracing::info!(signal = name, "told to end: draining");
                break Ok(());
            }
            _ = hangup.recv() => {
                reload(sources, &mut config, log, |new| &P::log(new).level, |new| process.reload(new));
            }
            error = process.broken() => break Err(error),
            () = admin.ended() => break Err(anyhow!("the admin listener has ended by itself")),
        }
    };
    if let Err(error) = &outcome {
        tracing::error!(error = one_line(error), "a part has ended: draining");
    }
    end::<P>(process, admin, ends, &around).await;
    outcome
}

async fn end<P: Process>(process: P, admin: Listener, ends: EndSignals, around: &Surroundings) {
    around.board.miss("process", "is draining");
    ends.end_at_the_next();
    start_watchdog(P::NAME, WATCHDOG);
    let began = Instant::now();
    process.stop().await;
    // A process that took all its time has none left for spans.
    let left = WATCHDOG.saturating_sub(began.elapsed() + 2 * ADMIN_END);
    around.traces.finish(FLUSH.min(left)).await;
    if timeout(ADMIN_END, admin.stop()).await.is_err() {
        tracing::debug!("requests to the admin listener were cut off");
    }
    tracing::info!("ended");
}

fn announce<P: Process>(process: &P, admin: &Listener) {
    let mut addresses: BTreeMap<&str, String> = process.addresses().into_iter().collect();
    addresses.insert("admin", admin.url.clone());
    tracing::info!(?addresses, "ready");
    ready::announce(&addresses);
}
