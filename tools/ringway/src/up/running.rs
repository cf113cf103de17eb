//! The node while it serves: ready line, signals, reload.
//!
//! | Signal | Answer |
//! |---|---|
//! | SIGTERM, SIGINT | drain and end with exit code 0; a second one ends the process at once |
//! | SIGHUP | read the configuration again; what may change does |

use std::io::Write as _;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::start::{self, Node};
use super::{plan, stop};
use crate::address_file::AddressFile;
use crate::config::{Config, Sources, changed};
use crate::failure::one_line;
use crate::log::Log;

/// Serves from start to end.
///
/// # Errors
/// The start failed, or a part ended that has no business to.
pub(super) async fn serve(sources: &Sources, mut config: Config, log: &Log) -> anyhow::Result<()> {
    let mut ends = EndSignals::new().context("cannot listen to signals")?;
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen to signals")?;
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
            _ = hangup.recv() => reload(sources, &mut config, &node, log),
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
    tokio::spawn(async move {
        let name = ends.next().await;
        tracing::warn!(signal = name, "told to end again: at once");
        // Nothing acknowledged is lost by it; the next start recovers.
        std::process::exit(1);
    });
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
    tracing::info!(ws, api, admin, shards = plan::shards(config), "ready");
    let mut output = std::io::stdout().lock();
    // Whoever started us may not care.
    let _ = writeln!(output, "{}", node.addresses.ready_line()).and_then(|()| output.flush());
}

/// Reads the configuration again. What is wrong with it is logged, and then nothing has changed.
fn reload(sources: &Sources, config: &mut Config, node: &Node, log: &Log) {
    let new = match sources.load() {
        Ok(new) => new,
        Err(error) => {
            let error = one_line(&error);
            return tracing::error!(error, "the configuration cannot be reloaded: nothing has changed");
        }
    };
    let applied = plan::live(&new).and_then(|live| Ok(node.gateway.reload(live)?));
    if let Err(error) = applied {
        let error = one_line(&error);
        return tracing::error!(error, "the configuration cannot be reloaded: nothing has changed");
    }
    if let Err(error) = log.set_level(&new.log.level) {
        tracing::error!(error = one_line(&error), "the log's level stays as it was");
    }
    let (reloaded, waiting): (Vec<_>, Vec<_>) = changed(config, &new).into_iter().partition(|key| key.reloads);
    let names = |keys: Vec<&crate::config::Key>| keys.iter().map(|key| key.path()).collect::<Vec<_>>().join(", ");
    if !waiting.is_empty() {
        tracing::warn!(keys = names(waiting), "changed in the configuration, but need a restart to take effect");
    }
    tracing::info!(keys = names(reloaded), "configuration reloaded");
    config.adopt_reloadable(&new);
}

/// The signals that ask for the end.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl EndSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns the name of the next one. A dropped call loses none.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
