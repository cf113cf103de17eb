//! A node of the test's own: it holds sessions by its word alone, shows nobody anything, and hands over what it is
//! told.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use async_trait::async_trait;
use ringway_engine::ids::{DeviceId, Uid};
use ringway_parts::stores::Stores;
use ringway_peer::{Ask, PeerHandler, PeerLimits, PeerServer, Reply, Word};
use ringway_store::ports::{Node, NodeRun, Route, Routes as _};

use crate::deployment::Deployment;
use crate::program::LIMIT;

/// Longer than any test.
const TTL_MS: u64 = 600_000;

struct Ears(Sender<Word>);

#[async_trait]
impl PeerHandler for Ears {
    fn hear(&self, _from: &NodeRun, word: Word) {
        // The test may have heard enough.
        let _ = self.0.send(word);
    }

    async fn answer(&self, _from: &NodeRun, _ask: Ask) -> Reply {
        Reply::Done
    }
}

pub(crate) struct Listener {
    run: NodeRun,
    stores: Stores,
    server: PeerServer,
    words: Receiver<Word>,
}

impl Listener {
    /// A node among the others of a deployment, that takes no new sessions.
    pub(crate) async fn start(deployment: &Deployment) -> Self {
        let (stores, run) = (deployment.stores().await, NodeRun { node: "listener".to_owned(), boot: 7 });
        let (heard, words) = channel();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let (key, ears) = (deployment.peer_key(), Arc::new(Ears(heard)));
        let server = PeerServer::start(socket, run.clone(), key, PeerLimits::DEFAULT, ears).unwrap();
        let node = Node {
            run: run.clone(),
            peer: server.address().to_string(),
            ws: String::new(),
            version: String::new(),
            sessions: 1,
            open: false,
            healthy: true,
        };
        stores.routes.renew_node(&node, TTL_MS, TTL_MS).await.unwrap();
        Self { run, stores, server, words }
    }

    /// Says that it holds a session of this user.
    pub(crate) async fn hold(&self, uid: &str) {
        let route = Route {
            uid: Uid::parse(uid).unwrap(),
            device: DeviceId::parse("phone").unwrap(),
            run: self.run.clone(),
            session: 1,
            class: "mobile".to_owned(),
            opened_ms: 1,
        };
        self.stores.routes.enter(&route, TTL_MS).await.unwrap();
    }

    /// Waits for the next nudge; whatever else it is told, is lost.
    pub(crate) fn nudge(&self) -> Word {
        loop {
            let word = self.words.recv_timeout(LIMIT).unwrap();
            if matches!(word, Word::Nudge { .. }) {
                return word;
            }
        }
    }

    pub(crate) async fn close(self) {
        self.stores.routes.leave_node(&self.run).await.unwrap();
        self.server.close().await;
        self.stores.close().await;
    }
}
