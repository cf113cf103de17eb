//! One connection's protocol state, from the upgrade to its close.
//!
//! ```text
//!  Greeting ──connect──► Opening ──handle_opened──► Attaching ──handle_attached──► Active
//!     │ auth deadline       │ handle_refused           │                             │ heartbeat, expiry
//!     ▼                     ▼                          ▼                             ▼
//!   Closed ◄────────────────┴──────────────────────────┴─────────────────────────────┘
//! ```
//!
//! Lives on the connection's shard. Call order: `handle_request` for each command as it comes,
//! `handle_received` for any bytes at all, the answers to effects when they come, `handle_timer` when
//! `deadline` is reached. Invariants: commands behind `connect` are served after it, in order; at most
//! `COMMANDS_INFLIGHT_MAX` wait (the caller stops reading when `is_full`); after `Close` nothing more comes.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use crate::effect::{Origin, ReadFrom, SessionEffect, Submission};
use crate::errors::{CloseCode, ErrorCode};
use crate::ids::{ConversationId, DeviceId, IdError, MessageType, Uid, check_client_msg_id};
use crate::limits::{
    AUTH_TIMEOUT_MS, COMMANDS_INFLIGHT_MAX, CONVERSATIONS_MAX, GROUP_TYPING_PER_SECOND_MAX, HEARTBEAT_DEAD_MS,
    HEARTBEAT_MS, PAGE_MESSAGES_MAX, READS_INFLIGHT_MAX, RESUME_POINTS_MAX, TOKEN_BYTES_MAX,
};
use crate::names::Names;
use crate::packet::schema::{Connect, ListConversations, ServerPacket, Sync};
use crate::packet::{Asked, Refusal, Request, SendRef, SignalRef, TargetRef};

const NOT_CONNECTED: &str = "the first command is `connect`";

/// Who a session belongs to, once its token was accepted.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user.
    pub uid: Uid,
    /// The device.
    pub device: DeviceId,
}

#[derive(Debug)]
enum State {
    Greeting,
    Opening,
    Attaching(Arc<Identity>),
    Active(Arc<Identity>),
    Closed,
}

/// The machine; see the module's head.
#[derive(Debug)]
pub struct Session {
    state: State,
    shard: u16,
    connection: u64,
    /// The end that no sign of life puts off: of the time to connect, then of the token.
    ends_ms: u64,
    received_ms: u64,
    pinged: bool,
    /// Commands handed on that wait for an answer.
    inflight: u32,
    /// Reads among them.
    reading: u8,
    /// Typing in groups taken in the second beside it, which counts from the epoch and may wrap.
    transients: u16,
    transients_s: u32,
    /// Reads that wait for an earlier one.
    reads: Later,
    /// What is kept from `connect` to its answer.
    connecting: Option<Box<Connecting>>,
}

/// A queue that is nearly always empty, and then takes a word.
type Later = Option<Box<VecDeque<SessionEffect<'static>>>>;

/// A `connect` on its way.
#[derive(Debug)]
struct Connecting {
    id: u64,
    /// When the token ends, once that is known.
    expires_ms: u64,
    /// Commands that came behind it.
    waiting: VecDeque<Result<(u64, Request), Refusal>>,
}

type Effects<'p> = Vec<SessionEffect<'p>>;

impl Session {
    /// A session on a connection that was upgraded at `now_ms`. `shard` and `connection` name it in the
    /// origins of what it submits.
    #[must_use]
    pub fn new(shard: u16, connection: u64, now_ms: u64) -> Self {
        Self {
            state: State::Greeting,
            shard,
            connection,
            ends_ms: now_ms + AUTH_TIMEOUT_MS,
            received_ms: now_ms,
            pinged: false,
            inflight: 0,
            reading: 0,
            transients: 0,
            transients_s: 0,
            reads: None,
            connecting: None,
        }
    }

