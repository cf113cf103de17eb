//! Catch-up: from `connected` to live, one page at a time, never live before backlog.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ringway_engine::catchup::{Standing, Start, start};
use ringway_engine::delivery::{PageEnd, PageOutcome, Place};
use ringway_engine::ids::{ConversationId, Uid};
use ringway_engine::limits::HEARTBEAT_MS;
use ringway_engine::packet::schema::{Connected, Message, Messages, ServerPacket};
use ringway_engine::session::Identity;
use ringway_store::ports::Page;

use super::{Keys, Shard, find};
use crate::clock;
use crate::groups::Groups;
use crate::mail::{ToShard, ToUplink};

impl Shard {
    /// The token is good: the device goes on the map first, then the uplink is asked where it stands, so
    /// that no message can fall between the answer and the first live one.
    pub(super) fn handle_opened(&mut self, key: u64, identity: Arc<Identity>, expires_ms: u64, groups: Groups) {
        let Some(connection) = self.connection(key) else { return };
        connection.session.handle_opened(identity, expires_ms);
        self.attach(key, groups);
        self.uplink.push(ToUplink::Attach(self.reference(key)));
    }

    pub(super) fn handle_attached(&mut self, key: u64, session: String, standings: &[(ConversationId, Standing)]) {
        let now_ms = clock::unix_ms();
        let Some(connection) = find(&mut self.connections, key) else { return };
        let Some(identity) = connection.session.identity().cloned() else { return };
        let mut recovered = BTreeMap::new();
        let resume = connection.opening.take().unwrap_or_default().resume;
        for (conv, standing) in standings {
            // Left since the standing was read.
            if conv.is_group() && !connection.groups.contains(conv) {
                continue;
            }
            let point = resume.get(conv.as_str()).copied();
            let head = (standing.epoch, standing.head);
            match start(standing, point) {
                Start::From(from) => {
                    connection.device.handle_backlog(conv.clone(), (standing.epoch, from), head);
                    if point.is_some() {
                        recovered.insert(conv.as_str().to_owned(), true);
                    }
                }
                Start::FromEarlier { epoch, seq } => {
                    connection.device.handle_backlog(conv.clone(), (epoch, seq), head);
                    recovered.insert(conv.as_str().to_owned(), true);
                }
                Start::Unrecovered => {
                    connection.device.handle_unrecovered(conv.clone(), head);
                    recovered.insert(conv.as_str().to_owned(), false);
                }
            }
        }
        let heads: HashMap<&ConversationId, Place> =
            standings.iter().map(|(conv, at)| (conv, (at.epoch, at.head))).collect();
        connection.device.begin(|conv| heads.get(conv).copied().unwrap_or_default());
        // Of the rest nothing is missing where the user is in a conversation without a message and the device
        // says that it has none. Points of others' conversations, or above an empty one, lead nowhere.
        for (conv, point) in resume {
            let is_own = ConversationId::parse(&conv).is_ok_and(|conv| {
                if conv.is_group() { connection.groups.contains(&conv) } else { conv.names(identity.uid.as_str()) }
            });
            recovered.entry(conv).or_insert(is_own && point.seq == 0);
        }
        let connected = Connected {
            session,
            uid: identity.uid.as_str().to_owned(),
            heartbeat_s: (HEARTBEAT_MS / 1_000) as u32,
            server_time_ms: now_ms,
            recovered,
            expires_in_s: u32::try_from(connection.session.expires_ms().saturating_sub(now_ms) / 1_000)
                .unwrap_or(u32::MAX),
        };
        let mut effects = Vec::new();
        let packet = ServerPacket { connected: Some(connected), ..ServerPacket::default() };
        connection.session.handle_attached(packet, &mut self.names, &mut effects);
        self.carry_out(key, &mut effects);
        self.schedule(key);
        self.pump_backlog(key);
    }

    /// Asks for a device's next page when one is due and its queue has room.
    pub(super) fn pump_backlog(&mut self, key: u64) {
        let to = self.reference(key);
        let Some(connection) = self.connection(key) else { return };
        if !connection.device.is_behind() || !connection.session.is_active() {
            return;
        }
        let queued = connection.queued();
        if let Some(page) = connection.device.next_page(queued) {
            let home = page.conv.home_shard(self.shards) as u16;
            self.tell(home, ToShard::Recent { to, conv: page.conv, after: page.after });
        }
    }

