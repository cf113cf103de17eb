//! What the API and the daemon ask of the node: changes, server messages, traces.

use std::rc::Rc;
use std::time::Duration;

use ringway_engine::devices::KickReason;
use ringway_engine::effect::{Origin, Submission};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{ConversationId, ConversationKind, Uid};
use ringway_engine::packet::schema::Sent;
use ringway_store::ports::{ServerMessage, Signal, StoreError, SubmitError};
use tokio::sync::oneshot;

use super::Uplink;
use crate::clock;
use crate::mail::ToShard;
use crate::trace::Hop;

/// How long the revoked sign-ins are asked for at start before the node gives up starting with them.
const REVOKED_TRIES: u32 = 20;

/// A request from another thread of the process.
#[derive(Debug)]
pub(crate) enum Request {
    /// Apply a change on every shard.
    Signal(Signal, oneshot::Sender<Result<(), StoreError>>),
    /// Send a message in the server's name.
    Submit(ServerMessage, oneshot::Sender<Result<Sent, SubmitError>>),
    /// Read anew what signals that did not come may have changed.
    Resync(oneshot::Sender<Result<(), StoreError>>),
    /// Gather a message's hops.
    Trace(u64, oneshot::Sender<Vec<Hop>>),
    /// Who of these users is here.
    Online(Vec<Uid>, oneshot::Sender<Vec<Uid>>),
    /// Drain every shard.
    Drain,
}

impl Uplink {
    pub(super) fn handle_request(self: Rc<Self>, request: Request) {
        match request {
            Request::Signal(signal, done) => {
                tokio::task::spawn_local(async move {
                    let applied = self.apply(signal).await;
                    // Who asked may have given up.
                    let _ = done.send(applied);
                });
            }
            Request::Submit(message, reply) => {
                tokio::task::spawn_local(async move {
                    // Whoever asked may ask again when no answer comes.
                    let _ = reply.send(self.submit(message, true).await);
                });
            }
            Request::Resync(done) => {
                tokio::task::spawn_local(async move {
                    let _ = done.send(self.resync().await);
                });
            }
            Request::Trace(msg_id, reply) => {
                tokio::task::spawn_local(async move {
                    let _ = reply.send(self.trace(msg_id).await);
                });
            }
            Request::Online(uids, reply) => {
                let state = self.state.borrow();
                let _ = reply.send(uids.into_iter().filter(|uid| state.routes.is_online(uid)).collect());
            }
            Request::Drain => self.tell_all(|| ToShard::Drain),
        }
    }

    async fn apply(self: &Rc<Self>, signal: Signal) -> Result<(), StoreError> {
        match signal {
            Signal::MembersAdded { conv, uids } => {
                let Ok(conv) = ConversationId::parse(&conv) else { return Ok(()) };
                let uids = parse_uids(&uids);
                self.forget_permissions(&conv, &uids);
                for uid in &uids {
                    self.add_member(uid, &conv).await?;
                }
            }
            Signal::MembersRemoved { conv, uids } => {
                let Ok(conv) = ConversationId::parse(&conv) else { return Ok(()) };
                let uids = parse_uids(&uids);
                self.forget_permissions(&conv, &uids);
                for uid in &uids {
                    self.take_out(uid, &conv);
                }
            }
            Signal::SessionRevoked { sid, until_ms } => self.revoke(sid, until_ms),
        }
        self.barrier().await;
        Ok(())
    }

    /// Forgets what is cached of memberships, and reads for every user here which groups it is in.
    async fn resync(self: &Rc<Self>) -> Result<(), StoreError> {
        self.state.borrow_mut().membership_changes += 1;
        self.tell_all(|| ToShard::ForgetPermissions);
        let now_ms = clock::unix_ms();
        let revoked = self.ports.directory.revoked_sessions(now_ms).await;
        for (sid, until_ms) in revoked.map_err(|error| StoreError::new("directory", error))? {
            self.revoke(sid, until_ms);
        }
        let users = self.state.borrow().routes.users();
        for uid in users {
            let groups = self.ports.directory.groups_of(&uid).await;
            let groups = groups.map_err(|error| StoreError::new("directory", error))?;
            let known = self.state.borrow().routes.groups_of(&uid);
            for left in known.iter().filter(|group| !groups.contains(group)) {
                self.take_out(&uid, left);
            }
            for joined in groups.iter().filter(|group| !known.contains(group)) {
                self.add_member(&uid, joined).await?;
            }
        }
        self.barrier().await;
        Ok(())
    }

    fn take_out(&self, uid: &Uid, conv: &ConversationId) {
        if self.state.borrow_mut().routes.leave(uid, conv) {
            self.tell_all(|| ToShard::Left { uid: uid.clone(), conv: conv.clone() });
        }
    }

    fn revoke(self: &Rc<Self>, sid: String, until_ms: u64) {
        let mut state = self.state.borrow_mut();
        let now_ms = clock::unix_ms();
        state.revoked.retain(|_, until| *until > now_ms);
        let sessions = state.routes.of_sign_in(&sid);
        state.revoked.insert(sid, until_ms);
        drop(state);
        for to in sessions {
            self.kick(to, KickReason::Revoked);
        }
    }

