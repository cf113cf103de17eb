//! Who is on which shard: the node's map of users, sessions and groups.
//!
//! Owned by the uplink's thread. A session is on the map from `Attach` to `Closed`; what an audience
//! answers holds for every message that is numbered while it is there.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ringway_engine::conversation::Formats;
use ringway_engine::devices::{LiveSession, PlatformClass};
use ringway_engine::ids::{ConversationId, ConversationKind, Uid};
use ringway_engine::packet::Format;
use ringway_engine::session::Identity;

use crate::groups::Groups;
use crate::index::Index;
use crate::mail::{Audience, ConnectionRef};
use crate::table::Table;

/// One session of this node.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Its connection.
    pub(super) to: ConnectionRef,
    /// Shared with the shard.
    pub(super) owner: Arc<Identity>,
    pub(super) class: PlatformClass,
    /// The sign-in that its token came from.
    pub(super) sid: Box<str>,
    pub(super) format: Format,
    /// Counts the sessions of this node since its start.
    pub(super) number: u64,
    /// Unix milliseconds.
    pub(super) opened_ms: u64,
    /// On the map: counted in audiences.
    pub(super) attached: bool,
    pub(super) groups: Groups,
}

/// Sessions of one audience on one shard, by format.
#[derive(Debug, Clone, Copy, Default)]
struct Seats {
    shard: u16,
    json: u32,
    protobuf: u32,
}

/// The map.
#[derive(Debug, Default)]
pub(super) struct Routes {
    sessions: Table<Entry>,
    /// Sessions by their connections.
    connections: Index,
    /// And by their users.
    users: Index,
    users_online: usize,
    groups: HashMap<ConversationId, Vec<Seats>, RandomState>,
}

impl Routes {
    /// Enters a session whose token was accepted; it is in no audience yet.
    pub(super) fn open(&mut self, entry: Entry) {
        let (to, owner) = (entry.to, Arc::clone(&entry.owner));
        self.users_online += usize::from(!self.is_online(&owner.uid));
        let slot = self.sessions.insert(entry);
        let sessions = &self.sessions;
        self.connections.insert(slot, &to, |slot| Some(&sessions.get(slot)?.to));
        self.users.insert(slot, &owner.uid, |slot| Some(&sessions.get(slot)?.owner.uid));
    }

    pub(super) fn get(&self, to: ConnectionRef) -> Option<&Entry> {
        self.sessions.get(self.slot(to)?)
    }

    fn slot(&self, to: ConnectionRef) -> Option<u32> {
        self.connections.candidates(&to).find(|slot| self.sessions.get(*slot).is_some_and(|entry| entry.to == to))
    }

    fn get_mut(&mut self, to: ConnectionRef) -> Option<&mut Entry> {
        self.sessions.get_mut(self.slot(to)?)
    }

    /// The sessions of one user.
    fn of_user(&self, uid: &str) -> impl Iterator<Item = &Entry> {
        let found = self.users.candidates(uid).filter_map(|slot| self.sessions.get(slot));
        found.filter(move |entry| entry.owner.uid.as_str() == uid)
    }

    /// The session's token was replaced by one of this sign-in.
    pub(super) fn renew(&mut self, to: ConnectionRef, sid: Box<str>) {
        if let Some(entry) = self.get_mut(to) {
            entry.sid = sid;
        }
    }

    /// Puts a session into the audiences of its user and groups.
    pub(super) fn attach(&mut self, to: ConnectionRef) -> Option<Entry> {
        let entry = self.get_mut(to)?;
        entry.attached = true;
        let entry = entry.clone();
        for group in &*entry.groups {
            self.seat(group, to.shard, entry.format, true);
        }
        Some(entry)
    }

    /// Takes a session off the map.
    pub(super) fn close(&mut self, to: ConnectionRef) -> Option<Entry> {
        let slot = self.slot(to)?;
        let entry = self.sessions.remove(slot)?;
        self.connections.remove(slot, &to);
        self.users.remove(slot, &entry.owner.uid);
        self.users_online -= usize::from(!self.is_online(&entry.owner.uid));
        if entry.attached {
            for group in &*entry.groups {
                self.seat(group, to.shard, entry.format, false);
            }
        }
        Some(entry)
    }

    /// The session of this number.
    pub(super) fn of_number(&self, number: u64) -> Option<ConnectionRef> {
        self.entries().find(|entry| entry.number == number).map(|entry| entry.to)
    }