    pub(super) fn handle_catch_up_page(&mut self, key: u64, conv: &ConversationId, page: Option<Page>) {
        let Some(connection) = self.connection(key) else { return };
        let read = page.unwrap_or_default();
        let last = read.items.last().map(|message| message.seq);
        let end = PageEnd { epoch: read.epoch, last, head: read.head, more: read.more };
        match connection.device.handle_page(conv, end) {
            PageOutcome::Ignore => {}
            PageOutcome::Stalled => self.stalled.push(key),
            PageOutcome::Push => {
                if last.is_some() {
                    self.metrics.counters.pages.add(1);
                    self.metrics.counters.delivered.add(read.items.len() as u64);
                    self.reply(key, &messages(0, conv, &read));
                }
                self.pump_backlog(key);
            }
        }
    }

    pub(super) fn handle_sync_page(&mut self, key: u64, id: u64, conv: &ConversationId, page: Page, complete: bool) {
        let last = page.items.last().map_or(page.head, |message| message.seq);
        self.answer(key, &messages(id, conv, &page));
        self.read_done(key);
        if let Some(connection) = self.connection(key) {
            connection.device.handle_synced(conv, page.epoch, last, complete);
            self.pump_backlog(key);
        }
    }

    /// The user's devices here are in a conversation from now on.
    pub(super) fn handle_joined(&mut self, uid: &Uid, conv: &ConversationId, from: Place, head: Place) {
        for key in self.keys_of(uid.as_str()).collect::<Keys>() {
            let Some(connection) = self.connection(key) else { continue };
            if connection.groups.contains(conv) {
                continue;
            }
            connection.groups.push(conv.clone());
            // A device that is still being attached learns of it by its standing.
            let active = connection.session.is_active();
            if active {
                connection.device.handle_joined(conv.clone(), from, head);
            }
            self.groups.entry_ref(conv).or_default().push(key);
            if active {
                self.tell_changed(key, conv.as_str(), "joined");
                self.pump_backlog(key);
            }
        }
    }

    /// Where one device stands, told without being asked: pushes to it may have been lost.
    pub(super) fn handle_standings(
        &mut self,
        key: u64,
        standings: &[(ConversationId, Standing)],
        unacknowledged: Option<(ConversationId, Place)>,
    ) {
        for (conv, at) in standings {
            let known = at.device_cursor.or(at.user_cursor).unwrap_or(at.floor).max(at.floor);
            self.nudge(key, conv, known, (at.epoch, at.head));
        }
        if let Some((conv, at)) = unacknowledged
            && let Some(connection) = self.connection(key).filter(|connection| connection.session.is_active())
            && connection.device.handle_unacknowledged(&conv, at)
        {
            self.tell_resync(key, &conv);
        }
    }

    fn nudge(&mut self, key: u64, conv: &ConversationId, after: u64, head: Place) {
        let Some(connection) = self.connection(key).filter(|connection| connection.session.is_active()) else { return };
        if head.1 <= after || (conv.is_group() && !connection.groups.contains(conv)) {
            return;
        }
        if connection.device.handle_missed(conv, head.0, after + 1, head.1) {
            self.tell_resync(key, conv);
        }
        self.pump_backlog(key);
    }

    /// The user's devices here are out of it.
    pub(super) fn handle_left(&mut self, uid: &Uid, conv: &ConversationId) {
        for key in self.keys_of(uid.as_str()).collect::<Keys>() {
            let Some(connection) = self.connection(key) else { continue };
            if !connection.groups.remove(conv) {
                continue;
            }
            connection.device.handle_left(conv);
            let active = connection.session.is_active();
            self.leave_group(conv, key);
            if active {
                self.tell_changed(key, conv.as_str(), "left");
            }
        }
    }
}

fn messages(id: u64, conv: &ConversationId, page: &Page) -> ServerPacket {
    let items: Vec<Message> = page.items.iter().map(|message| Message::clone(message)).collect();
    let messages = Messages { conv: conv.as_str().to_owned(), items, head: page.head, more: page.more };
    ServerPacket { id, messages: Some(messages), ..ServerPacket::default() }
}
