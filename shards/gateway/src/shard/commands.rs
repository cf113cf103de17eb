//! What sessions ask for, carried out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ringway_engine::conversation::Formats;
use ringway_engine::effect::{Origin, SessionEffect};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{ConversationId, ConversationKind, Uid};
use ringway_engine::limits::ACK_FLUSH_MS;
use ringway_engine::packet::schema::{ServerPacket, Typing};
use ringway_engine::packet::{Format, Frames};
use ringway_engine::websocket::{Opcode, frame};
use smallvec::smallvec;

use super::{Shard, find};
use crate::clock;
use crate::mail::{Open, ToShard, ToUplink, Transient, TransientTo};
use crate::trace::Station;

impl Shard {
    /// Carries out what a session asked for, in order.
    pub(super) fn carry_out(&mut self, key: u64, effects: &mut Vec<SessionEffect<'_>>) {
        for effect in effects.drain(..) {
            self.carry_out_one(key, effect);
        }
    }

    fn carry_out_one(&mut self, key: u64, effect: SessionEffect<'_>) {
        let origin = |id| Origin { shard: self.index, connection: key, command: id, taken_us: 0 };
        match effect {
            SessionEffect::Reply(packet) => self.reply(key, &packet),
            SessionEffect::Open { mut connect, device } => {
                let to = self.reference(key);
                let Some(connection) = self.connection(key) else { return };
                let format = connection.format;
                let opening = connection.opening.get_or_insert_default();
                opening.resume = std::mem::take(&mut connect.resume);
                let bearer = opening.bearer.take();
                self.uplink.push(ToUplink::Open(Box::new(Open { to, connect, device, bearer, format })));
            }
            SessionEffect::Submit(mut message) => {
                self.metrics.counters.submitted.add(1);
                let home = message.conv.home_shard(self.shards) as u16;
                if home == self.index {
                    self.submit(message);
                } else {
                    message.origin.taken_us = clock::unix_us();
                    self.tell(home, ToShard::Submit(Box::new(message)));
                }
            }
            SessionEffect::Acknowledge { conv, epoch, seq } => self.acknowledge(key, conv, epoch, seq),
            SessionEffect::MarkRead { id, conv, seq } => {
                let origin = origin(id);
                self.ask_for(key, |uid| ToUplink::MarkRead { origin, conv, uid, seq });
            }
            SessionEffect::Sync { id, conv, from, limit } => {
                let origin = origin(id);
                self.ask_for(key, |uid| ToUplink::Sync { origin, conv, uid, from, limit });
            }
            SessionEffect::Conversations { id, after, limit } => {
                let origin = origin(id);
                self.ask_for(key, |uid| ToUplink::Conversations { origin, uid, after, limit });
            }
            SessionEffect::Refresh { id, token } => {
                let origin = origin(id);
                self.uplink.push(ToUplink::Refresh { origin, token });
            }
            SessionEffect::Typing { id, conv } => self.typing(key, id, conv),
            SessionEffect::Signal { to, call, body } => self.signal(key, to, &call, &body),
            SessionEffect::Ping => self.queue(key, frame(Opcode::Ping, b"")),
            SessionEffect::Close(code) => self.finish_session(key, code),
        }
    }

    pub(super) fn uid_of(&mut self, key: u64) -> Option<Uid> {
        Some(self.connection(key)?.session.identity()?.uid.clone())
    }

    fn ask_for(&mut self, key: u64, message: impl FnOnce(Uid) -> ToUplink) {
        if let Some(uid) = self.uid_of(key) {
            self.uplink.push(message(uid));
        }
    }

