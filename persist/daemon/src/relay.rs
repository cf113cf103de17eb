//! The relay: what the directory has put out, told to the gateways in order.
//!
//! An entry is done once its signal is applied and its message taken. A crash in between tells it again,
//! which is harmless: signals are idempotent, and a message carries its client message id.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ringway_store::ports::{Directory, DirectoryError, Gateways, OutboxEntry, SubmitError};
use tokio::sync::watch;

use crate::backoff::{Backoff, stopped};
use crate::metrics::ProcessMetrics;

/// Entries read at once.
const CHUNK: usize = 64;

/// What is relayed, and to whom.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) gateways: Arc<dyn Gateways>,
    pub(crate) metrics: Arc<ProcessMetrics>,
}

impl Relay {
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut backoff = Backoff::new();
        while !*stop.borrow() {
            let pass = tokio::select! {
                pass = self.relay_all() => pass,
                () = stopped(&mut stop) => return,
            };
            match pass {
                Ok(()) => {
                    backoff.reset();
                    tokio::select! {
                        () = self.directory.outbox_wait() => {}
                        () = stopped(&mut stop) => return,
                    }
                }
                Err(error) => {
                    self.metrics.retries.fetch_add(1, Relaxed);
                    tracing::warn!(%error, "the outbox is not relayed yet");
                    backoff.wait(&mut stop).await;
                }
            }
        }
    }

    /// Relays until the outbox is empty.
    async fn relay_all(&self) -> Result<(), String> {
        let directory = &self.directory;
        loop {
            let entries = directory.outbox(CHUNK).await.map_err(|error: DirectoryError| error.to_string())?;
            if entries.is_empty() {
                return Ok(());
            }
            let mut told = None;
            let mut failure = None;
            for entry in entries {
                let id = entry.id;
                if let Err(why) = self.tell(entry).await {
                    failure = Some(why);
                    break;
                }
                told = Some(id);
            }
            if let Some(id) = told {
                directory.outbox_done(id).await.map_err(|error| error.to_string())?;
            }
            if let Some(why) = failure {
                return Err(why);
            }
        }
    }

    /// One entry: the signal first, so that the members it adds get the message.
    async fn tell(&self, entry: OutboxEntry) -> Result<(), String> {
        let OutboxEntry { id, signal, message } = entry;
        if let Some(signal) = signal {
            self.settle(id, self.gateways.signal(signal).await)?;
        }
        if let Some(message) = message {
            self.settle(id, self.gateways.submit(message).await.map(drop))?;
        }
        self.metrics.relayed.fetch_add(1, Relaxed);
        Ok(())
    }

    fn settle(&self, id: u64, answer: Result<(), SubmitError>) -> Result<(), String> {
        match answer {
            Ok(()) => Ok(()),
            Err(SubmitError::Temporary(why)) => Err(why),
            Err(SubmitError::Refused(why)) => {
                self.metrics.refused.fetch_add(1, Relaxed);
                tracing::error!(outbox = id, why, "the gateways refuse an outbox entry for good: dropped");
                Ok(())
            }
        }
    }
}
