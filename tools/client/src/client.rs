//! The handle that applications hold, and the stream of events.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_util::Stream;
use ringway_engine::ids::ConversationId;
use ringway_engine::limits::MESSAGE_BYTES_MAX;
use ringway_engine::packet::schema::{
    Command, Conversations, ListConversations, Messages, Point, Send, Sent, ServerPacket, Signal, Sync, Target,
};
use ringway_engine::packet::{Format, encode_command};
use tokio::sync::{mpsc, oneshot, watch};

use crate::backoff::Jitter;
use crate::body;
use crate::core::Core;
use crate::error::{OptionsError, RequestError};
use crate::event::{Event, State};
use crate::limits::{EVENTS_MAX, REQUESTS_MAX};
use crate::link::{Driver, Request, SendRequest};
use crate::message_id::new_client_msg_id;
use crate::options::Options;
use crate::outbox::Outbox;

/// A user, as the target of a send.
#[must_use]
pub fn user(uid: impl Into<String>) -> Target {
    Target { user: uid.into(), group: String::new() }
}

/// A group, as the target of a send: its id without `group:`.
#[must_use]
pub fn group(id: impl Into<String>) -> Target {
    Target { user: String::new(), group: id.into() }
}

/// A message to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// To whom.
    pub to: Target,
    /// Message type; empty means `text`.
    pub kind: String,
    /// Any UTF-8; deflated on the way when that makes it smaller.
    pub body: String,
    /// Empty: a new random one. Give one to repeat a send of an earlier run.
    pub client_msg_id: String,
    /// True when an earlier run may have sent it already.
    pub retry: bool,
}

impl Draft {
    /// A text.
    #[must_use]
    pub fn text(to: Target, body: impl Into<String>) -> Self {
        Self { to, kind: String::new(), body: body.into(), client_msg_id: String::new(), retry: false }
    }
}

/// An accepted send. Await it for the answer: it comes when the message is durable and numbered, over
/// however many connections. Dropping it changes nothing about the send.
#[derive(Debug)]
pub struct PendingSend {
    client_msg_id: String,
    answer: oneshot::Receiver<Result<Sent, RequestError>>,
}

impl PendingSend {
    /// The id under which the message will appear.
    #[must_use]
    pub fn client_msg_id(&self) -> &str {
        &self.client_msg_id
    }
}

impl Future for PendingSend {
    type Output = Result<Sent, RequestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(answer.unwrap_or(Err(RequestError::Closed)))
    }
}

/// Events in the order they happened; ends after [`State::Closed`]. When nothing is taken from it, the
/// client stops reading its socket, so answers to sends wait too: take events on a task of their own, or
/// drop the stream if they do not matter.
#[derive(Debug)]
pub struct Events {
    receiver: mpsc::Receiver<Event>,
}

impl Events {
    /// The next event; `None` after the client has ended. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Event> {
        self.receiver.recv().await
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.receiver.poll_recv(cx)
    }
}

/// A handle to a client. Clones share it; it ends when the last is dropped, or by [`Client::close`].
#[derive(Debug, Clone)]
pub struct Client {
    sends: mpsc::Sender<SendRequest>,
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
    format: Format,
}

impl Client {
    /// Starts a client on the current tokio runtime. It connects, and keeps coming back, by itself;
    /// sends made before it is connected wait.
    ///
    /// # Errors
    /// The options make no sense.
    pub fn connect(mut options: Options) -> Result<(Self, Events), OptionsError> {
        options.check()?;
        let mut seed = [0_u8; 8];
        getrandom::fill(&mut seed).map_err(|_| OptionsError::Randomness)?;
        let format = options.format;
        let core = Core::new(
            options.store.load(),
            Outbox::new(options.inflight(), options.inflight_per_target_max, options.backoff),
            options.acks,
            options.heartbeat_ms,
            Jitter::new(u64::from_le_bytes(seed)),
        );
        let (sends, sends_in) = mpsc::channel(REQUESTS_MAX);
        let (requests, requests_in) = mpsc::channel(REQUESTS_MAX);
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let url = options.urls.first().cloned().unwrap_or_default();
        let (state_in, state) = watch::channel(State::Connecting { attempt: 0, url });
        tokio::spawn(Driver::new(options, core, sends_in, requests_in, events, state_in).run());
        Ok((Self { sends, requests, state, format }, Events { receiver }))
    }

    /// Sends a text and waits until it is durable and numbered.
    ///
    /// # Errors
    /// See [`RequestError`]; temporary refusals are repeated and never show.
    pub async fn send(&self, to: Target, body: impl Into<String>) -> Result<Sent, RequestError> {
        self.enqueue(Draft::text(to, body)).await?.await
    }