    /// Who it belongs to, once accepted.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<Identity>> {
        match &self.state {
            State::Attaching(identity) | State::Active(identity) => Some(identity),
            State::Greeting | State::Opening | State::Closed => None,
        }
    }

    /// Whether live messages may be pushed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active(_))
    }

    /// Unix milliseconds at which the token ends, once accepted.
    #[must_use]
    pub fn expires_ms(&self) -> u64 {
        self.connecting.as_ref().map_or(self.ends_ms, |connecting| connecting.expires_ms)
    }

    /// The user; there is one wherever commands are served.
    fn uid(&self) -> Result<&Uid, Refused> {
        let identity = self.identity().ok_or_else(|| (ErrorCode::NotConnected, NOT_CONNECTED.into()))?;
        Ok(&identity.uid)
    }

    /// Commands that have no answer.
    fn unanswered(&self) -> usize {
        self.inflight as usize + self.connecting.as_ref().map_or(0, |connecting| connecting.waiting.len())
    }

    /// Whether the connection is not to be read until something was answered.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unanswered() >= COMMANDS_INFLIGHT_MAX
    }

    /// Whether commands wait for an answer.
    #[must_use]
    pub fn has_inflight(&self) -> bool {
        self.unanswered() > 0
    }

    /// Bytes came: the peer lives.
    pub fn handle_received(&mut self, now_ms: u64) {
        self.received_ms = now_ms;
        self.pinged = false;
    }

    /// A command, or one that could not be read.
    pub fn handle_request<'p>(
        &mut self,
        request: Result<(u64, Asked<'p>), Refusal>,
        names: &mut Names,
        out: &mut Effects<'p>,
    ) {
        match (&self.state, request) {
            (State::Closed, _) => {}
            (State::Greeting, Ok((id, Asked::Other(Request::Connect(connect))))) => self.open(id, connect, out),
            (State::Greeting, Ok((id, _))) => refuse(id, ErrorCode::NotConnected, NOT_CONNECTED, out),
            (State::Greeting, Err(refusal)) => out.push(reply(refusal_packet(refusal))),
            (State::Opening | State::Attaching(_), request) => {
                if let Some(connecting) = &mut self.connecting {
                    connecting.waiting.push_back(request.map(|(id, asked)| (id, asked.into_owned())));
                }
            }
            (State::Active(_), Err(refusal)) => out.push(reply(refusal_packet(refusal))),
            (State::Active(_), Ok((id, request))) => {
                if let Err((code, detail)) = self.serve(id, request, names, out) {
                    refuse(id, code, &detail, out);
                }
            }
        }
    }

    /// The token was accepted, and ends at `expires_ms`. The caller now attaches the device to the shard and asks where
    /// it stands.
    pub fn handle_opened(&mut self, identity: Arc<Identity>, expires_ms: u64) {
        if let (State::Opening, Some(connecting)) = (&self.state, &mut self.connecting) {
            connecting.expires_ms = expires_ms;
            self.state = State::Attaching(identity);
        }
    }

    /// The token was refused (or could not be checked): tells why and closes, with a code that says
    /// whether the same token may be tried again.
    pub fn handle_refused(&mut self, code: ErrorCode, out: &mut Effects<'_>) {
        if !matches!(self.state, State::Opening | State::Attaching(_)) {
            return;
        }
        let id = self.connecting.as_ref().map_or(0, |connecting| connecting.id);
        refuse(id, code, "connect refused", out);
        self.close(
            match code {
                ErrorCode::TokenExpired => CloseCode::TokenExpired,
                code if code.temporary() => CloseCode::Overloaded,
                _ => CloseCode::TokenRefused,
            },
            out,
        );
    }

    /// Everything is known to begin: queues `connected`, built by the caller, then serves what came behind
    /// `connect`.
    pub fn handle_attached(&mut self, mut connected: ServerPacket, names: &mut Names, out: &mut Effects<'_>) {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Attaching(identity) => self.state = State::Active(identity),
            other => {
                self.state = other;
                return;
            }
        }
        let Some(connecting) = self.connecting.take() else { return };
        self.ends_ms = connecting.expires_ms;
        connected.id = connecting.id;
        out.push(reply(connected));
        for request in connecting.waiting {
            self.handle_request(request.map(|(id, request)| (id, request.into())), names, out);
        }
    }

    /// A newer token was accepted.
    pub fn handle_refreshed(&mut self, expires_ms: u64) {
        if self.is_active() {
            self.ends_ms = expires_ms;
        }
    }

    /// A command that was handed on has its answer (the caller queues it).
    pub fn handle_answered(&mut self) {
        self.inflight = self.inflight.saturating_sub(1);
    }

    /// A page or list was answered and its bytes are on their way; the next read may go. Besides
    /// `handle_answered`.
    pub fn handle_read_done(&mut self, out: &mut Effects<'_>) {
        self.reading = self.reading.saturating_sub(1);
        if let Some(next) = self.reads.as_mut().and_then(|reads| reads.pop_front()) {
            self.reading += 1;
            out.push(next);
        }
        if self.reads.as_ref().is_some_and(|reads| reads.is_empty()) {
            self.reads = None;
        }
    }

    /// Ends the session.
    pub fn close(&mut self, code: CloseCode, out: &mut Effects<'_>) {
        if !matches!(self.state, State::Closed) {
            self.state = State::Closed;
            self.connecting = None;
            self.reads = None;
            out.push(SessionEffect::Close(code));
        }
    }

    /// When `handle_timer` wants to be called next (it may find that nothing is due any more).
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        match &self.state {
            State::Closed => None,
            State::Greeting | State::Opening | State::Attaching(_) => Some(self.ends_ms),
            State::Active(_) => {
                let silence = if self.pinged { HEARTBEAT_DEAD_MS } else { HEARTBEAT_MS };
                Some(self.ends_ms.min(self.received_ms + silence))
            }
        }
    }

    /// Looks at the deadlines.
    pub fn handle_timer(&mut self, now_ms: u64, out: &mut Effects<'_>) {
        match &self.state {
            State::Closed => {}
            State::Greeting | State::Opening | State::Attaching(_) => {
                if self.ends_ms <= now_ms {
                    self.close(CloseCode::AuthTimeout, out);
                }
            }
            State::Active(_) if self.ends_ms <= now_ms => self.close(CloseCode::TokenExpired, out),
            State::Active(_) if self.received_ms + HEARTBEAT_DEAD_MS <= now_ms => {
                self.close(CloseCode::HeartbeatTimeout, out);
            }
            State::Active(_) => {
                if self.received_ms + HEARTBEAT_MS <= now_ms && !self.pinged {
                    self.pinged = true;
                    out.push(SessionEffect::Ping);
                }
            }
        }
    }

    fn open(&mut self, id: u64, connect: Connect, out: &mut Effects<'_>) {
        let device = match DeviceId::parse(&connect.device) {
            Ok(device) => device,
            Err(error) => return refuse(id, ErrorCode::InvalidArgument, &error.to_string(), out),
        };
        if connect.resume.len() > RESUME_POINTS_MAX || connect.token.len() > TOKEN_BYTES_MAX {
            return refuse(id, ErrorCode::TooLarge, "too many resume points, or too long a token", out);
        }
        self.state = State::Opening;
        self.connecting = Some(Box::new(Connecting { id, expires_ms: 0, waiting: VecDeque::new() }));
        out.push(SessionEffect::Open { connect, device });
    }

    fn serve<'p>(
        &mut self,
        id: u64,
        asked: Asked<'p>,
        names: &mut Names,
        out: &mut Effects<'p>,
    ) -> Result<(), Refused> {
        match asked {
            Asked::Send(send) => {
                let message = self.submission(id, send, names)?;
                self.inflight += 1;
                out.push(SessionEffect::Submit(message));
            }
            Asked::Ack(point) => {
                let conv = conversation(&point.conv, self.uid()?, names)?;
                out.push(SessionEffect::Acknowledge { conv, epoch: point.epoch, seq: point.seq });
            }
            Asked::Signal(signal) => out.push(signal_to(signal, names)?),
            Asked::Other(request) => self.serve_other(id, request, names, out)?,
        }
        Ok(())
    }

    /// What is asked for seldom.
    fn serve_other(
        &mut self,
        id: u64,
        request: Request,
        names: &mut Names,
        out: &mut Effects<'_>,
    ) -> Result<(), Refused> {
        let effect = match request {
            Request::Connect(_) => return Err((ErrorCode::AlreadyConnected, "already connected".into())),
            // Kept until the session was open.
            Request::Send(_) | Request::Ack(_) | Request::Signal(_) => {
                return self.serve(id, request.into(), names, out);
            }
            Request::Read(read) => {
                SessionEffect::MarkRead { id, conv: conversation(&read.conv, self.uid()?, names)?, seq: read.seq }
            }
            Request::Sync(sync) => {
                let effect = read_page(id, &sync, self.uid()?, names)?;
                self.read(effect, out);
                return Ok(());
            }
            Request::Conversations(list) => {
                self.read(list_page(id, list), out);
                return Ok(());
            }
            Request::Typing(typing) => {
                let conv = conversation(&typing.conv, self.uid()?, names)?;
                // One word to a group may go to thousands.
                if !conv.is_group() || self.may_show() {
                    out.push(SessionEffect::Typing { id, conv });
                }
                return Ok(());
            }
            Request::Ping => {
                out.push(reply(ServerPacket::pong(id)));
                return Ok(());
            }
            Request::Refresh(refresh) if refresh.token.len() > TOKEN_BYTES_MAX => {
                return Err((ErrorCode::TooLarge, "too long a token".into()));
            }
            Request::Refresh(refresh) => SessionEffect::Refresh { id, token: refresh.token },
        };
        self.inflight += 1;
        out.push(effect);
        Ok(())
    }

    /// Hands a read on, or keeps it until an earlier one is answered: pages are large, and a client that
    /// asks for many at once is served them one after the other.
    fn read(&mut self, effect: SessionEffect<'static>, out: &mut Effects<'_>) {
        self.inflight += 1;
        if usize::from(self.reading) < READS_INFLIGHT_MAX {
            self.reading += 1;
            out.push(effect);
        } else {
            self.reads.get_or_insert_default().push_back(effect);
        }
    }

    /// Whether typing in a group is within the rate; past it, it is dropped.
    fn may_show(&mut self) -> bool {
        let second = (self.received_ms / 1_000) as u32;
        if self.transients_s != second {
            (self.transients, self.transients_s) = (0, second);
        }
        self.transients = self.transients.saturating_add(1);
        self.transients <= GROUP_TYPING_PER_SECOND_MAX
    }

    fn submission(&self, id: u64, send: SendRef<'_>, names: &mut Names) -> Result<Submission, Refused> {
        let uid = self.uid()?;
        check_client_msg_id(&send.client_msg_id).map_err(invalid)?;
        let kind = if send.kind.is_empty() { Cow::Borrowed("text") } else { send.kind };
        MessageType::check(&kind).map_err(invalid)?;
        if kind == "system" {
            return Err((ErrorCode::Forbidden, "type `system` is the server's own".into()));
        }
        if !matches!(&*send.enc, "" | "deflate") {
            return Err((ErrorCode::InvalidArgument, "enc is neither absent nor `deflate`".into()));
        }
        let conv = match recipient(send.to.as_ref())? {
            Recipient::User(user) => names.p2p(uid, user),
            Recipient::Group(id) => names.group(id),
        };
        Ok(Submission {
            origin: Origin { shard: self.shard, connection: self.connection, command: id, taken_us: 0 },
            conv: conv.map_err(invalid)?,
            from: Some(uid.clone()),
            client_msg_id: send.client_msg_id.into(),
            kind: kind.into(),
            body: send.body.into_owned(),
            enc: send.enc.into(),
            retry: send.retry,
        })
    }
}

