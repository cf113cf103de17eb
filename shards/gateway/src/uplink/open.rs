//! Tokens checked, sessions opened, devices put on the map.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ringway_engine::catchup::Standing;
use ringway_engine::devices::{KickReason, LiveSession, PlatformClass, admit};
use ringway_engine::effect::Origin;
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::ConversationId;
use ringway_engine::session::Identity;
use ringway_store::ports::{DevicePoint, Route};
use ringway_store::token::{Claims, TokenError};

use super::Uplink;
use super::routes::Entry;
use crate::clock;
use crate::groups::Groups;
use crate::mail::{ConnectionRef, Open, ToShard};

/// A session of the user, as the device policy is asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    /// On this node.
    Here(ConnectionRef),
    /// On another one, by its place in the list of routes.
    Elsewhere(usize),
}

impl Uplink {
    /// Checks a `connect`: token, revocation, device policy, groups.
    pub(super) async fn open(self: Rc<Self>, open: Open) {
        let to = open.to;
        if !self.state.borrow().opening.contains(&to) {
            // It closed while it waited for its turn.
            return;
        }
        self.metrics.counters.opens.add(1);
        let answer = match self.try_open(open).await {
            Ok(answer) => answer,
            Err(code) => {
                self.metrics.counters.opens_refused.add(1);
                ToShard::Refused { connection: to.connection, code }
            }
        };
        // A connection that closed meanwhile wants no answer and leaves nothing on the map.
        if self.state.borrow_mut().opening.remove(&to) {
            self.tell(to.shard, answer);
        } else {
            self.take_off(to);
        }
    }

    /// Takes a session off the map, here and where other nodes look.
    fn take_off(self: &Rc<Self>, to: ConnectionRef) {
        let closed = self.state.borrow_mut().routes.close(to);
        if let Some(entry) = closed {
            self.left(&entry);
        }
    }

    async fn try_open(self: &Rc<Self>, open: Open) -> Result<ToShard, ErrorCode> {
        if self.live.draining.load(Ordering::Relaxed) {
            return Err(ErrorCode::Unavailable);
        }
        let Open { to, connect, device, bearer, format } = open;
        let token = if connect.token.is_empty() { bearer.unwrap_or_default() } else { connect.token };
        let claims = self.check_token(&token)?;
        let uid = claims.sub.clone();
        if claims.dev.as_ref().is_some_and(|bound| *bound != device) {
            return Err(ErrorCode::TokenRefused);
        }
        let groups = loop {
            let changes = self.state.borrow().membership_changes;
            let groups = self.ports.directory.groups_of(&uid).await.map_err(|error| {
                tracing::warn!(%error, "groups of a user could not be read");
                ErrorCode::Unavailable
            })?;
            // A signal that came while the store was asked found no session to change.
            if self.state.borrow().membership_changes == changes {
                break groups;
            }
        };
        // Revoked while the store was asked: the signal saw no session to kick.
        self.check_revoked(&claims)?;
        let number = {
            let mut state = self.state.borrow_mut();
            state.sessions += 1;
            state.sessions
        };
        let (owner, groups) = (Arc::new(Identity { uid, device }), Groups::from(groups));
        let entry = Entry {
            to,
            owner: Arc::clone(&owner),
            class: PlatformClass::of(&connect.platform),
            sid: claims.sid.clone().into(),
            format,
            number,
            opened_ms: clock::unix_ms(),
            attached: false,
            groups: groups.clone(),
        };
        let elsewhere = self.enter(&entry).await.map_err(|error| self.store_failed(&error))?;
        self.make_room(&entry, &elsewhere);
        self.state.borrow_mut().routes.open(entry);
        self.count_users();
        // Revoked while the session was entered: the signal saw none to kick.
        if let Err(code) = self.check_revoked(&claims) {
            self.take_off(to);
            return Err(code);
        }
        let expires_ms = claims.exp.saturating_mul(1_000);
        Ok(ToShard::Opened { connection: to.connection, identity: owner, expires_ms, groups })
    }

