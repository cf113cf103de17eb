//! What a node needs to be one of several.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ringway_hops::Hops;
use ringway_peer::PeerLinks;
use ringway_store::ports::{Epochs, NodeRun, Routes};

/// One node among several: who it is, and how it reaches the others.
#[derive(Clone)]
pub struct Cluster {
    /// Which run of which node this is.
    pub run: NodeRun,
    /// Where peers and the daemon reach it, `host:port`.
    pub peer: String,
    /// Where clients reach it, a `ws://` or `wss://` URL.
    pub ws: String,
    /// What it runs, as `/v1/locate` may be asked for.
    pub version: String,
    /// Whether the process has all that the node stands on, kept by whoever asks the parts. Where people are sent, this
    /// is told along with whether messages get through.
    pub healthy: Arc<AtomicBool>,
    /// How long a batch waits for those of other nodes below it, in milliseconds; at least 1.
    pub reorder_wait_ms: u64,
    /// Who is where, and which nodes there are.
    pub routes: Arc<dyn Routes>,
    /// From which number on a later epoch differs.
    pub epochs: Arc<dyn Epochs>,
    /// Links to the other nodes.
    pub links: Arc<PeerLinks>,
    /// Where its threads hand over the hops of messages that are traced; none where no traces are exported.
    pub hops: Option<Hops>,
}