    fn acknowledge(&mut self, key: u64, conv: ConversationId, epoch: u64, seq: u64) {
        let hash = conv.stable_hash();
        let at_us = self.note(Station::Acknowledged, 0, hash, seq, key);
        if let Some(from_us) = self.watch.handle_ack(key, hash, seq) {
            self.metrics.stages.ack.record_since(from_us, at_us);
        }
        let Some(connection) = self.connection(key) else { return };
        // Cursors are kept for conversations of the user only.
        if conv.is_group() && !connection.groups.contains(&conv) {
            return;
        }
        if connection.device.is_full_of_acks() {
            self.flush_acks_of(key);
        }
        let Some(connection) = self.connection(key) else { return };
        if connection.device.handle_ack(conv, epoch, seq) {
            self.acked.push_back((clock::steady_ms() + ACK_FLUSH_MS, key));
        }
    }

    fn typing(&mut self, key: u64, id: u64, conv: ConversationId) {
        let Some(uid) = self.uid_of(key) else { return };
        let to = match conv.kind() {
            ConversationKind::P2p(low, high) => {
                TransientTo::Users([low, high].iter().filter_map(|party| self.names.user(party).ok()).collect())
            }
            ConversationKind::Group(_) => {
                if !self.connection(key).is_some_and(|connection| connection.groups.contains(&conv)) {
                    return self.reply(key, &ServerPacket::error(id, ErrorCode::NotAMember, "not your conversation"));
                }
                TransientTo::Group(conv.clone())
            }
            ConversationKind::System(_) => return,
        };
        let typing = Typing { conv: conv.as_str().to_owned(), uid: uid.as_str().to_owned() };
        let packet = ServerPacket { typing: Some(typing), ..ServerPacket::default() };
        self.broadcast(Some(key), to, |frames, format| frames.encode(format, &packet));
    }

    fn signal(&mut self, key: u64, to: Uid, call: &str, body: &str) {
        let formats = self.formats_read();
        let Some(connection) = find(&mut self.connections, key) else { return };
        let Some(from) = connection.session.identity() else { return };
        let encode = |frames: &mut Frames, format| frames.signal(format, from.uid.as_str(), call, body);
        let [json, protobuf] = written(&mut self.frames, formats, encode);
        let (to, except) = (TransientTo::Users(smallvec![to]), Some(self.reference(key)));
        self.give(Transient { to, except, json, protobuf });
    }

    /// What devices read, as far as is known here: one that attaches this moment may miss a push, as any may.
    fn formats_read(&self) -> Formats {
        // What devices of other nodes read is not known.
        let is_read = |format| self.has_nodes() || self.live.readers_of(format).load(Ordering::Relaxed) > 0;
        Formats { json: is_read(Format::Json), protobuf: is_read(Format::Protobuf) }
    }

    /// Whether there may be other nodes.
    fn has_nodes(&self) -> bool {
        self.reorder_wait_ms > 0
    }

    /// Writes a push that is never stored, and gives it to every shard.
    pub(super) fn broadcast(
        &mut self,
        except: Option<u64>,
        to: TransientTo,
        encode: impl Fn(&mut Frames, Format) -> Bytes,
    ) {
        let formats = self.formats_read();
        let [json, protobuf] = written(&mut self.frames, formats, encode);
        self.give(Transient { to, except: except.map(|key| self.reference(key)), json, protobuf });
    }

    /// Each shard knows its own devices.
    fn give(&mut self, push: Transient) {
        self.show_transient(&push);
        let has_nodes = self.has_nodes();
        if has_nodes || self.peers.iter().flatten().next().is_some() {
            let push = Arc::new(push);
            if has_nodes {
                self.uplink.push(ToUplink::Transient(Arc::clone(&push)));
            }
            for peer in self.peers.iter_mut().flatten().filter(|peer| !peer.is_congested()) {
                peer.push(ToShard::Transient(Arc::clone(&push)));
            }
        }
    }
}

/// A frame in each format that is read, JSON first.
fn written(frames: &mut Frames, formats: Formats, encode: impl Fn(&mut Frames, Format) -> Bytes) -> [Bytes; 2] {
    [(formats.json, Format::Json), (formats.protobuf, Format::Protobuf)]
        .map(|(is_read, format)| if is_read { encode(frames, format) } else { Bytes::new() })
}
