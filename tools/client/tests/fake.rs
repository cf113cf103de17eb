//! What a real server cannot be made to do at a chosen moment: die between taking a message and
//! answering for it, refuse on command, lose pushes, change its mind about the token.
//!
//! The server here is a script: each connection is handed to the test, which answers by hand.

// The last is the type that tungstenite asks of an upgrade callback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::result_large_err)]

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{SinkExt as _, StreamExt as _};
use ringway_client::{
    AckMode, Client, Draft, Event, Events, Format, MemoryStore, Options, RequestError, State, TokenError, TokenSource,
    user,
};
use ringway_engine::errors::{CloseCode, ErrorCode};
use ringway_engine::packet::schema::{Connect, Connected, Message, Messages, Sent, ServerPacket};
use ringway_engine::packet::{Request, decode_commands, encode};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message as Frame;
use tokio_tungstenite::tungstenite::handshake::server::{Request as Upgrade, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const PATIENCE: Duration = Duration::from_secs(20);
const CONV: &str = "p2p:alice:bob";

struct Server {
    listener: TcpListener,
}

struct Peer {
    socket: WebSocketStream<TcpStream>,
    format: Format,
    queued: std::collections::VecDeque<(u64, Request)>,
}

impl Server {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", listener.local_addr().unwrap());
        (Self { listener }, url)
    }

    /// The next connection and its `connect`.
    async fn accept(&self) -> (Peer, u64, Connect) {
        let (stream, _) = tokio::time::timeout(PATIENCE, self.listener.accept()).await.unwrap().unwrap();
        let mut format = None;
        let agree = |request: &Upgrade, mut response: Response| {
            let asked = request.headers().get("sec-websocket-protocol").unwrap().clone();
            format = Format::from_subprotocol(asked.to_str().unwrap());
            response.headers_mut().insert("sec-websocket-protocol", asked);
            Ok(response)
        };
        let socket = tokio_tungstenite::accept_hdr_async(stream, agree).await.unwrap();
        let mut peer = Peer { socket, format: format.unwrap(), queued: Default::default() };
        let (id, Request::Connect(connect)) = peer.command().await else { panic!("not a connect") };
        (peer, id, connect)
    }

    /// The next connection, answered with `connected`.
    async fn connected(&self) -> (Peer, Connect) {
        let (mut peer, id, connect) = self.accept().await;
        peer.welcome(id, &connect, 30).await;
        (peer, connect)
    }
}

impl Peer {
    async fn welcome(&mut self, id: u64, connect: &Connect, heartbeat_s: u32) {
        let recovered = connect.resume.keys().map(|conv| (conv.clone(), true)).collect();
        let connected = Connected { uid: "alice".into(), heartbeat_s, recovered, ..Connected::default() };
        self.say(ServerPacket::connected(id, connected)).await;
    }

    async fn command(&mut self) -> (u64, Request) {
        tokio::time::timeout(PATIENCE, self.next_command()).await.unwrap().expect("the client hung up")
    }

    /// The next command; `None` when the client hung up.
    async fn next_command(&mut self) -> Option<(u64, Request)> {
        while self.queued.is_empty() {
            match self.socket.next().await?.ok()? {
                Frame::Close(_) => return None,
                frame => {
                    let queued = &mut self.queued;
                    decode_commands(self.format, &frame.into_data(), &mut |one| queued.push_back(one.unwrap()))
                        .unwrap();
                }
            }
        }
        self.queued.pop_front()
    }

    /// The next `send`, acknowledgements passed over.
    async fn send(&mut self) -> (u64, ringway_engine::packet::schema::Send) {
        loop {
            match self.command().await {
                (id, Request::Send(send)) => return (id, send),
                (_, Request::Ack(_)) => {}
                other => panic!("expected a send: {other:?}"),
            }
        }
    }