    /// Accepts a message for sending; waits only while the client's queue is full.
    ///
    /// # Errors
    /// The message can never be sent: too large, or the client is closed.
    pub async fn enqueue(&self, draft: Draft) -> Result<PendingSend, RequestError> {
        let client_msg_id = if draft.client_msg_id.is_empty() { new_client_msg_id()? } else { draft.client_msg_id };
        let (body, enc) = body::close(draft.body);
        let send = Send {
            to: Some(draft.to),
            client_msg_id: client_msg_id.clone(),
            kind: draft.kind,
            body,
            enc,
            retry: draft.retry,
        };
        let bytes = self.encoded_bytes(&send);
        if bytes > MESSAGE_BYTES_MAX {
            return Err(RequestError::TooLarge(bytes));
        }
        let (done, answer) = oneshot::channel();
        self.sends.send(SendRequest { send, done }).await.map_err(|_| RequestError::Closed)?;
        Ok(PendingSend { client_msg_id, answer })
    }

    /// A page of a conversation upwards from `after_seq`, at most 100. The store is not touched.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn sync(&self, conv: &str, after_seq: u64, limit: u32) -> Result<Messages, RequestError> {
        self.page(Sync { conv: conv.to_owned(), after_seq, limit, before_seq: 0 }).await
    }

    /// The page of a conversation just below `before_seq` (`u64::MAX` for the newest), in rising order.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn sync_before(&self, conv: &str, before_seq: u64, limit: u32) -> Result<Messages, RequestError> {
        self.page(Sync { conv: conv.to_owned(), after_seq: 0, limit, before_seq: before_seq.max(1) }).await
    }

    async fn page(&self, sync: Sync) -> Result<Messages, RequestError> {
        self.call(Command::sync(0, sync)).await?.messages.ok_or(RequestError::Unexpected)
    }

    /// The user's conversations after the id `after` (empty: from the first); `limit` 0 means the bound.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn conversations(&self, after: &str, limit: u32) -> Result<Conversations, RequestError> {
        let command = Command::conversations(0, ListConversations { after: after.to_owned(), limit });
        self.call(command).await?.conversations.ok_or(RequestError::Unexpected)
    }

    /// Marks a conversation read up to `seq`; the others are told.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn read(&self, conv: &str, seq: u64) -> Result<(), RequestError> {
        self.call(Command::read(0, conv, seq)).await.map(drop)
    }

    /// Waits for the server to answer a ping.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn ping(&self) -> Result<(), RequestError> {
        self.call(Command::ping(0)).await.map(drop)
    }

    /// Tells that the user types. Lost when not connected.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn typing(&self, conv: &str) -> Result<(), RequestError> {
        self.request(Request::Transient(Box::new(Command::typing(conv)))).await
    }

    /// Signals a call to another user's devices. Lost when not connected.
    ///
    /// # Errors
    /// The client is closed.
    pub async fn signal(&self, to: Target, call: &str, body: &str) -> Result<(), RequestError> {
        let signal = Signal { to: Some(to), call: call.to_owned(), body: body.to_owned(), from: String::new() };
        self.request(Request::Transient(Box::new(Command::signal(0, signal)))).await
    }

    /// Acknowledges by hand; for [`AckMode::Manual`](crate::AckMode::Manual).
    ///
    /// # Errors
    /// The client is closed.
    pub async fn ack(&self, conv: &str, epoch: u64, seq: u64) -> Result<(), RequestError> {
        self.request(Request::Ack(Point { conv: conv.to_owned(), epoch, seq })).await
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Waits until the state is one that `wanted` accepts; `None` when the client ends before.
    pub async fn wait_for(&self, wanted: impl FnMut(&State) -> bool) -> Option<State> {
        let mut state = self.state.clone();
        state.wait_for(wanted).await.ok().map(|state| state.clone())
    }

    /// Ends the client: acknowledges what was shown, closes the connection, fails what is not answered.
    pub async fn close(&self) {
        if self.requests.send(Request::Close).await.is_ok() {
            let mut state = self.state.clone();
            // An error means that the task has ended, which is what is waited for.
            let _ = state.wait_for(|state| matches!(state, State::Closed { .. })).await;
        }
    }

    async fn call(&self, command: Command) -> Result<ServerPacket, RequestError> {
        let (done, answer) = oneshot::channel();
        self.request(Request::Call(Box::new(command), done)).await?;
        answer.await.map_or(Err(RequestError::Closed), |answer| *answer)
    }

    async fn request(&self, request: Request) -> Result<(), RequestError> {
        self.requests.send(request).await.map_err(|_| RequestError::Closed)
    }

    /// Bytes of a send on the wire at most: with the longest id, and as a repeat.
    fn encoded_bytes(&self, send: &Send) -> usize {
        let mut bytes = Vec::with_capacity(send.body.len() + 256);
        encode_command(self.format, &Command::send(u64::MAX, Send { retry: true, ..send.clone() }), &mut bytes);
        bytes.len()
    }
}

/// The target that a conversation stands for, as `me` sees it; `None` for notices of the server.
#[must_use]
pub fn target_of(conv: &ConversationId, me: &str) -> Option<Target> {
    use ringway_engine::ids::ConversationKind;
    match conv.kind() {
        ConversationKind::P2p(low, high) => Some(user(if low == me { high } else { low })),
        ConversationKind::Group(id) => Some(group(id)),
        ConversationKind::System(_) => None,
    }
}
