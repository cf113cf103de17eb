//! What may change while the gateway runs: settings, certificates, readiness.
//!
//! Written by whoever holds the gateway's handle, read by the shards: each read is one lock-free load of a
//! shared pointer when a connection comes in, nothing on a message's path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use arc_swap::{ArcSwap, ArcSwapOption};
use ringway_engine::packet::Format;
use ringway_ring::tls::TlsConfig;
use tokio::sync::Notify;

use crate::config::LiveConfig;

/// Shared by all shards of a node.
#[derive(Debug)]
pub(crate) struct Live {
    config: ArcSwap<LiveConfig>,
    tls: ArcSwapOption<TlsConfig>,
    /// Connections of the whole node; counted when they come and go, read by the drain.
    pub(crate) connections: AtomicUsize,
    /// Attached devices of the whole node that read JSON, and protobuf.
    readers: [AtomicUsize; 2],
    pub(crate) ready: AtomicBool,
    pub(crate) draining: AtomicBool,
    /// Where other nodes take clients, the least loaded first.
    elsewhere: ArcSwap<Vec<String>>,
    /// Another node has connected.
    pub(crate) met: Notify,
}

impl Live {
    pub(crate) fn new(config: LiveConfig, tls: Option<Arc<TlsConfig>>) -> Self {
        Self {
            config: ArcSwap::from_pointee(config),
            tls: ArcSwapOption::new(tls),
            connections: AtomicUsize::new(0),
            readers: [const { AtomicUsize::new(0) }; 2],
            ready: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            elsewhere: ArcSwap::default(),
            met: Notify::new(),
        }
    }

    pub(crate) fn config(&self) -> Arc<LiveConfig> {
        self.config.load_full()
    }

    /// The count of attached devices that read a format.
    pub(crate) fn readers_of(&self, format: Format) -> &AtomicUsize {
        let [json, protobuf] = &self.readers;
        if format.is_text() { json } else { protobuf }
    }

    pub(crate) fn elsewhere(&self) -> Arc<Vec<String>> {
        self.elsewhere.load_full()
    }

    pub(crate) fn set_elsewhere(&self, urls: Vec<String>) {
        if *self.elsewhere.load_full() != urls {
            self.elsewhere.store(Arc::new(urls));
        }
    }

    pub(crate) fn tls(&self) -> Option<Arc<TlsConfig>> {
        self.tls.load_full()
    }

    pub(crate) fn replace(&self, config: LiveConfig, tls: Option<Arc<TlsConfig>>) {
        self.config.store(Arc::new(config));
        if tls.is_some() {
            self.tls.store(tls);
        }
    }
}
