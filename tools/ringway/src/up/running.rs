//! The node while it serves: ready line, signals, reload.
//!
//! | Signal | Answer |
//! |---|---|
//! | SIGTERM, SIGINT | drain and end with exit code 0; a second one ends the process at once |
//! | SIGHUP | read the configuration again; what may change does |

use anyhow::{Context as _, anyhow};
use ringway_service::config::{Sources, reload};
use ringway_service::failure::one_line;
use ringway_service::log::Log;
use ringway_service::ready;
use ringway_service::signals::Signals;

use super::start::{self, Node};
use super::{plan, stop};
use crate::address_file::AddressFile;
use crate::config::Config;

/// Serves from start to end.
///
/// # Errors
/// The start failed, or a part ended that has no business to.
pub(super) async fn serve(sources: &Sources, mut config: Config, log: &Log) -> anyhow::Result<()> {
    let Signals { mut ends, mut hangup } = Signals::new().context("cannot listen to signals")?;
    let mut node = tokio::select! {
        node = start::start(&config) => node?,
        name = ends.next() => {
            tracing::info!(signal = name, "told to end while starting");
            return Ok(());
        }
    };
    announce(&node, &config);
    let outcome = loop {
        tokio::select! {
            name = ends.next() => {
                tracing::info!(signal = name, "told to end: draining");
                break Ok(());
            }
            _ = hangup.recv() => reload(sources, &mut config, log, |new| &new.log.level, |new| {
                Ok(node.gateway.reload(plan::live(new)?)?)
            }),
            ended = &mut node.daemon => break Err(match ended {
                Ok(Ok(())) => anyhow!("the daemon has ended by itself"),
                Ok(Err(error)) => anyhow!(error).context("the daemon has stopped"),
                Err(error) => anyhow!(error).context("the daemon has failed"),
            }),
            _ = &mut node.api => break Err(anyhow!("the API's listener has ended by itself")),
            _ = &mut node.admin => break Err(anyhow!("the admin listener has ended by itself")),
        }
    };
    if let Err(error) = &outcome {
        tracing::error!(error = one_line(error), "a part has ended: draining");
    }
    ends.end_at_the_next();
    stop::stop(node, &config.data.folder, log).await;
    outcome
}

fn announce(node: &Node, config: &Config) {
    let file = AddressFile { pid: std::process::id(), ready: node.addresses.clone() };
    if let Err(error) = file.write(&config.data.folder) {
        tracing::warn!(%error, "the tools will not find this node by its data folder");
    }
    node.gateway.set_ready();
    let (ws, api, admin) = (&node.addresses.ws, &node.addresses.api, &node.addresses.admin);
    tracing::info!(ws, api, admin, shards = config.gateway.shard_count(), "ready");
    ready::announce(&node.addresses);
}