    async fn say(&mut self, packet: ServerPacket) {
        let mut bytes = Vec::new();
        encode(self.format, &packet, &mut bytes);
        let text = self.format.is_text();
        let frame = if text { Frame::text(String::from_utf8(bytes).unwrap()) } else { Frame::binary(bytes) };
        self.socket.send(frame).await.unwrap();
    }

    async fn accept_send(&mut self, id: u64, seq: u64) {
        let sent = Sent { conv: CONV.into(), msg_id: 1_000 + seq, epoch: 1, seq, ts: 1 };
        self.say(ServerPacket::sent(id, sent)).await;
    }

    async fn close(mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.code().into(), reason: code.name().into() };
        let _ = self.socket.close(Some(frame)).await;
    }
}

fn options(url: &str) -> Options {
    let mut options = Options::new(url, "laptop", "token".to_owned());
    options.backoff = ringway_client::backoff::Bounds { base_ms: 5, cap_ms: 20 };
    options
}

fn message(seq: u64) -> Message {
    Message { conv: CONV.into(), epoch: 1, seq, msg_id: 1_000 + seq, from: "bob".into(), ..Message::default() }
}

async fn next_state(events: &mut Events) -> State {
    loop {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().expect("the client ended");
        if let Event::State(state) = event {
            return state;
        }
    }
}

async fn seqs(events: &mut Events, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        let event = tokio::time::timeout(PATIENCE, events.next()).await.unwrap().expect("the client ended");
        if let Event::Message(message) = event {
            seqs.push(message.seq);
        }
    }
    seqs
}

#[tokio::test]
async fn a_send_that_was_taken_but_not_answered_goes_again_first_under_its_id() {
    for format in Format::ALL {
        let (server, url) = Server::start().await;
        let (client, mut events) = Client::connect(Options { format, ..options(&url) }).unwrap();
        let (mut peer, _) = server.connected().await;

        let first = client.enqueue(Draft::text(user("bob"), "one")).await.unwrap();
        let second = client.enqueue(Draft::text(user("bob"), "two")).await.unwrap();
        let (_, taken) = peer.send().await;
        assert!(!taken.retry && taken.client_msg_id == first.client_msg_id());
        drop(peer);

        let (mut peer, _) = server.connected().await;
        let (id, again) = peer.send().await;
        assert!(again.retry && again.client_msg_id == first.client_msg_id() && again.body == "one");
        peer.accept_send(id, 1).await;
        let (id, after) = peer.send().await;
        assert!(!after.retry && after.client_msg_id == second.client_msg_id());
        peer.accept_send(id, 2).await;
        assert_eq!((first.await.unwrap().seq, second.await.unwrap().seq), (1, 2));
        assert_eq!(seqs(&mut events, 2).await, [1, 2]);
    }
}

