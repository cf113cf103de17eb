//! This node among others: its sessions entered where all nodes look, and what is for devices elsewhere sent there.
//!
//! ```text
//!   open ──► enter route ──► kicks elsewhere          every second: nodes ──► links
//!   attach ─► seat groups ─► read standings           every 30 s: routes, seats, node renewed
//!   commit ─► numbers ─► holders? ─► Deliver to each  not among the nodes any more: all renewed at once, then read
//! ```
//!
//! Every 3 s, and as soon as it changes, the node says how it is: whether it takes sessions, how many it has, whether it is
//! healthy. The last is forgotten within 10 s, so a node that died, or that cannot say it any more, is told to nobody.
//!
//! **Why nobody misses a message.** A session is entered before its standing is read, and holders are asked
//! after a batch has its numbers: either the batch is in the standing, or its node is among the holders. What is
//! lost on the way (a link that breaks or is not there yet, routes that a store forgot) shows to the device as a gap,
//! or is found when a link that stands (again) says so, and by the daemon's nudges: `stand_anew`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringway_engine::catchup::Standing;
use ringway_engine::conversation::Number;
use ringway_engine::delivery::Place;
use ringway_engine::devices::KickReason;
use ringway_engine::ids::{ConversationId, Uid};
use ringway_peer::{Deliver, DeliverItem, TransientPush, TransientTo as PeerTo, Word};
use ringway_store::ports::{Node, NodeRun, Route, StoreError};

use super::Uplink;
use super::commit::Numbers;
use super::open::standing;
use super::routes::Entry;
use crate::clock;
use crate::cluster::Cluster;
use crate::mail::{ConnectionRef, ToShard, Transient, TransientTo};
use crate::trace::{Hop, Station};

/// Entries of this node stay for this long without being renewed.
const ROUTE_TTL_MS: u64 = 90_000;
/// And are renewed this often.
const RENEW_MS: u64 = 30_000;
/// How the node is doing is said this often.
const TELL_MS: u64 = 3_000;
/// That it is healthy holds for this long: two tellings may be late or lost.
const HEALTHY_MS: u64 = 10_000;
const _: () = assert!(3 * TELL_MS < HEALTHY_MS && HEALTHY_MS < ROUTE_TTL_MS);
/// The nodes are looked at this often.
const LOOK_MS: u64 = 1_000;
/// Entries of one call.
const CHUNK: usize = 1_000;
/// Sessions that ended are taken off together after this long.
const LEAVE_MS: u64 = 20;
/// Standings read at the same time when all are read anew.
const STANDINGS_AT_ONCE: usize = 32;

/// Whether the standings of all devices are being read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum StandingAnew {
    /// No.
    #[default]
    No,
    /// To be read, also if they are being read now.
    Asked,
    /// Being read.
    Looking,
}

impl Uplink {
    fn cluster(&self) -> Option<&Cluster> {
        self.ports.cluster.as_ref()
    }

    fn route(&self, cluster: &Cluster, entry: &Entry) -> Route {
        Route {
            uid: entry.owner.uid.clone(),
            device: entry.owner.device.clone(),
            run: cluster.run.clone(),
            session: entry.number,
            class: entry.class.name().to_owned(),
            opened_ms: entry.opened_ms,
        }
    }

    /// Enters a session; answers the user's sessions on other nodes.
    pub(super) async fn enter(&self, entry: &Entry) -> Result<Vec<Route>, StoreError> {
        let Some(cluster) = self.cluster() else { return Ok(Vec::new()) };
        let mut others = cluster.routes.enter(&self.route(cluster, entry), ROUTE_TTL_MS).await?;
        others.retain(|other| other.run != cluster.run);
        Ok(others)
    }

    /// Ends a session of another node. If the word is lost, that session stays until its client looks for it; its
    /// route is gone, or runs out.
    pub(super) fn kick_elsewhere(&self, route: &Route, reason: KickReason) {
        let Some(cluster) = self.cluster() else { return };
        let word = Word::Kick { session: route.session, reason: reason.name().to_owned() };
        if !cluster.links.say(&route.run, word) {
            tracing::warn!(node = route.run.node, "a session of another node could not be ended");
        }
    }

    /// Says that this node holds members of these groups, before their messages are counted on.
    pub(super) async fn seat(&self, groups: &[ConversationId]) -> Result<(), StoreError> {
        let Some(cluster) = self.cluster() else { return Ok(()) };
        let new: Vec<ConversationId> = {
            let state = self.state.borrow();
            groups.iter().filter(|group| !state.seated.contains(*group)).cloned().collect()
        };
        for chunk in new.chunks(CHUNK) {
            cluster.routes.seat(&cluster.run, chunk, ROUTE_TTL_MS).await?;
        }
        self.state.borrow_mut().seated.extend(new);
        Ok(())
    }

