//! Who is on which shard: the node's map of users, sessions and groups.
//!
//! Owned by the uplink's thread. A session is on the map from `Attach` to `Closed`; what an audience
//! answers holds for every message that is numbered while it is there.

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use ringway_engine::conversation::Formats;
use ringway_engine::devices::{LiveSession, PlatformClass};
use ringway_engine::ids::{ConversationId, ConversationKind, DeviceId, Uid};
use ringway_engine::packet::Format;
use smallvec::SmallVec;

use crate::mail::{Audience, ConnectionRef};

/// One session of this node.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) uid: Uid,
    pub(super) device: DeviceId,
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
    pub(super) groups: Vec<ConversationId>,
}

/// Sessions of one audience on one shard, by format.
#[derive(Debug, Clone, Copy, Default)]
struct Seats {
    shard: u16,
    json: u32,
    protobuf: u32,
}

/// The sessions of one user; most have one.
type Sessions = SmallVec<[ConnectionRef; 1]>;

/// The map.
#[derive(Debug, Default)]
pub(super) struct Routes {
    // Boxed: up to half of the table is empty.
    sessions: HashMap<ConnectionRef, Box<Entry>, RandomState>,
    users: HashMap<Uid, Sessions, RandomState>,
    groups: HashMap<ConversationId, Vec<Seats>, RandomState>,
}

impl Routes {
    /// Enters a session whose token was accepted; it is in no audience yet.
    pub(super) fn open(&mut self, to: ConnectionRef, entry: Entry) {
        self.users.entry_ref(&entry.uid).or_default().push(to);
        self.sessions.insert(to, Box::new(entry));
    }

    pub(super) fn get(&self, to: ConnectionRef) -> Option<&Entry> {
        self.sessions.get(&to).map(|entry| &**entry)
    }

    /// The session's token was replaced by one of this sign-in.
    pub(super) fn renew(&mut self, to: ConnectionRef, sid: Box<str>) {
        if let Some(entry) = self.sessions.get_mut(&to) {
            entry.sid = sid;
        }
    }

    /// Puts a session into the audiences of its user and groups.
    pub(super) fn attach(&mut self, to: ConnectionRef) -> Option<Box<Entry>> {
        let entry = self.sessions.get_mut(&to)?;
        entry.attached = true;
        let entry = entry.clone();
        for group in &entry.groups {
            self.seat(group, to.shard, entry.format, true);
        }
        Some(entry)
    }

    /// Takes a session off the map.
    pub(super) fn close(&mut self, to: ConnectionRef) -> Option<Box<Entry>> {
        let entry = self.sessions.remove(&to)?;
        if let Some(sessions) = self.users.get_mut(&entry.uid) {
            sessions.retain(|held| *held != to);
            if sessions.is_empty() {
                self.users.remove(&entry.uid);
            }
        }
        if entry.attached {
            for group in &entry.groups {
                self.seat(group, to.shard, entry.format, false);
            }
        }
        Some(entry)
    }

    /// The session of this number.
    pub(super) fn of_number(&self, number: u64) -> Option<ConnectionRef> {
        self.sessions.iter().find(|(_, entry)| entry.number == number).map(|(to, _)| *to)
    }

    /// All sessions that were opened.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sessions.values().map(|entry| &**entry)
    }

    /// All sessions that are in audiences.
    pub(super) fn attached(&self) -> Vec<(ConnectionRef, Entry)> {
        let attached = self.sessions.iter().filter(|(_, entry)| entry.attached);
        attached.map(|(to, entry)| (*to, Entry::clone(entry))).collect()
    }

    /// The same of one user.
    pub(super) fn attached_of(&self, uid: &Uid) -> Vec<(ConnectionRef, Entry)> {
        let held = self.users.get(uid).into_iter().flatten();
        held.filter_map(|to| Some((*to, Entry::clone(self.sessions.get(to)?))))
            .filter(|(_, entry)| entry.attached)
            .collect()
    }

    /// All users with a session.
    pub(super) fn users(&self) -> Vec<Uid> {
        self.users.keys().cloned().collect()
    }

    /// Groups that somebody here is in.
    pub(super) fn groups(&self) -> impl Iterator<Item = &ConversationId> {
        self.groups.keys()
    }

    /// Groups of a user as its sessions here know them.
    pub(super) fn groups_of(&self, uid: &Uid) -> Vec<ConversationId> {
        let held = self.users.get(uid).into_iter().flatten();
        let mut groups: Vec<ConversationId> =
            held.filter_map(|to| self.sessions.get(to)).flat_map(|entry| entry.groups.iter().cloned()).collect();
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
        let held = self.users.get(uid).cloned().unwrap_or_default();
        for to in &held {
            let Some(entry) = self.sessions.get_mut(to) else { continue };
            let at = entry.groups.iter().position(|found| found == group);
            match at {
                None if into => entry.groups.push(group.clone()),
                Some(at) if !into => {
                    entry.groups.swap_remove(at);
                }
                _ => continue,
            }
            if entry.attached {
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
        for to in uids.iter().flat_map(|uid| self.users.get(*uid).into_iter().flatten()) {
            let Some(entry) = self.sessions.get(to).filter(|entry| entry.attached) else { continue };
            audience.shards |= 1 << (to.shard % 64);
            match entry.format {
                Format::Json => audience.formats.json = true,
                Format::Protobuf => audience.formats.protobuf = true,
            }
        }
        audience
    }

    /// A user's sessions, as the device policy sees them.
    pub(super) fn live_sessions(&self, uid: &Uid) -> Vec<LiveSession<ConnectionRef>> {
        let held = self.users.get(uid).into_iter().flatten();
        held.filter_map(|to| {
            let entry = self.sessions.get(to)?;
            let (device, class) = (entry.device.clone(), entry.class);
            Some(LiveSession { key: *to, device, class, opened: entry.opened_ms })
        })
        .collect()
    }

    /// Sessions whose token came from this sign-in.
    pub(super) fn of_sign_in(&self, sid: &str) -> Vec<ConnectionRef> {
        self.sessions.iter().filter(|(_, entry)| *entry.sid == *sid).map(|(to, _)| *to).collect()
    }

    pub(super) fn is_online(&self, uid: &Uid) -> bool {
        self.users.contains_key(uid)
    }

    pub(super) fn users_online(&self) -> usize {
        self.users.len()
    }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