#[tokio::test]
async fn the_states_tell_the_way_back() {
    let (server, url) = Server::start().await;
    let (_client, mut events) = Client::connect(options(&url)).unwrap();
    let (peer, _) = server.connected().await;
    assert!(matches!(next_state(&mut events).await, State::Connecting { attempt: 0, .. }));
    assert!(matches!(next_state(&mut events).await, State::Connected { uid, .. } if uid == "alice"));
    peer.close(CloseCode::SlowReader).await;
    assert!(matches!(next_state(&mut events).await, State::Waiting { reason, .. } if reason.contains("slow_reader")));
    assert!(matches!(next_state(&mut events).await, State::Connecting { attempt: 1, .. }));
    let (mut peer, _) = server.connected().await;
    assert!(matches!(next_state(&mut events).await, State::Connected { .. }));
    peer.say(ServerPacket::kicked("same_device")).await;
    peer.close(CloseCode::KickedSameDevice).await;
    let State::Closed { code, reason } = next_state(&mut events).await else { panic!() };
    assert_eq!((code, reason.as_str()), (CloseCode::KickedSameDevice.code(), "same_device"));
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_busy_server_gets_the_same_send_again_before_later_ones() {
    let (server, url) = Server::start().await;
    let (client, _events) = Client::connect(options(&url)).unwrap();
    let (mut peer, _) = server.connected().await;
    let mut sends = Vec::new();
    for n in 0..3 {
        sends.push(client.enqueue(Draft::text(user("bob"), n.to_string())).await.unwrap());
    }
    for _ in 0..3 {
        let (id, send) = peer.send().await;
        assert_eq!(send.body, "0");
        let mut busy = ErrorCode::Busy.reply("full");
        busy.retry_after_ms = 1;
        peer.say(ServerPacket { id, error: Some(busy), ..ServerPacket::default() }).await;
    }
    for seq in 1..=3 {
        let (id, send) = peer.send().await;
        assert_eq!(send.body, (seq - 1).to_string());
        peer.accept_send(id, seq).await;
    }
    for (send, seq) in sends.into_iter().zip(1..) {
        assert_eq!(send.await.unwrap().seq, seq);
    }
}

#[tokio::test]
async fn a_refused_send_fails_alone() {
    let (server, url) = Server::start().await;
    let (client, _events) = Client::connect(options(&url)).unwrap();
    let (mut peer, _) = server.connected().await;
    let refused = client.enqueue(Draft::text(user("bob"), "no")).await.unwrap();
    let fine = client.enqueue(Draft::text(user("bob"), "yes")).await.unwrap();
    let (id, _) = peer.send().await;
    peer.say(ServerPacket::error(id, ErrorCode::Forbidden, "blocked")).await;
    let (id, _) = peer.send().await;
    peer.accept_send(id, 1).await;
    assert!(matches!(refused.await, Err(RequestError::Refused(error)) if error.code == ErrorCode::Forbidden.code()));
    assert_eq!(fine.await.unwrap().seq, 1);
    let too_large = client.enqueue(Draft::text(user("bob"), "\u{1}".repeat(20_000))).await;
    assert!(too_large.is_ok(), "deflated it fits");
    let noise: String =
        (0..60_000_u32).filter_map(|n| char::from_u32(0x4e00 + n.wrapping_mul(2_654_435_761) % 20_000)).collect();
    assert!(matches!(client.enqueue(Draft::text(user("bob"), noise)).await, Err(RequestError::TooLarge(_))));
}

#[tokio::test]
async fn a_resume_names_what_is_complete_and_the_lost_rest_is_read() {
    let (server, url) = Server::start().await;
    let store = MemoryStore::default();
    let mut setup = options(&url);
    setup.store = Box::new(store.clone());
    setup.acks = AckMode::Immediate;
    let (_client, mut events) = Client::connect(setup).unwrap();
    let (mut peer, connect) = server.connected().await;
    assert!(connect.resume.is_empty());
    // 3 is missing: it can neither be shown nor acknowledged nor resumed from.
    for seq in [1, 2, 4] {
        peer.say(ServerPacket::message(message(seq))).await;
    }
    assert_eq!(seqs(&mut events, 2).await, [1, 2]);
    let mut acked = 0;
    while acked < 2 {
        let (_, Request::Ack(point)) = peer.command().await else { panic!("expected an ack") };
        acked = point.seq;
    }
    drop(peer);

    let (mut peer, id, connect) = server.accept().await;
    let point = connect.resume.get(CONV).unwrap();
    assert_eq!((point.epoch, point.seq), (1, 2));
    let recovered = [(CONV.to_owned(), false)].into();
    peer.say(ServerPacket::connected(id, Connected { recovered, ..Connected::default() })).await;
    let (id, Request::Sync(sync)) = peer.command().await else { panic!("expected a sync") };
    assert_eq!(sync.after_seq, 2);
    let page = Messages { conv: CONV.into(), items: vec![message(3), message(4)], head: 5, more: true };
    peer.say(ServerPacket::messages(id, page)).await;
    assert_eq!(seqs(&mut events, 2).await, [3, 4]);
    loop {
        match peer.command().await {
            (id, Request::Sync(sync)) => {
                assert_eq!(sync.after_seq, 4);
                let page = Messages { conv: CONV.into(), items: vec![message(5)], head: 5, more: false };
                peer.say(ServerPacket::messages(id, page)).await;
                break;
            }
            (_, Request::Ack(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(seqs(&mut events, 1).await, [5]);
    assert_eq!(store.messages(CONV).len(), 5);

    // A second client over the same store goes on where the first one was.
    let mut setup = options(&url);
    setup.store = Box::new(store);
    let (_client, _events) = Client::connect(setup).unwrap();
    let (_, _, connect) = server.accept().await;
    assert_eq!(connect.resume.get(CONV).unwrap().seq, 5);
}

#[tokio::test]
async fn a_silent_server_is_pinged_and_then_left() {
    let (server, url) = Server::start().await;
    let mut setup = options(&url);
    setup.heartbeat_ms = Some(50);
    let (_client, mut events) = Client::connect(setup).unwrap();
    let (mut peer, _) = server.connected().await;
    let (id, ping) = peer.command().await;
    assert_eq!(ping, Request::Ping);
    peer.say(ServerPacket::pong(id)).await;
    assert!(matches!(peer.command().await, (_, Request::Ping)));
    // Unanswered: the client hangs up and comes back.
    assert!(tokio::time::timeout(PATIENCE, peer.next_command()).await.unwrap().is_none());
    while !matches!(next_state(&mut events).await, State::Waiting { reason, .. } if reason.contains("silent")) {}
    server.connected().await;
}

#[tokio::test]
async fn a_draining_server_is_left_when_everything_is_answered_and_its_wait_is_kept() {
    let (server, url) = Server::start().await;
    let (other, moved) = Server::start().await;
    let (client, mut events) = Client::connect(options(&url)).unwrap();
    let (mut peer, _) = server.connected().await;
    let first = client.enqueue(Draft::text(user("bob"), "one")).await.unwrap();
    let (id, _) = peer.send().await;
    peer.say(ServerPacket::reconnect(300, vec![moved.clone()])).await;
    peer.accept_send(id, 1).await;
    assert_eq!(first.await.unwrap().seq, 1);
    assert!(tokio::time::timeout(PATIENCE, async { while peer.next_command().await.is_some() {} }).await.is_ok());
    let until = loop {
        if let State::Waiting { until, .. } = next_state(&mut events).await {
            break until;
        }
    };
    assert!(until > std::time::Instant::now() + Duration::from_millis(100));
    assert!(matches!(next_state(&mut events).await, State::Connecting { url, .. } if url == moved));
    other.connected().await;
}

/// Gives `old`, and `new` when a fresh one is asked for.
struct Renewing;

#[async_trait]
impl TokenSource for Renewing {
    async fn token(&self, fresh: bool) -> Result<String, TokenError> {
        Ok(if fresh { "new".to_owned() } else { "old".to_owned() })
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_a_static_one_ends_the_client() {
    let (server, url) = Server::start().await;
    let mut setup = Options::new(&url, "laptop", Renewing);
    setup.backoff = ringway_client::backoff::Bounds { base_ms: 5, cap_ms: 20 };
    let (_client, mut events) = Client::connect(setup).unwrap();
    for expected in ["old", "new"] {
        let (mut peer, id, connect) = server.accept().await;
        assert_eq!(connect.token, expected);
        peer.say(ServerPacket::error(id, ErrorCode::TokenExpired, "expired")).await;
        peer.close(CloseCode::TokenRefused).await;
    }
    while !matches!(next_state(&mut events).await, State::Closed { .. }) {}

    let (client, mut events) = Client::connect(options(&url)).unwrap();
    let pending = client.enqueue(Draft::text(user("bob"), "one")).await.unwrap();
    let (mut peer, id, _) = server.accept().await;
    peer.say(ServerPacket::error(id, ErrorCode::TokenRefused, "no")).await;
    while !matches!(next_state(&mut events).await, State::Closed { .. }) {}
    assert_eq!(pending.await, Err(RequestError::Closed));
    assert_eq!(client.send(user("bob"), "two").await, Err(RequestError::Closed));
}

#[tokio::test]
async fn an_expiring_token_is_replaced_while_connected() {
    let (server, url) = Server::start().await;
    let (_client, _events) = Client::connect(Options::new(&url, "laptop", Renewing)).unwrap();
    let (mut peer, id, _) = server.accept().await;
    peer.say(ServerPacket::connected(id, Connected { expires_in_s: 1, ..Connected::default() })).await;
    let (_, Request::Refresh(refresh)) = peer.command().await else { panic!("expected a refresh") };
    assert_eq!(refresh.token, "new");
}

#[tokio::test]
async fn large_bodies_travel_small_and_arrive_whole() {
    let (server, url) = Server::start().await;
    let (client, mut events) = Client::connect(options(&url)).unwrap();
    let (mut peer, _) = server.connected().await;
    let body = "the same words again ".repeat(10_000);
    let pending = client.enqueue(Draft::text(user("bob"), body.clone())).await.unwrap();
    let (id, send) = peer.send().await;
    assert!(send.enc == "deflate" && send.body.len() < 10_000);
    peer.accept_send(id, 1).await;
    pending.await.unwrap();
    peer.say(ServerPacket::message(Message { enc: send.enc, body: send.body, ..message(2) })).await;
    for _ in 0..2 {
        let shown = loop {
            if let Event::Message(message) = events.next().await.unwrap() {
                break message;
            }
        };
        assert!(shown.body == body && shown.enc.is_empty());
    }
}

#[tokio::test]
async fn calls_outlive_a_connection_and_closing_acknowledges() {
    let (server, url) = Server::start().await;
    let (client, mut events) = Client::connect(options(&url)).unwrap();
    let (mut peer, _) = server.connected().await;
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.sync(CONV, 0, 10).await }
    });
    assert!(matches!(peer.command().await, (_, Request::Sync(_))));
    drop(peer);
    let (mut peer, _) = server.connected().await;
    let (id, _) = peer.command().await;
    let page = Messages { conv: CONV.into(), items: vec![message(1)], head: 1, more: false };
    peer.say(ServerPacket::messages(id, page)).await;
    assert_eq!(asking.await.unwrap().unwrap().items.len(), 1);

    peer.say(ServerPacket::message(message(1))).await;
    assert_eq!(seqs(&mut events, 1).await, [1]);
    let closing = tokio::spawn(async move { client.close().await });
    let Some((_, Request::Ack(point))) = peer.next_command().await else { panic!("expected an ack") };
    assert_eq!(point.seq, 1);
    assert!(peer.next_command().await.is_none());
    closing.await.unwrap();
    while !matches!(next_state(&mut events).await, State::Closed { code: 1000, .. }) {}
}

#[tokio::test]
async fn an_application_that_does_not_listen_can_still_send() {
    let (server, url) = Server::start().await;
    let (client, events) = Client::connect(options(&url)).unwrap();
    drop(events);
    let (mut peer, _) = server.connected().await;
    let asking = tokio::spawn(async move {
        for _ in 0..50 {
            client.send(user("bob"), "x").await.unwrap();
        }
    });
    for seq in 1..=50 {
        let (id, _) = peer.send().await;
        peer.accept_send(id, seq).await;
    }
    asking.await.unwrap();
}

#[tokio::test]
async fn a_slow_application_stops_the_reading_and_misses_nothing() {
    let (server, url) = Server::start().await;
    let (_client, mut events) = Client::connect(options(&url)).unwrap();
    let (mut peer, _) = server.connected().await;
    let pushing = tokio::spawn(async move {
        for seq in 1..=5_000 {
            peer.say(ServerPacket::message(message(seq))).await;
        }
        peer
    });
    assert_eq!(seqs(&mut events, 5_000).await, (1..=5_000).collect::<Vec<_>>());
    pushing.await.unwrap();
}
