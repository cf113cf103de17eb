//! The client without its socket: commands and packets in, commands and effects out (pure).
//!
//! Owns the store, the outbox, the calls and the heartbeat of one client over all its connections.
//! The driver calls `handle_*` for what happens, then takes everything from `poll_effect`, and while
//! connected everything from `poll_command`; `deadline` says when to call `poll_command` without cause,
//! `verdict` whether the connection is still worth keeping. Times are milliseconds of one steady clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ringway_engine::errors::ErrorCode;
use ringway_engine::limits::HEARTBEAT_MS;
use ringway_engine::packet::schema::{
    Command, Connected, ErrorReply, Message, Point, Reconnect, ResumePoint, Send, Sent, ServerPacket, Sync,
};

use crate::acks::{self, AckMode, Acks};
use crate::backoff::{Bounds, Jitter};
use crate::body;
use crate::error::RequestError;
use crate::event::Event;
use crate::limits::{CALLS_MAX, LEAVE_MS, PENDING_BYTES_MAX, PENDING_MAX, REPLY_TIMEOUT_MS};
use crate::outbox::{Answered, Outbox, Ticket};
use crate::store::{Saved, Store};

/// What a call is answered with; boxed, because packets are large.
pub(crate) type Answer = Box<Result<ServerPacket, RequestError>>;

/// What the driver has to do.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Tell the application.
    Event(Event),
    /// Tell the store that a conversation's point moved.
    Moved(String, ResumePoint),
    /// A send is over.
    Sent(Ticket, Result<Sent, RequestError>),
    /// A call is over.
    Called(u64, Answer),
}

/// Whether to keep the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Keep,
    /// Nothing came for three heartbeats, or a command was never answered.
    Dead(&'static str),
    /// The server drains and nothing is in flight any more: leave.
    Leave,
}

/// What a reply's id stands for.
#[derive(Debug)]
enum Awaited {
    Send(Ticket),
    Call(u64, Box<Command>),
    Sync(Sync),
    Ping,
    Refresh,
}

/// One connection's state.
#[derive(Debug)]
struct Link {
    uid: String,
    heartbeat_ms: u64,
    received_ms: u64,
    sent_ms: u64,
    pinged: bool,
    awaited: BTreeMap<u64, (u64, Awaited)>,
    leave: Option<(u64, Reconnect)>,
    kicked: Option<String>,
}

/// The client without its socket.
#[derive(Debug)]
pub(crate) struct Core {
    store: Store,
    outbox: Outbox,
    calls: VecDeque<(u64, Box<Command>)>,
    transients: VecDeque<Command>,
    refresh: Option<String>,
    acks: Acks,
    ack_mode: AckMode,
    group_ack_ms: u64,
    heartbeat_ms: Option<u64>,
    link: Option<Link>,
    next_id: u64,
    next_call: u64,
    calls_open: usize,
    jitter: Jitter,
    effects: VecDeque<Effect>,
}

impl Core {
    pub(crate) fn new(
        saved: Vec<Saved>,
        outbox: Outbox,
        ack_mode: AckMode,
        heartbeat_ms: Option<u64>,
        mut jitter: Jitter,
    ) -> Self {
        Self {
            store: Store::new(saved),
            outbox,
            calls: VecDeque::new(),
            transients: VecDeque::new(),
            refresh: None,
            acks: Acks::default(),
            ack_mode,
            group_ack_ms: acks::draw_group_ms(&mut jitter),
            heartbeat_ms,
            link: None,
            next_id: 1,
            next_call: 1,
            calls_open: 0,
            jitter,
            effects: VecDeque::new(),
        }
    }

    pub(crate) fn resume_points(&self) -> BTreeMap<String, ResumePoint> {
        self.store.resume_points()
    }

    /// Room for one more send.
    pub(crate) fn takes_sends(&self) -> bool {
        self.outbox.len() < PENDING_MAX && self.outbox.bytes() < PENDING_BYTES_MAX
    }

    /// Room for one more call.
    pub(crate) fn takes_calls(&self) -> bool {
        self.calls_open < CALLS_MAX
    }

    /// The id for the next `connect`.
    pub(crate) fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(crate) fn wait_ms(&mut self, bounds: Bounds, attempt: u32, at_least_ms: u64) -> u64 {
        bounds.wait_ms(attempt, at_least_ms, &mut self.jitter)
    }