    /// On the map first, then the place to read from: what is numbered in between shows as a gap to the device,
    /// which reads it.
    async fn add_member(&self, uid: &Uid, conv: &ConversationId) -> Result<(), StoreError> {
        if !self.state.borrow_mut().routes.join(uid, conv) {
            return Ok(());
        }
        self.seat(std::slice::from_ref(conv)).await?;
        let ConversationKind::Group(id) = conv.kind() else { return Ok(()) };
        let membership = self.ports.directory.membership(id, uid).await;
        let membership = membership.map_err(|error| StoreError::new("directory", error))?;
        let (epoch, head) = self.ports.state.head(conv).await?;
        // Removed again meanwhile: the signal that says so follows.
        if let Some(membership) = membership {
            let (from, head) = ((epoch, membership.joined_seq), (epoch, head));
            self.tell_all(|| ToShard::Joined { uid: uid.clone(), conv: conv.clone(), from, head });
        }
        Ok(())
    }

    fn forget_permissions(&self, conv: &ConversationId, uids: &[Uid]) {
        self.state.borrow_mut().membership_changes += 1;
        let home = conv.home_shard(self.state.borrow().shards.len()) as u16;
        self.tell(home, ToShard::PermissionsChanged { conv: conv.clone(), uids: uids.to_vec() });
    }

    /// Returns when every shard has handled what was said before.
    async fn barrier(&self) {
        let mut waits = Vec::new();
        let shards = self.state.borrow().shards.len() as u16;
        for shard in 0..shards {
            let (done, wait) = oneshot::channel();
            self.tell(shard, ToShard::Barrier(done));
            waits.push(wait);
        }
        for wait in waits {
            // A shard that is gone has nothing left to apply.
            let _ = wait.await;
        }
    }

    /// Sends a message in the server's name. `retry`: it may have been sent before, which the archive is asked.
    pub(super) async fn submit(&self, message: ServerMessage, retry: bool) -> Result<Sent, SubmitError> {
        let conv = ConversationId::parse(&message.conv).map_err(|error| SubmitError::Refused(error.to_string()))?;
        let (done, wait) = oneshot::channel();
        let (token, home) = {
            let mut state = self.state.borrow_mut();
            state.next_token += 1;
            let token = state.next_token;
            state.server_messages.insert(token, done);
            (token, conv.home_shard(state.shards.len()) as u16)
        };
        let submission = Submission {
            origin: Origin { shard: Origin::SERVER, connection: 0, command: token, taken_us: 0 },
            conv,
            from: None,
            client_msg_id: message.client_msg_id.into(),
            kind: message.kind.into(),
            body: message.body,
            enc: "".into(),
            retry,
        };
        self.tell(home, ToShard::Submit(Box::new(submission)));
        match wait.await {
            Ok(Ok(sent)) => Ok(sent),
            Ok(Err(code)) if code.temporary() => Err(SubmitError::Temporary(code.name().to_owned())),
            Ok(Err(code)) => Err(SubmitError::Refused(code.name().to_owned())),
            Err(_) => Err(SubmitError::Temporary(ErrorCode::Unavailable.name().to_owned())),
        }
    }

    /// Hops from every thread, in order of time.
    async fn trace(&self, msg_id: u64) -> Vec<Hop> {
        let mut hops = self.state.borrow().trace.find(msg_id, 0, 0);
        let shards = self.state.borrow().shards.len() as u16;
        // The hub's hops tell conversation and number; acknowledgements are looked for by them.
        for conv in [None, Some(())] {
            let hash = hops.iter().map(|hop| hop.conv).find(|hash| *hash != 0).unwrap_or(0);
            let seq = hops.iter().map(|hop| hop.seq).max().unwrap_or(0);
            if conv.is_some() {
                hops.retain(|hop| hop.shard == u16::MAX);
            }
            for shard in 0..shards {
                let (reply, wait) = oneshot::channel();
                self.tell(shard, ToShard::Trace { msg_id, conv: hash, seq, reply });
                hops.extend(wait.await.unwrap_or_default());
            }
        }
        hops.sort_by_key(|hop| hop.at_us);
        hops
    }

    /// Sign-ins revoked before this start, whose access tokens may still be unexpired.
    pub(super) async fn load_revoked(&self) {
        for _ in 0..REVOKED_TRIES {
            match self.ports.directory.revoked_sessions(clock::unix_ms()).await {
                Ok(revoked) => return self.state.borrow_mut().revoked.extend(revoked),
                Err(error) => tracing::warn!(%error, "revoked sign-ins could not be read, trying again"),
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        tracing::error!("revoked sign-ins could not be read: the node does not serve");
        self.live.draining.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

fn parse_uids(uids: &[String]) -> Vec<Uid> {
    uids.iter().filter_map(|uid| Uid::parse(uid).ok()).collect()
}