    /// The session is over: its route is removed soon, with others.
    pub(super) fn left(self: &Rc<Self>, entry: &Entry) {
        let Some(cluster) = self.cluster() else { return };
        let route = self.route(cluster, entry);
        let mut state = self.state.borrow_mut();
        state.leaving.push(route);
        if state.leaving.len() > 1 {
            return;
        }
        let this = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(Duration::from_millis(LEAVE_MS)).await;
            let leaving = std::mem::take(&mut this.state.borrow_mut().leaving);
            let Some(cluster) = this.cluster() else { return };
            for chunk in leaving.chunks(CHUNK) {
                if let Err(error) = cluster.routes.leave(chunk).await {
                    tracing::warn!(%error, routes = chunk.len(), "routes were not removed: they run out");
                }
            }
        });
    }

    /// Hands a committed batch to every other node that holds somebody of its conversation.
    pub(super) async fn tell_nodes(&self, batches: &[Numbers]) {
        let Some(cluster) = self.cluster().filter(|_| !self.state.borrow().nodes.is_empty()) else { return };
        let convs: Vec<&ConversationId> = batches.iter().map(|batch| &batch.conv).collect();
        let holders = self.holders(cluster, &convs).await;
        for (batch, runs) in batches.iter().zip(holders) {
            let others: Vec<NodeRun> = runs.into_iter().filter(|run| *run != cluster.run).collect();
            if others.is_empty() {
                continue;
            }
            for deliver in delivers(batch) {
                // Lost words are counted by the links; the devices there read what is missing.
                let told = cluster.links.say_all(&others, &Word::Deliver(deliver));
                self.metrics.counters.told_nodes.add(told as u64);
            }
            self.note_told(batch, others.len() as u64);
        }
    }

    fn note_told(&self, batch: &Numbers, nodes: u64) {
        let (at_us, conv) = (clock::unix_us(), batch.conv.stable_hash());
        let mut state = self.state.borrow_mut();
        for &Number { msg_id, seq, .. } in &batch.numbers {
            state.trace.note(Hop { at_us, station: Station::Told, msg_id, conv, seq, who: nodes, shard: u16::MAX });
        }
    }

    /// Who holds members; when that cannot be told, all nodes: those without members drop what they hear.
    async fn holders(&self, cluster: &Cluster, convs: &[&ConversationId]) -> Vec<Vec<NodeRun>> {
        match cluster.routes.holders(convs).await {
            Ok(holders) => holders,
            Err(error) => {
                self.store_failed(&error);
                let all = self.state.borrow().nodes.clone();
                convs.iter().map(|_| all.clone()).collect()
            }
        }
    }

    /// Hands a transient push to the other nodes that hold somebody it is for.
    pub(super) async fn transient_elsewhere(self: Rc<Self>, push: Arc<Transient>) {
        let Some(cluster) = self.cluster() else { return };
        let (to, convs) = match &push.to {
            TransientTo::Group(conv) => (PeerTo::Group(conv.as_str().to_owned()), vec![conv.clone()]),
            TransientTo::Users(uids) => (
                PeerTo::Users(uids.iter().map(|uid| uid.as_str().to_owned()).collect()),
                uids.iter().filter_map(|uid| ConversationId::parse(&format!("sys:{}", uid.as_str())).ok()).collect(),
            ),
        };
        let convs: Vec<&ConversationId> = convs.iter().collect();
        // At most once by contract: nobody is asked instead.
        let Ok(holders) = cluster.routes.holders(&convs).await else { return };
        let mut runs: Vec<NodeRun> = holders.into_iter().flatten().filter(|run| *run != cluster.run).collect();
        runs.sort_unstable();
        runs.dedup();
        let (json, protobuf) = (push.json.to_vec(), push.protobuf.to_vec());
        cluster.links.say_all(&runs, &Word::Transient(TransientPush { to, json, protobuf }));
    }

    /// What another node, or the daemon, has said.
    pub(super) fn hear(self: &Rc<Self>, word: Word) {
        match word {
            Word::Deliver(deliver) => self.hear_deliver(deliver),
            Word::Transient(push) => self.hear_transient(push),
            Word::Kick { session, reason } => {
                let to = self.state.borrow().routes.of_number(session);
                if let (Some(to), Some(reason)) = (to, KickReason::of(&reason)) {
                    self.kick(to, reason);
                }
            }
            // Where the devices stand is read, rather than believed: the word may be old.
            Word::Nudge { uid, conv, epoch, head } => {
                let (Ok(uid), Ok(conv)) = (Uid::parse(&uid), ConversationId::parse(&conv)) else { return };
                let sessions = self.state.borrow().routes.attached_of(&uid);
                tokio::task::spawn_local(Rc::clone(self).stand_anew(sessions, Some((conv, (epoch, head)))));
            }
            Word::Missed => self.all_stand_anew(),
        }
    }

    fn hear_deliver(&self, Deliver { conv, epoch, items }: Deliver) {
        let Ok(conv) = ConversationId::parse(&conv) else { return };
        let audience = self.state.borrow().routes.audience(&conv);
        if audience.shards == 0 {
            return;
        }
        let messages = items.into_iter().map(|item| item.event.to_message(epoch, item.seq)).collect();
        let home = conv.home_shard(self.state.borrow().shards.len()) as u16;
        self.tell(home, ToShard::Arrived { conv, messages, audience });
    }

    fn hear_transient(&self, TransientPush { to, json, protobuf }: TransientPush) {
        let to = match to {
            PeerTo::Group(conv) => ConversationId::parse(&conv).ok().map(TransientTo::Group),
            PeerTo::Users(uids) => {
                Some(TransientTo::Users(uids.iter().filter_map(|uid| Uid::parse(uid).ok()).collect()))
            }
        };
        let Some(to) = to else { return };
        let push = Arc::new(Transient { to, except: None, json: json.into(), protobuf: protobuf.into() });
        let shards = self.state.borrow().shards.len() as u16;
        for shard in 0..shards {
            self.tell(shard, ToShard::Transient(Arc::clone(&push)));
        }
    }

    /// Keeps this node and its entries where the others look, and the links to them up. Ends with the process.
    pub(super) async fn stay_in_cluster(self: Rc<Self>) {
        let Some(cluster) = self.cluster().cloned() else { return };
        let mut renewed_ms = None;
        let mut told = None;
        loop {
            let now_ms = clock::steady_ms();
            let condition = (self.is_open(), self.is_healthy(&cluster));
            let is_due = |at: Option<u64>, every_ms| at.is_none_or(|at| now_ms >= at + every_ms);
            if is_due(renewed_ms, RENEW_MS) {
                match self.renew_all(&cluster).await {
                    Ok(()) => (renewed_ms, told) = (Some(now_ms), Some((now_ms, condition))),
                    Err(error) => tracing::warn!(%error, "this node could not renew its routes"),
                }
            } else if told.is_none_or(|(at, said)| is_due(Some(at), TELL_MS) || said != condition) {
                match self.renew_node(&cluster).await {
                    Ok(()) => told = Some((now_ms, condition)),
                    Err(error) => tracing::warn!(%error, "this node could not say how it is"),
                }
            }
            match cluster.routes.nodes().await {
                Ok(nodes) if renewed_ms.is_some() && !nodes.iter().any(|node| node.run == cluster.run) => {
                    tracing::warn!("the routes of this node were lost: entering them again");
                    renewed_ms = None;
                    Rc::clone(&self).recover_routes(&cluster).await;
                }
                Ok(nodes) => self.link(&cluster, nodes),
                Err(error) => tracing::warn!(%error, "the nodes could not be read"),
            }
            // A node that has just come looks for this one: it is linked to at once, as its clients come soon.
            let _ = tokio::time::timeout(Duration::from_millis(LOOK_MS), self.live.met.notified()).await;
        }
    }

    fn is_open(&self) -> bool {
        self.live.ready.load(Ordering::Relaxed) && !self.live.draining.load(Ordering::Relaxed)
    }

    /// The same that `/readyz` of the process says, but for whether it is open.
    fn is_healthy(&self, cluster: &Cluster) -> bool {
        cluster.healthy.load(Ordering::Relaxed) && self.metrics.canary.complaint().is_none()
    }

    fn link(&self, cluster: &Cluster, mut nodes: Vec<Node>) {
        nodes.retain(|node| node.run != cluster.run);
        nodes.sort_by_key(|node| node.sessions);
        self.state.borrow_mut().nodes = nodes.iter().map(|node| node.run.clone()).collect();
        cluster.links.set_nodes(&nodes);
        self.live.set_elsewhere(Node::preferred(nodes).into_iter().map(|node| node.ws).collect());
    }

    async fn renew_all(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let (routes, groups) = {
            let mut state = self.state.borrow_mut();
            let routes: Vec<Route> = state.routes.entries().map(|entry| self.route(cluster, entry)).collect();
            // Groups that nobody here is in any more run out.
            let groups: Vec<ConversationId> = state.routes.groups().cloned().collect();
            state.seated = groups.iter().cloned().collect();
            (routes, groups)
        };
        self.renew_node(cluster).await?;
        for chunk in routes.chunks(CHUNK) {
            cluster.routes.renew(chunk, ROUTE_TTL_MS).await?;
        }
        for chunk in groups.chunks(CHUNK) {
            cluster.routes.seat(&cluster.run, chunk, ROUTE_TTL_MS).await?;
        }
        Ok(())
    }

    async fn renew_node(&self, cluster: &Cluster) -> Result<(), StoreError> {
        let node = Node {
            run: cluster.run.clone(),
            peer: cluster.peer.clone(),
            ws: cluster.ws.clone(),
            version: cluster.version.clone(),
            sessions: self.state.borrow().routes.sessions() as u64,
            open: self.is_open(),
            healthy: self.is_healthy(cluster),
        };
        cluster.routes.renew_node(&node, ROUTE_TTL_MS, HEALTHY_MS).await
    }

    /// The routes were lost, and with them perhaps pushes from other nodes.
    async fn recover_routes(self: Rc<Self>, cluster: &Cluster) {
        if let Err(error) = self.renew_all(cluster).await {
            tracing::warn!(%error, "this node could not enter its routes again yet");
            return;
        }
        self.all_stand_anew();
    }

    /// Pushes from elsewhere may have been lost: looks at all devices here. While it looks, it is asked once for all
    /// that would have it look again.
    pub(super) fn all_stand_anew(self: &Rc<Self>) {
        let asked = std::mem::replace(&mut self.state.borrow_mut().standing_anew, StandingAnew::Asked);
        if asked != StandingAnew::No {
            return;
        }
        let this = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while this.state.borrow().standing_anew == StandingAnew::Asked {
                let sessions = {
                    let mut state = this.state.borrow_mut();
                    state.standing_anew = StandingAnew::Looking;
                    state.routes.attached()
                };
                Rc::clone(&this).stand_anew(sessions, None).await;
            }
            this.state.borrow_mut().standing_anew = StandingAnew::No;
        });
    }

    /// Reads where devices here stand, and tells their shards. `nudged`: what they have not acknowledged for long.
    async fn stand_anew(self: Rc<Self>, sessions: Vec<Entry>, nudged: Option<(ConversationId, Place)>) {
        for chunk in sessions.chunks(STANDINGS_AT_ONCE) {
            let reads = chunk.iter().map(|entry| self.stand(entry, nudged.as_ref()));
            futures_util::future::join_all(reads).await;
        }
    }

    async fn stand(&self, entry: &Entry, nudged: Option<&(ConversationId, Place)>) {
        let points = match self.ports.state.points(&entry.owner.uid, &entry.owner.device, clock::unix_ms()).await {
            Ok(points) => points,
            Err(error) => return tracing::warn!(%error, "where a device stands could not be read anew"),
        };
        let standings: Vec<(ConversationId, Standing)> = points.into_iter().map(standing).collect();
        let lacks = |(conv, at): &&(ConversationId, Place)| {
            let now = standings.iter().find(|(of, _)| of == conv).map(|(_, now)| now);
            now.is_some_and(|now| (now.epoch, now.device_cursor.or(now.user_cursor).unwrap_or(0)) < *at)
        };
        let unacknowledged = nudged.filter(lacks).cloned();
        let ConnectionRef { shard, connection } = entry.to;
        self.tell(shard, ToShard::Standings { connection, standings, unacknowledged });
    }

    /// Says that this run has ended.
    pub(super) async fn leave_cluster(&self) {
        let Some(cluster) = self.cluster() else { return };
        if let Err(error) = cluster.routes.leave_node(&cluster.run).await {
            tracing::warn!(%error, "this node's entry was not removed: it runs out");
        }
    }

    /// From where on a device reads whose place may be of an epoch that is over.
    pub(super) async fn resolve(
        &self,
        to: ConnectionRef,
        conv: &ConversationId,
        (epoch, after): (u64, u64),
    ) -> Result<u64, StoreError> {
        let Some(cluster) = self.cluster() else { return Ok(after) };
        let floors = cluster.epochs.floors(&[(conv.as_str(), epoch)]).await?;
        let floor = floors.first().copied().unwrap_or(0);
        if floor >= after {
            return Ok(after);
        }
        // Never below what is for this user at all.
        let uid = self.state.borrow().routes.get(to).map(|entry| entry.owner.uid.clone());
        let own = match uid {
            Some(uid) => self.floor(conv, &uid).await.unwrap_or(after),
            None => after,
        };
        Ok(floor.max(own.min(after)))
    }
}

/// The new messages of a batch, by epoch: a batch numbered while one began has two.
fn delivers(batch: &Numbers) -> Vec<Deliver> {
    let mut delivers: Vec<Deliver> = Vec::new();
    let pairs = batch.entries.iter().zip(&batch.numbers);
    for (entry, number) in pairs.filter(|(entry, number)| entry.event.msg_id == number.msg_id) {
        let item = DeliverItem { seq: number.seq, event: (*entry.event).clone() };
        match delivers.last_mut().filter(|last| last.epoch == number.epoch) {
            Some(last) => last.items.push(item),
            None => {
                delivers.push(Deliver { conv: batch.conv.as_str().to_owned(), epoch: number.epoch, items: vec![item] })
            }
        }
    }
    delivers
}
