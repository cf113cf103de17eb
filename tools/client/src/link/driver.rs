//! The task of a client: drives the core over one connection after the other.
//!
//! Owns the socket, the clock and the channels; decides nothing that the core can decide. Runs on the
//! tokio runtime on which the client was made. It ends when the client is closed, when every handle is
//! dropped, or when the server says not to come back; aborting it loses what was not sent.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{Sink as _, Stream as _};
use ringway_engine::packet::decode_server;
use ringway_engine::packet::schema::{Command, Point, Send, Sent};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::tungstenite::Message as Frame;
use tracing::{debug, warn};

use super::dial::{Dial, Dialed, End, Socket, dial};
use super::frame::{self, Gather};
use crate::core::{Answer, Core, Effect, Verdict};
use crate::error::RequestError;
use crate::event::{Event, State};
use crate::limits::{EVENTS_MAX, STABLE_MS};
use crate::options::Options;
use crate::outbox::Ticket;
use crate::token::TokenError;

/// A send on its way to the core.
pub(crate) struct SendRequest {
    pub(crate) send: Send,
    pub(crate) done: oneshot::Sender<Result<Sent, RequestError>>,
}

/// What handles ask for besides sends.
pub(crate) enum Request {
    Call(Box<Command>, oneshot::Sender<Answer>),
    Transient(Box<Command>),
    Ack(Point),
    Close,
}

type Renewal = Pin<Box<dyn Future<Output = Result<String, TokenError>> + std::marker::Send>>;

/// What the socket had to say.
enum Io {
    Written,
    Got(Frame),
    Failed(String),
}

pub(crate) struct Driver {
    options: Options,
    core: Core,
    sends: mpsc::Receiver<SendRequest>,
    requests: mpsc::Receiver<Request>,
    events: mpsc::Sender<Event>,
    state: watch::Sender<State>,
    /// Events that the application has not taken yet.
    untaken: VecDeque<Event>,
    sent: HashMap<Ticket, oneshot::Sender<Result<Sent, RequestError>>>,
    called: HashMap<u64, oneshot::Sender<Answer>>,
    started: Instant,
    attempt: u32,
    moved_to: Vec<String>,
    fresh_token: bool,
    closing: bool,
}

impl Driver {
    pub(crate) fn new(
        options: Options,
        core: Core,
        sends: mpsc::Receiver<SendRequest>,
        requests: mpsc::Receiver<Request>,
        events: mpsc::Sender<Event>,
        state: watch::Sender<State>,
    ) -> Self {
        Self {
            options,
            core,
            sends,
            requests,
            events,
            state,
            untaken: VecDeque::new(),
            sent: HashMap::new(),
            called: HashMap::new(),
            started: Instant::now(),
            attempt: 0,
            moved_to: Vec::new(),
            fresh_token: false,
            closing: false,
        }
    }

    pub(crate) async fn run(mut self) {
        let (code, reason) = loop {
            let end = match self.connect().await {
                Some(Ok(dialed)) => self.serve(dialed).await,
                Some(Err(end)) => Some(end),
                None => None,
            };
            let leaving = self.core.leaving().cloned();
            let kicked = self.core.kicked().map(str::to_owned);
            let now_ms = self.now_ms();
            self.core.handle_disconnected(now_ms);
            let (reason, at_least_ms) = match end {
                None => break (1000, "closed by the application".to_owned()),
                Some(End::Closed { code, reason }) => break (code, kicked.unwrap_or(reason)),
                Some(End::Token { code, reason }) => {
                    if self.fresh_token || !self.options.token.renewable() {
                        break (code, reason);
                    }
                    self.fresh_token = true;
                    (reason, 0)
                }
                Some(End::Lost { reason, at_least_ms }) => (reason, at_least_ms),
            };
            let wait_ms = match leaving {
                // Already spread over the clients by the server.
                Some(reconnect) => {
                    self.moved_to = reconnect.to;
                    reconnect.after_ms
                }
                None => self.core.wait_ms(self.options.backoff, self.attempt, at_least_ms),
            };
            self.attempt = self.attempt.saturating_add(1);
            debug!(wait_ms, reason, "waiting before the next attempt");
            let wait = Duration::from_millis(wait_ms);
            self.tell_state(State::Waiting { until: Instant::now() + wait, reason });
            if self.while_away(tokio::time::sleep(wait)).await.is_none() {
                break (1000, "closed by the application".to_owned());
            }
        };
        self.finish(code, reason).await;
    }