    // ---- what happens --------------------------------------------------------------------------

    pub(crate) fn handle_send(&mut self, send: Send, now_ms: u64) -> Ticket {
        self.outbox.push(send, now_ms)
    }

    /// A command with a reply; repeating it must be harmless, since a lost connection repeats it.
    pub(crate) fn handle_call(&mut self, command: Command) -> u64 {
        let call = self.next_call;
        self.next_call += 1;
        self.calls_open += 1;
        self.calls.push_back((call, Box::new(command)));
        call
    }

    /// A command without a reply, worth nothing later: dropped when not connected.
    pub(crate) fn handle_transient(&mut self, command: Command) {
        if self.link.is_some() && self.transients.len() < CALLS_MAX {
            self.transients.push_back(command);
        }
    }

    pub(crate) fn handle_ack(&mut self, point: Point, now_ms: u64) {
        self.acks.note(point.conv, ResumePoint { epoch: point.epoch, seq: point.seq }, now_ms);
    }

    /// A newer token for the running session.
    pub(crate) fn handle_token(&mut self, token: String) {
        self.refresh = Some(token);
    }

    pub(crate) fn handle_connected(&mut self, connected: &Connected, now_ms: u64) {
        let served_ms = u64::from(connected.heartbeat_s) * 1_000;
        let heartbeat_ms = self.heartbeat_ms.unwrap_or(if served_ms == 0 { HEARTBEAT_MS } else { served_ms });
        self.link = Some(Link {
            uid: connected.uid.clone(),
            heartbeat_ms: heartbeat_ms.max(1),
            received_ms: now_ms,
            sent_ms: now_ms,
            pinged: false,
            awaited: BTreeMap::new(),
            leave: None,
            kicked: None,
        });
        self.store.handle_connected(&connected.recovered, now_ms);
    }

    pub(crate) fn handle_disconnected(&mut self, now_ms: u64) {
        let Some(link) = self.link.take() else { return };
        self.outbox.handle_disconnected(now_ms);
        self.store.handle_disconnected(now_ms);
        self.transients.clear();
        self.refresh = None;
        for (_, awaited) in link.awaited.into_values().rev() {
            if let Awaited::Call(call, command) = awaited {
                self.calls.push_front((call, command));
            }
        }
    }

    /// The client ends: every send and call is told.
    pub(crate) fn handle_closed(&mut self, now_ms: u64) {
        self.handle_disconnected(now_ms);
        for ticket in self.outbox.abandon() {
            self.effects.push_back(Effect::Sent(ticket, Err(RequestError::Closed)));
        }
        for (call, _) in std::mem::take(&mut self.calls) {
            self.effects.push_back(Effect::Called(call, Box::new(Err(RequestError::Closed))));
        }
    }

    /// The application ends the client: what is to be acknowledged goes now.
    pub(crate) fn hurry_acks(&mut self) {
        self.acks.hurry();
    }

    /// What a `reconnect` push of this connection said.
    pub(crate) fn leaving(&self) -> Option<&Reconnect> {
        self.link.as_ref()?.leave.as_ref().map(|(_, reconnect)| reconnect)
    }

    /// What a `kicked` push of this connection said.
    pub(crate) fn kicked(&self) -> Option<&str> {
        self.link.as_ref()?.kicked.as_deref()
    }

    /// Bytes came that are no packet (a WebSocket ping): the server lives.
    pub(crate) fn handle_traffic(&mut self, now_ms: u64) {
        if let Some(link) = &mut self.link {
            link.received_ms = now_ms;
            link.pinged = false;
        }
    }

    pub(crate) fn handle_packet(&mut self, packet: ServerPacket, now_ms: u64) {
        self.handle_traffic(now_ms);
        if packet.id != 0 {
            self.handle_reply(packet, now_ms);
        } else {
            self.handle_push(packet, now_ms);
        }
        self.settle(now_ms);
    }

