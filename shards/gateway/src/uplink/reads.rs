//! Reads for clients and hubs: permissions, pages, lists; and read marks.

use std::rc::Rc;
use std::sync::Arc;

use ringway_engine::conversation::Permission;
use ringway_engine::delivery::Place;
use ringway_engine::effect::{Origin, ReadFrom};
use ringway_engine::errors::ErrorCode;
use ringway_engine::event::{Event, ReadEvent};
use ringway_engine::ids::{ConversationId, ConversationKind, Uid};
use ringway_engine::limits::{PAGE_MESSAGES_MAX, UNARCHIVED_BYTES_MAX};
use ringway_engine::packet::schema::{Receipt, ServerPacket};
use ringway_engine::packet::{self, Format};
use ringway_store::ports::{AppendError, DirectoryError, NewRecord, Page, PageFrom, StoreError};
use smallvec::smallvec;

use super::Uplink;
use crate::clock;
use crate::mail::{ConnectionRef, ToShard, Transient, TransientTo};

impl Uplink {
    /// Whether a user may send into a conversation.
    pub(super) async fn permission(self: Rc<Self>, home: u16, conv: ConversationId, uid: Uid) {
        let permission = loop {
            let changes = self.state.borrow().membership_changes;
            let permission = match self.may_send(&conv, &uid).await {
                Ok(permission) => Some(permission),
                Err(error) => {
                    tracing::warn!(%error, %conv, "permission could not be read");
                    self.may_send_as_known(&conv, &uid).await
                }
            };
            // An answer from before a change must not be cached after it.
            if self.state.borrow().membership_changes == changes {
                break permission;
            }
        };
        self.tell(home, ToShard::Permission { conv, uid, permission });
    }

    /// What can be told while the directory is away, so that people talk on meanwhile: which groups those who are signed
    /// in here are in is kept up to date, and who was ever written to is there. `None`: nothing.
    async fn may_send_as_known(&self, conv: &ConversationId, uid: &Uid) -> Option<Permission> {
        let is_known = match conv.kind() {
            ConversationKind::P2p(..) => self.ports.state.head(conv).await.is_ok_and(|(_, head)| head > 0),
            ConversationKind::Group(_) => self.state.borrow().routes.groups_of(uid).contains(conv),
            ConversationKind::System(_) => false,
        };
        is_known.then_some(Permission::Allowed)
    }

    async fn may_send(&self, conv: &ConversationId, uid: &Uid) -> Result<Permission, DirectoryError> {
        let denied = |code| Ok(Permission::Denied(code));
        match conv.kind() {
            ConversationKind::P2p(low, high) => {
                let other = if uid.as_str() == low { high } else { low };
                let Ok(other) = Uid::parse(other) else { return denied(ErrorCode::NotFound) };
                match self.ports.directory.account(&other).await? {
                    Some(_) => Ok(Permission::Allowed),
                    None => denied(ErrorCode::NotFound),
                }
            }
            ConversationKind::Group(id) => match self.ports.directory.membership(id, uid).await? {
                Some(_) => Ok(Permission::Allowed),
                None => denied(ErrorCode::NotAMember),
            },
            ConversationKind::System(_) => denied(ErrorCode::Forbidden),
        }
    }

    /// The sequence up to which nothing is for this user; an error code when nothing at all is.
    pub(super) async fn floor(&self, conv: &ConversationId, uid: &Uid) -> Result<u64, ErrorCode> {
        let ConversationKind::Group(id) = conv.kind() else {
            return if conv.names(uid.as_str()) { Ok(0) } else { Err(ErrorCode::NotAMember) };
        };
        match self.ports.directory.membership(id, uid).await {
            Ok(Some(membership)) => Ok(membership.joined_seq),
            Ok(None) => Err(ErrorCode::NotAMember),
            Err(error) => {
                tracing::warn!(%error, %conv, "membership could not be read");
                Err(ErrorCode::Unavailable)
            }
        }
    }

    /// A page for a client.
    pub(super) async fn sync(
        self: Rc<Self>,
        origin: Origin,
        conv: ConversationId,
        uid: Uid,
        from: ReadFrom,
        limit: usize,
    ) {
        match self.read_page(&conv, &uid, from, limit).await {
            Ok((page, complete)) => {
                let (connection, id, page) = (origin.connection, origin.command, Box::new(page));
                self.tell(origin.shard, ToShard::SyncPage { connection, id, conv, page, complete });
            }
            Err(code) => {
                let detail = "the conversation cannot be read";
                self.answer_read(origin, ServerPacket::error(origin.command, code, detail));
            }
        }
    }

    async fn read_page(
        &self,
        conv: &ConversationId,
        uid: &Uid,
        from: ReadFrom,
        limit: usize,
    ) -> Result<(Page, bool), ErrorCode> {
        let floor = self.floor(conv, uid).await?;
        let from = match from {
            ReadFrom::After(seq) => PageFrom::After(seq.max(floor)),
            ReadFrom::Before(seq) => PageFrom::Before(seq),
        };
        let read = self.ports.state.page(conv, from, limit).await;
        let mut page = read.map_err(|error| self.store_failed(&error))?;
        if matches!(from, PageFrom::Before(_)) {
            let before = page.items.len();
            page.items.retain(|message| message.seq > floor);
            let reached = page.items.first().is_none_or(|message| message.seq == floor + 1);
            page.more &= page.items.len() == before && !reached;
        }
        let complete = matches!(from, PageFrom::After(_)) && !page.more;
        Ok((page, complete))
    }