    /// All sessions that were opened.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sessions.iter().map(|(_, entry)| entry)
    }

    /// How many they are.
    pub(super) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// All sessions that are in audiences.
    pub(super) fn attached(&self) -> Vec<Entry> {
        self.entries().filter(|entry| entry.attached).cloned().collect()
    }

    /// The same of one user.
    pub(super) fn attached_of(&self, uid: &Uid) -> Vec<Entry> {
        self.of_user(uid.as_str()).filter(|entry| entry.attached).cloned().collect()
    }

    /// All users with a session.
    pub(super) fn users(&self) -> Vec<Uid> {
        let mut users: Vec<Uid> = self.entries().map(|entry| entry.owner.uid.clone()).collect();
        users.sort_unstable();
        users.dedup();
        users
    }

    /// Groups that somebody here is in.
    pub(super) fn groups(&self) -> impl Iterator<Item = &ConversationId> {
        self.groups.keys()
    }

    /// Groups of a user as its sessions here know them.
    pub(super) fn groups_of(&self, uid: &Uid) -> Vec<ConversationId> {
        let of_user = self.of_user(uid.as_str());
        let mut groups: Vec<ConversationId> = of_user.flat_map(|entry| entry.groups.iter().cloned()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The user is in the group from now on; answers whether any session is here to be told.
    pub(super) fn join(&mut self, uid: &Uid, group: &ConversationId) -> bool {
        self.change_group(uid, group, true)
    }

    /// And no more.
    pub(super) fn leave(&mut self, uid: &Uid, group: &ConversationId) -> bool {
        self.change_group(uid, group, false)
    }

    fn change_group(&mut self, uid: &Uid, group: &ConversationId, into: bool) -> bool {
        let held: Vec<ConnectionRef> = self.of_user(uid.as_str()).map(|entry| entry.to).collect();
        for to in &held {
            let Some(entry) = self.get_mut(*to) else { continue };
            let changed = if !into {
                entry.groups.remove(group)
            } else if entry.groups.contains(group) {
                false
            } else {
                entry.groups.push(group.clone());
                true
            };
            if changed && entry.attached {
                let format = entry.format;
                self.seat(group, to.shard, format, into);
            }
        }
        !held.is_empty()
    }

    fn seat(&mut self, group: &ConversationId, shard: u16, format: Format, take: bool) {
        let seats = self.groups.entry_ref(group).or_default();
        let at = seats.iter().position(|seats| seats.shard == shard).unwrap_or_else(|| {
            seats.push(Seats { shard, ..Seats::default() });
            seats.len() - 1
        });
        let Some(own) = seats.get_mut(at) else { return };
        let count = match format {
            Format::Json => &mut own.json,
            Format::Protobuf => &mut own.protobuf,
        };
        *count = if take { *count + 1 } else { count.saturating_sub(1) };
        if own.json + own.protobuf == 0 {
            seats.swap_remove(at);
        }
        if seats.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Shards and formats of everybody here who is to see a conversation.
    pub(super) fn audience(&self, conv: &ConversationId) -> Audience {
        match conv.kind() {
            ConversationKind::Group(_) => {
                let mut audience = Audience::default();
                for seats in self.groups.get(conv).into_iter().flatten() {
                    audience.shards |= 1 << (seats.shard % 64);
                    audience.formats.json |= seats.json > 0;
                    audience.formats.protobuf |= seats.protobuf > 0;
                }
                audience
            }
            ConversationKind::P2p(low, high) => self.of_users([low, high]),
            ConversationKind::System(uid) => self.of_users([uid, uid]),
        }
    }

    fn of_users(&self, uids: [&str; 2]) -> Audience {
        let mut audience = Audience { shards: 0, formats: Formats::default() };
        for entry in uids.into_iter().flat_map(|uid| self.of_user(uid)).filter(|entry| entry.attached) {
            audience.shards |= 1 << (entry.to.shard % 64);
            match entry.format {
                Format::Json => audience.formats.json = true,
                Format::Protobuf => audience.formats.protobuf = true,
            }
        }
        audience
    }

    /// A user's sessions, as the device policy sees them.
    pub(super) fn live_sessions(&self, uid: &Uid) -> Vec<LiveSession<ConnectionRef>> {
        let live = |entry: &Entry| {
            let (device, class) = (entry.owner.device.clone(), entry.class);
            LiveSession { key: entry.to, device, class, opened: entry.opened_ms }
        };
        self.of_user(uid.as_str()).map(live).collect()
    }

    /// Sessions whose token came from this sign-in.
    pub(super) fn of_sign_in(&self, sid: &str) -> Vec<ConnectionRef> {
        self.entries().filter(|entry| *entry.sid == *sid).map(|entry| entry.to).collect()
    }

    pub(super) fn is_online(&self, uid: &Uid) -> bool {
        self.of_user(uid.as_str()).next().is_some()
    }

    pub(super) fn users_online(&self) -> usize {
        self.users_online
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