    fn handle_push(&mut self, packet: ServerPacket, now_ms: u64) {
        if let Some(message) = packet.message {
            self.store.handle_message(message, now_ms);
        } else if let Some(page) = packet.messages {
            self.store.handle_backlog(page, now_ms);
        } else if let Some(resync) = packet.resync {
            self.store.handle_resync(&resync.conv, now_ms);
        } else if let Some(reconnect) = packet.reconnect {
            if let Some(link) = &mut self.link {
                link.leave = Some((now_ms + LEAVE_MS, reconnect));
            }
        } else if let Some(kicked) = packet.kicked {
            if let Some(link) = &mut self.link {
                link.kicked = Some(kicked.reason);
            }
        } else {
            let event = None
                .or(packet.receipt.map(Event::Receipt))
                .or(packet.typing.map(Event::Typing))
                .or(packet.signal.map(Event::Signal))
                .or(packet.changed.map(Event::Changed))
                .or(packet.error.map(Event::Refused));
            self.effects.extend(event.map(Effect::Event));
        }
    }

    fn handle_reply(&mut self, packet: ServerPacket, now_ms: u64) {
        let Some(link) = &mut self.link else { return };
        let Some((_, awaited)) = link.awaited.remove(&packet.id) else {
            // A refused `typing` or `signal`: they carry an id, but nobody waits.
            self.effects.extend(packet.error.map(|error| Effect::Event(Event::Refused(error))));
            return;
        };
        match (awaited, packet) {
            (Awaited::Send(ticket), ServerPacket { sent: Some(sent), .. }) => self.handle_sent(ticket, sent, now_ms),
            (Awaited::Send(ticket), ServerPacket { error, .. }) => {
                // An answer that is neither says nothing of the send: it has to be asked again.
                let error = error.unwrap_or_else(|| ErrorCode::Internal.reply("unknown answer"));
                if let Answered::Over(ticket, _) = self.outbox.handle_error(ticket, &error, now_ms, &mut self.jitter) {
                    self.effects.push_back(Effect::Sent(ticket, Err(RequestError::Refused(error))));
                }
            }
            (Awaited::Sync(asked), ServerPacket { messages: Some(page), .. }) => {
                self.store.handle_page(&asked, page, now_ms);
            }
            (Awaited::Sync(asked), ServerPacket { error, .. }) => {
                let retry = error.filter(|error| error.temporary);
                let wait_ms = |error: ErrorReply| Bounds::default().wait_ms(0, error.retry_after_ms, &mut self.jitter);
                let retry_at_ms = retry.map(wait_ms).map(|wait_ms| now_ms + wait_ms);
                self.store.handle_sync_refused(&asked, retry_at_ms, now_ms);
            }
            (Awaited::Call(call, _), mut packet) => {
                self.calls_open -= 1;
                open_bodies(&mut packet);
                let result = packet.error.take().map(RequestError::Refused).map_or(Ok(packet), Err);
                self.effects.push_back(Effect::Called(call, Box::new(result)));
            }
            (Awaited::Refresh, ServerPacket { error: Some(error), .. }) => {
                self.effects.push_back(Effect::Event(Event::Refused(error)));
            }
            (Awaited::Ping | Awaited::Refresh, _) => {}
        }
    }

    /// The sending device gets no push of its own message: it is made from the reply.
    fn handle_sent(&mut self, ticket: Ticket, sent: Sent, now_ms: u64) {
        let Some(send) = self.outbox.handle_sent(ticket, now_ms) else { return };
        let from = self.link.as_ref().map(|link| link.uid.clone()).unwrap_or_default();
        let message = Message {
            conv: sent.conv.clone(),
            msg_id: sent.msg_id,
            epoch: sent.epoch,
            seq: sent.seq,
            from,
            client_msg_id: send.client_msg_id,
            kind: if send.kind.is_empty() { "text".to_owned() } else { send.kind },
            body: send.body,
            enc: send.enc,
            ts: sent.ts,
        };
        self.effects.push_back(Effect::Sent(ticket, Ok(sent)));
        self.store.handle_own(message, now_ms);
    }

    /// Hands on what the store has ready, and notes what to acknowledge.
    fn settle(&mut self, now_ms: u64) {
        while let Some(mut message) = self.store.poll_message() {
            if !message.enc.is_empty() {
                body::open_in_place(Arc::make_mut(&mut message));
            }
            self.effects.push_back(Effect::Event(Event::Message(message)));
        }
        while let Some((conv, point)) = self.store.poll_moved() {
            if let Some(delay_ms) = self.ack_mode.delay_ms(&conv, self.group_ack_ms) {
                self.acks.note(conv.clone(), point, now_ms + delay_ms);
            }
            self.effects.push_back(Effect::Moved(conv, point));
        }
    }