type Refused = (ErrorCode, String);

enum Recipient<'a> {
    User(&'a str),
    Group(&'a str),
}

fn invalid(error: IdError) -> Refused {
    (ErrorCode::InvalidArgument, error.to_string())
}

fn recipient<'a>(to: Option<&'a TargetRef<'_>>) -> Result<Recipient<'a>, Refused> {
    match to {
        Some(TargetRef { user, group }) if group.is_empty() => Ok(Recipient::User(user)),
        Some(TargetRef { user, group }) if user.is_empty() => Ok(Recipient::Group(group)),
        _ => Err((ErrorCode::InvalidArgument, "`to` wants one of `user` and `group`".into())),
    }
}

/// A conversation that the user may at least be in: groups are checked further by who serves them.
fn conversation(text: &str, uid: &Uid, names: &mut Names) -> Result<ConversationId, Refused> {
    let conv = names.conversation(text).map_err(invalid)?;
    if conv.is_group() || conv.names(uid.as_str()) {
        return Ok(conv);
    }
    Err((ErrorCode::NotAMember, "not your conversation".into()))
}

fn read_page(id: u64, sync: &Sync, uid: &Uid, names: &mut Names) -> Result<SessionEffect<'static>, Refused> {
    let conv = conversation(&sync.conv, uid, names)?;
    let from = if sync.before_seq == 0 { ReadFrom::After(sync.after_seq) } else { ReadFrom::Before(sync.before_seq) };
    Ok(SessionEffect::Sync { id, conv, from, limit: bounded(sync.limit, PAGE_MESSAGES_MAX) })
}

fn list_page(id: u64, list: ListConversations) -> SessionEffect<'static> {
    SessionEffect::Conversations { id, after: list.after, limit: bounded(list.limit, CONVERSATIONS_MAX) }
}

fn signal_to<'p>(signal: SignalRef<'p>, names: &mut Names) -> Result<SessionEffect<'p>, Refused> {
    match recipient(signal.to.as_ref())? {
        Recipient::User(user) => {
            let to = names.user(user).map_err(invalid)?;
            Ok(SessionEffect::Signal { to, call: signal.call, body: signal.body })
        }
        Recipient::Group(_) => Err((ErrorCode::InvalidArgument, "signals go to users".into())),
    }
}

fn bounded(limit: u32, max: usize) -> usize {
    if limit == 0 { max } else { max.min(limit as usize) }
}

fn refuse(id: u64, code: ErrorCode, detail: &str, out: &mut Effects<'_>) {
    out.push(reply(ServerPacket::error(id, code, detail)));
}

fn reply(packet: ServerPacket) -> SessionEffect<'static> {
    SessionEffect::Reply(Box::new(packet))
}

fn refusal_packet(refusal: Refusal) -> ServerPacket {
    ServerPacket::error(refusal.id, refusal.code, refusal.detail)
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