    /// One attempt; `None` when the application closes meanwhile.
    async fn connect(&mut self) -> Option<Result<Dialed, End>> {
        let url = self.next_url();
        self.tell_state(State::Connecting { attempt: self.attempt, url: url.clone() });
        let attempt = dial(Dial {
            url,
            token: self.options.token.clone(),
            fresh_token: self.fresh_token,
            id: self.core.next_id(),
            device: self.options.device.clone(),
            platform: self.options.platform.clone(),
            resume: self.core.resume_points(),
            format: self.options.format,
            connector: self.options.connector.clone(),
        });
        self.while_away(attempt).await
    }

    /// Where the server sent us first, then the configured gateways in turn.
    fn next_url(&mut self) -> String {
        let current = self.options.urls.iter().cycle().nth(self.attempt as usize % self.options.urls.len().max(1));
        let configured = current.cloned().unwrap_or_default();
        if self.moved_to.is_empty() {
            return configured;
        }
        let moved = self.moved_to.remove(0);
        moved_url(&configured, &moved).unwrap_or(configured)
    }

    /// Waits for `future` while requests are taken in; `None` when the application closes.
    async fn while_away<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                out = &mut future => return Some(out),
                () = self.take_input() => {
                    if self.closing {
                        return None;
                    }
                }
            }
        }
    }

    /// Drives one connection to its end; `None` when the application closed.
    async fn serve(&mut self, dialed: Dialed) -> Option<End> {
        let Dialed { mut socket, connected, early } = dialed;
        let since = Instant::now();
        let now_ms = self.now_ms();
        self.core.handle_connected(&connected, now_ms);
        self.fresh_token = false;
        self.moved_to.clear();
        let mut renewal = self.renewal(connected.expires_in_s);
        self.tell_state(State::Connected {
            uid: connected.uid,
            session: connected.session,
            recovered: connected.recovered,
        });
        for packet in early {
            self.core.handle_packet(packet, now_ms);
        }
        let end = self.exchange(&mut socket, &mut renewal).await;
        if since.elapsed() >= Duration::from_millis(STABLE_MS) {
            self.attempt = 0;
        }
        let goodbye = async {
            let _ = socket.close(None).await;
        };
        // Bounded: the peer may be gone. Nothing that matters is lost when it is.
        let _ = tokio::time::timeout(Duration::from_millis(500), goodbye).await;
        end
    }

    async fn exchange(&mut self, socket: &mut Socket, renewal: &mut Renewal) -> Option<End> {
        let mut gather = Gather::new(self.options.format);
        let mut outgoing: Option<Frame> = None;
        let mut dirty = false;
        let mut was_reading = true;
        loop {
            self.carry_out();
            let now_ms = self.now_ms();
            let reading = self.untaken.len() < EVENTS_MAX;
            if reading && !was_reading {
                // Nothing was read for a while: that says nothing of the server.
                self.core.handle_traffic(now_ms);
            }
            was_reading = reading;
            match self.core.verdict(now_ms, reading) {
                Verdict::Keep => {}
                Verdict::Dead(reason) => return Some(End::lost(reason)),
                Verdict::Leave => return Some(End::lost("the server drains")),
            }
            if !dirty {
                if self.closing {
                    self.core.hurry_acks();
                }
                outgoing = gather.frame(|| self.core.poll_command(now_ms));
                dirty = outgoing.is_some();
                if self.closing && !dirty {
                    return None;
                }
            }
            let wake = self.wake_at(dirty, reading);
            tokio::select! {
                io = poll_fn(|cx| poll_socket(socket, &mut outgoing, dirty, reading, cx)) => match io {
                    Io::Written => dirty = false,
                    Io::Failed(reason) => return Some(End::lost(reason)),
                    Io::Got(Frame::Close(close)) => {
                        let (code, reason) = frame::close_reason(close);
                        return Some(End::from_close(code, reason));
                    }
                    Io::Got(got) => {
                        if let Err(end) = self.take_frame(&got) {
                            return Some(end);
                        }
                    }
                },
                () = self.take_input() => {}
                () = tokio::time::sleep_until(wake.into()) => {}
                token = &mut *renewal => {
                    *renewal = never();
                    match token {
                        Ok(token) => self.core.handle_token(token),
                        // The server closes with `token_expired` in the end, and then there is another try.
                        Err(error) => warn!(%error, "the access token could not be renewed"),
                    }
                }
            }
        }
    }

    fn wake_at(&self, dirty: bool, reading: bool) -> Instant {
        // While a frame is being written nothing more is polled: only the verdict can change.
        let due_ms = if dirty { Some(self.now_ms() + 1_000) } else { self.core.deadline(reading) };
        self.started + Duration::from_millis(due_ms.unwrap_or(u64::from(u32::MAX)))
    }

    /// A future that renews the token when four fifths of its time are over.
    fn renewal(&self, expires_in_s: u32) -> Renewal {
        if expires_in_s == 0 || !self.options.token.renewable() {
            return never();
        }
        let token = self.options.token.clone();
        let wait = Duration::from_millis(u64::from(expires_in_s) * 800);
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            token.token(true).await
        })
    }

    /// Waits for one thing from the application, and takes it. Nothing is lost when it is dropped.
    async fn take_input(&mut self) {
        let started = self.started;
        let Self { sends, requests, events, untaken, core, sent, called, closing, .. } = self;
        let (takes_sends, takes_calls) = (core.takes_sends() && !sends.is_closed(), core.takes_calls());
        tokio::select! {
            request = sends.recv(), if takes_sends => {
                if let Some(SendRequest { send, done }) = request {
                    sent.insert(core.handle_send(send, elapsed_ms(started)), done);
                }
            }
            request = requests.recv(), if takes_calls => match request {
                Some(Request::Call(command, done)) => {
                    called.insert(core.handle_call(*command), done);
                }
                Some(Request::Transient(command)) => core.handle_transient(*command),
                Some(Request::Ack(point)) => core.handle_ack(point, elapsed_ms(started)),
                Some(Request::Close) | None => *closing = true,
            },
            permit = events.reserve(), if !untaken.is_empty() => match permit {
                Ok(permit) => {
                    if let Some(event) = untaken.pop_front() {
                        permit.send(event);
                    }
                }
                // Nobody listens: an application that only sends.
                Err(_) => untaken.clear(),
            },
            // Everything is full: only the socket can make room.
            else => std::future::pending().await,
        }
    }

    fn take_frame(&mut self, got: &Frame) -> Result<(), End> {
        let now_ms = self.now_ms();
        self.core.handle_traffic(now_ms);
        let core = &mut self.core;
        decode_server(self.options.format, frame::payload(got), &mut |packet| core.handle_packet(packet, now_ms))
            .map_err(|error| End::lost(format!("not the protocol: {error}")))
    }

    /// Does what the core wants done.
    fn carry_out(&mut self) {
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Event(event) => self.tell(event),
                Effect::Moved(conv, point) => self.options.store.moved(&conv, point),
                // A caller that no longer waits does not want to know.
                Effect::Sent(ticket, result) => drop(self.sent.remove(&ticket).map(|done| done.send(result))),
                Effect::Called(call, result) => drop(self.called.remove(&call).map(|done| done.send(result))),
            }
        }
    }

    fn tell(&mut self, event: Event) {
        if let Event::Message(message) = &event {
            self.options.store.keep(message);
        }
        if self.events.is_closed() {
            return;
        }
        if self.untaken.is_empty()
            && let Ok(permit) = self.events.try_reserve()
        {
            permit.send(event);
        } else {
            self.untaken.push_back(event);
        }
    }

    fn tell_state(&mut self, state: State) {
        self.state.send_replace(state.clone());
        self.tell(Event::State(state));
    }

    /// Tells everybody that it is over, and hands out the events left.
    async fn finish(mut self, code: u16, reason: String) {
        self.sends.close();
        self.requests.close();
        let now_ms = self.now_ms();
        self.core.handle_closed(now_ms);
        self.carry_out();
        while let Ok(request) = self.sends.try_recv() {
            drop(request.done.send(Err(RequestError::Closed)));
        }
        while let Ok(request) = self.requests.try_recv() {
            if let Request::Call(_, done) = request {
                drop(done.send(Box::new(Err(RequestError::Closed))));
            }
        }
        self.tell_state(State::Closed { code, reason });
        drop(self.state);
        for event in self.untaken {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    fn now_ms(&self) -> u64 {
        elapsed_ms(self.started)
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}

fn never() -> Renewal {
    Box::pin(std::future::pending())
}

/// Writes `outgoing`, flushes while `dirty`, reads while `reading`. Writing goes first, so that a
/// server that answers without end cannot keep commands back.
fn poll_socket(
    socket: &mut Socket,
    outgoing: &mut Option<Frame>,
    dirty: bool,
    reading: bool,
    cx: &mut Context<'_>,
) -> Poll<Io> {
    if outgoing.is_some()
        && let Poll::Ready(ready) = Pin::new(&mut *socket).poll_ready(cx)
    {
        let started = ready.and_then(|()| match outgoing.take() {
            Some(frame) => Pin::new(&mut *socket).start_send(frame),
            None => Ok(()),
        });
        if let Err(error) = started {
            return Poll::Ready(Io::Failed(error.to_string()));
        }
    }
    if dirty
        && outgoing.is_none()
        && let Poll::Ready(flushed) = Pin::new(&mut *socket).poll_flush(cx)
    {
        return Poll::Ready(flushed.map_or_else(|error| Io::Failed(error.to_string()), |()| Io::Written));
    }
    if reading && let Poll::Ready(got) = Pin::new(socket).poll_next(cx) {
        return Poll::Ready(match got {
            Some(Ok(frame)) => Io::Got(frame),
            Some(Err(error)) => Io::Failed(error.to_string()),
            None => Io::Failed("the connection was closed".to_owned()),
        });
    }
    Poll::Pending
}

/// The URL for an address that a `reconnect` push named: a whole URL, or host and port. Never from
/// TLS to none.
fn moved_url(current: &str, moved: &str) -> Option<String> {
    let current = url::Url::parse(current).ok()?;
    if moved.contains("://") {
        let moved = url::Url::parse(moved).ok()?;
        let kept = moved.scheme() == "wss" || (moved.scheme() == "ws" && current.scheme() == "ws");
        return kept.then(|| moved.to_string());
    }
    url::Url::parse(&format!("{}://{moved}{}", current.scheme(), current.path())).ok().map(|url| url.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_keeps_the_path_and_never_gives_up_tls() {
        let moved = |current, to| moved_url(current, to);
        assert_eq!(moved("ws://a:1/v1/ws", "b:2").unwrap(), "ws://b:2/v1/ws");
        assert_eq!(moved("wss://a/v1/ws", "b").unwrap(), "wss://b/v1/ws");
        assert_eq!(moved("ws://a/v1/ws", "wss://b/v1/ws").unwrap(), "wss://b/v1/ws");
        assert_eq!(moved("wss://a/v1/ws", "ws://b/v1/ws"), None);
        assert_eq!(moved("wss://a/v1/ws", "http://b/"), None);
    }
}