    // ---- what to do ----------------------------------------------------------------------------

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The next command to write, while connected.
    pub(crate) fn poll_command(&mut self, now_ms: u64) -> Option<Command> {
        let link = self.link.as_ref()?;
        let leaving = link.leave.is_some();
        if let Some(token) = self.refresh.take() {
            return self.await_reply(Awaited::Refresh, now_ms, |id| Command::refresh(id, token));
        }
        if !leaving && let Some(command) = self.poll_work(now_ms) {
            return Some(command);
        }
        if let Some(point) = self.acks.poll(now_ms) {
            self.note_sent(now_ms);
            return Some(Command { ack: Some(point), ..Command::default() });
        }
        let link = self.link.as_mut()?;
        if !link.pinged && now_ms >= link.received_ms.min(link.sent_ms) + link.heartbeat_ms {
            link.pinged = true;
            return self.await_reply(Awaited::Ping, now_ms, Command::ping);
        }
        None
    }

    fn poll_work(&mut self, now_ms: u64) -> Option<Command> {
        if let Some((call, command)) = self.calls.pop_front() {
            let awaited = Awaited::Call(call, command.clone());
            return self.await_reply(awaited, now_ms, |id| Command { id, ..*command });
        }
        if let Some(command) = self.transients.pop_front() {
            self.note_sent(now_ms);
            let id = self.next_id();
            return Some(Command { id, ..command });
        }
        if let Some(sync) = self.store.poll_sync(now_ms) {
            return self.await_reply(Awaited::Sync(sync.clone()), now_ms, |id| Command::sync(id, sync));
        }
        let (ticket, send) = self.outbox.poll_send(now_ms)?;
        self.await_reply(Awaited::Send(ticket), now_ms, |id| Command::send(id, send))
    }

    fn await_reply(&mut self, awaited: Awaited, now_ms: u64, make: impl FnOnce(u64) -> Command) -> Option<Command> {
        let id = self.next_id();
        let link = self.link.as_mut()?;
        link.awaited.insert(id, (now_ms + REPLY_TIMEOUT_MS, awaited));
        self.note_sent(now_ms);
        Some(make(id))
    }

    fn note_sent(&mut self, now_ms: u64) {
        if let Some(link) = &mut self.link {
            link.sent_ms = now_ms;
        }
    }

    /// Whether the connection is worth keeping. `reading` is false while the application holds up
    /// reading: silence then proves nothing.
    pub(crate) fn verdict(&self, now_ms: u64, reading: bool) -> Verdict {
        let Some(link) = &self.link else { return Verdict::Keep };
        if let Some((until_ms, _)) = &link.leave
            && (self.outbox.in_flight() == 0 || now_ms >= *until_ms)
        {
            return Verdict::Leave;
        }
        if !reading {
            return Verdict::Keep;
        }
        if now_ms >= link.received_ms + 3 * link.heartbeat_ms {
            return Verdict::Dead("the server has gone silent");
        }
        if link.awaited.first_key_value().is_some_and(|(_, (due_ms, _))| *due_ms <= now_ms) {
            return Verdict::Dead("a command was not answered");
        }
        Verdict::Keep
    }

    /// When `poll_command` or `verdict` may say something new.
    pub(crate) fn deadline(&self, reading: bool) -> Option<u64> {
        let link = self.link.as_ref()?;
        let ping_ms = (!link.pinged).then_some(link.received_ms.min(link.sent_ms) + link.heartbeat_ms);
        let dead_ms = reading.then_some(link.received_ms + 3 * link.heartbeat_ms);
        let reply_ms = link.awaited.first_key_value().map(|(_, (due_ms, _))| *due_ms).filter(|_| reading);
        let leave_ms = link.leave.as_ref().map(|(until_ms, _)| *until_ms);
        let (holes_ms, held_ms) =
            if leave_ms.is_some() { (None, None) } else { (self.store.deadline(), self.outbox.deadline()) };
        [ping_ms, dead_ms, reply_ms, leave_ms, holes_ms, held_ms, self.acks.deadline()].into_iter().flatten().min()
    }
}

/// Inflates what a call brought, where it can.
fn open_bodies(packet: &mut ServerPacket) {
    let pages = packet.messages.iter_mut().flat_map(|page| page.items.iter_mut());
    let lasts =
        packet.conversations.iter_mut().flat_map(|list| list.items.iter_mut()).filter_map(|conv| conv.last.as_mut());
    pages.chain(lasts).for_each(body::open_in_place);
}