    /// The next page of a device's backlog.
    pub(super) async fn catch_up(self: Rc<Self>, to: ConnectionRef, conv: ConversationId, after: Place) {
        let read = self.backlog_page(to, &conv, after).await;
        let page = read.inspect_err(|error| tracing::warn!(%error, %conv, "backlog could not be read")).ok();
        self.tell(to.shard, ToShard::CatchUpPage { connection: to.connection, conv, page });
    }

    async fn backlog_page(&self, to: ConnectionRef, conv: &ConversationId, after: Place) -> Result<Page, StoreError> {
        let page = self.ports.state.page(conv, PageFrom::After(after.1), PAGE_MESSAGES_MAX).await?;
        if page.epoch == after.0 || after.1 == 0 {
            return Ok(page);
        }
        // The device's place is of an epoch that is over: it reads from where the two differ.
        let from = self.resolve(to, conv, after).await?;
        if from == after.1 {
            return Ok(page);
        }
        self.ports.state.page(conv, PageFrom::After(from), PAGE_MESSAGES_MAX).await
    }

    /// The user's conversation list.
    pub(super) async fn conversations(self: Rc<Self>, origin: Origin, uid: Uid, after: String, limit: usize) {
        match self.ports.state.conversations(&uid, &after, limit).await {
            Ok(conversations) => {
                let id = origin.command;
                let packet = ServerPacket { id, conversations: Some(conversations), ..ServerPacket::default() };
                self.answer_read(origin, packet);
            }
            Err(error) => {
                let code = self.store_failed(&error);
                self.answer_read(origin, ServerPacket::error(origin.command, code, "the list cannot be read"));
            }
        }
    }

    /// Logs a read mark, then tells everybody else in the conversation.
    pub(super) async fn mark_read(self: Rc<Self>, origin: Origin, conv: ConversationId, uid: Uid, seq: u64) {
        match self.log_read(&conv, &uid, seq).await {
            Ok(seq) => {
                self.answer(origin, ServerPacket::reply_ok(origin.command));
                if seq == 0 {
                    return;
                }
                let except = ConnectionRef { shard: origin.shard, connection: origin.connection };
                self.tell_read(&conv, &uid, seq, except);
            }
            Err(code) => self.answer_error(origin, code, "the read mark was not taken"),
        }
    }

    async fn log_read(&self, conv: &ConversationId, uid: &Uid, seq: u64) -> Result<u64, ErrorCode> {
        self.floor(conv, uid).await?;
        let (_, head) = self.ports.state.head(conv).await.map_err(|error| self.store_failed(&error))?;
        let seq = seq.min(head);
        if seq == 0 {
            return Ok(0);
        }
        if self.ports.state.unarchived_bytes() > UNARCHIVED_BYTES_MAX {
            return Err(ErrorCode::Busy);
        }
        let event =
            ReadEvent { conv: conv.as_str().to_owned(), uid: uid.as_str().to_owned(), seq, ts_ms: clock::unix_ms() };
        let record = NewRecord { key: conv.stable_hash(), bytes: Event::Read(event).encode() };
        self.ports.log.append(vec![record]).await.map_err(|error| {
            tracing::error!(%error, "read mark refused: the event log did not take it");
            if matches!(error, AppendError::Full(_)) { ErrorCode::StorageFull } else { ErrorCode::Unavailable }
        })?;
        self.ports.state.mark_read(conv, uid, seq).await;
        Ok(seq)
    }

    fn tell_read(self: &Rc<Self>, conv: &ConversationId, uid: &Uid, seq: u64, except: ConnectionRef) {
        let receipt =
            Receipt { conv: conv.as_str().to_owned(), kind: "read".to_owned(), uid: uid.as_str().to_owned(), seq };
        let packet = ServerPacket { receipt: Some(receipt), ..ServerPacket::default() };
        let to = match conv.kind() {
            ConversationKind::Group(_) => TransientTo::Group(conv.clone()),
            ConversationKind::P2p(low, high) => {
                TransientTo::Users([low, high].iter().filter_map(|uid| Uid::parse(uid).ok()).collect())
            }
            ConversationKind::System(_) => TransientTo::Users(smallvec![uid.clone()]),
        };
        let push = Arc::new(Transient {
            to,
            except: Some(except),
            json: packet::encode_frame(Format::Json, &packet),
            protobuf: packet::encode_frame(Format::Protobuf, &packet),
        });
        let shards = self.state.borrow().routes.audience(conv).shards;
        for shard in (0..64).filter(|shard| shards & (1 << shard) != 0) {
            self.tell(shard, ToShard::Transient(Arc::clone(&push)));
        }
        tokio::task::spawn_local(Rc::clone(self).transient_elsewhere(push));
    }
}