    /// Ends the sessions of the user that the device policy does not leave beside a new one, wherever they are.
    fn make_room(self: &Rc<Self>, new: &Entry, elsewhere: &[Route]) {
        let policy = self.live.config().devices.clone();
        let here = self.state.borrow().routes.live_sessions(&new.owner.uid);
        let here = here.into_iter().map(|LiveSession { key, device, class, opened }| LiveSession {
            key: Held::Here(key),
            device,
            class,
            opened,
        });
        let there = elsewhere.iter().enumerate().map(|(at, route)| LiveSession {
            key: Held::Elsewhere(at),
            device: route.device.clone(),
            class: PlatformClass::of(&route.class),
            opened: route.opened_ms,
        });
        let live: Vec<LiveSession<Held>> = here.chain(there).collect();
        for (held, reason) in admit(&live, &new.owner.device, new.class, &policy) {
            match held {
                Held::Here(to) => self.kick(to, reason),
                Held::Elsewhere(at) => {
                    if let Some(route) = elsewhere.get(at) {
                        self.kick_elsewhere(route, reason);
                    }
                }
            }
        }
    }

    /// Puts an attached device into its audiences, then reads where it stands: every message numbered
    /// before is in the answer, every later one reaches the shard.
    pub(super) async fn attach(self: Rc<Self>, to: ConnectionRef) {
        let Some(entry) = self.state.borrow_mut().routes.attach(to) else { return };
        let now_ms = clock::unix_ms();
        let seated = self.seat(&entry.groups).await;
        let read = match seated {
            Ok(()) => self.ports.state.points(&entry.owner.uid, &entry.owner.device, now_ms).await,
            Err(error) => Err(error),
        };
        let answer = match read {
            Ok(points) => {
                let standings = points.into_iter().map(standing).collect();
                let session = format!("{:x}-{:x}", self.boot, entry.number);
                ToShard::Attached { connection: to.connection, session, standings }
            }
            Err(error) => ToShard::Refused { connection: to.connection, code: self.store_failed(&error) },
        };
        self.tell(to.shard, answer);
    }

    pub(super) fn closed(self: &Rc<Self>, to: ConnectionRef) {
        let was_opening = self.state.borrow_mut().opening.remove(&to);
        if !was_opening {
            self.take_off(to);
        }
        self.count_users();
    }

    /// A newer token for a live session.
    pub(super) fn refresh(&self, origin: Origin, token: &str) {
        let to = ConnectionRef { shard: origin.shard, connection: origin.connection };
        let held = self.state.borrow().routes.get(to).map(|entry| Arc::clone(&entry.owner));
        let checked = self.check_token(token).and_then(|claims| {
            let fits = held.is_some_and(|owner| {
                owner.uid == claims.sub && claims.dev.as_ref().is_none_or(|bound| *bound == owner.device)
            });
            if fits { Ok(claims) } else { Err(ErrorCode::TokenRefused) }
        });
        match checked {
            Ok(claims) => {
                let expires_ms = claims.exp.saturating_mul(1_000);
                let (connection, id) = (origin.connection, origin.command);
                self.state.borrow_mut().routes.renew(to, claims.sid.into());
                self.tell(origin.shard, ToShard::Refreshed { connection, id, expires_ms });
            }
            Err(code) => self.answer_error(origin, code, "token refused"),
        }
    }

    pub(super) fn kick(self: &Rc<Self>, to: ConnectionRef, reason: KickReason) {
        self.metrics.counters.kicked.add(1);
        // Off the map at once, so that a third session of the device does not kick it again.
        self.take_off(to);
        self.tell(to.shard, ToShard::Kick { connection: to.connection, reason });
    }

    fn check_token(&self, token: &str) -> Result<Claims, ErrorCode> {
        let claims = self.ports.tokens.verify(token, clock::unix_ms() / 1_000).map_err(|error| match error {
            TokenError::Expired => ErrorCode::TokenExpired,
            _ => ErrorCode::TokenRefused,
        })?;
        self.check_revoked(&claims)?;
        Ok(claims)
    }

    fn check_revoked(&self, claims: &Claims) -> Result<(), ErrorCode> {
        if self.state.borrow().revoked.contains_key(&claims.sid) { Err(ErrorCode::TokenRefused) } else { Ok(()) }
    }

    fn count_users(&self) {
        let users = self.state.borrow().routes.users_online() as u64;
        let gauge = &self.metrics.counters.users;
        gauge.sub(gauge.get());
        gauge.add(users);
    }
}

pub(super) fn standing(point: DevicePoint) -> (ConversationId, Standing) {
    let DevicePoint { conv, epoch, head, floor, device_cursor, user_cursor } = point;
    (conv, Standing { epoch, head, floor, device_cursor, user_cursor })
}
