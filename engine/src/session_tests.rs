//! A session from its first command to its close.

use super::*;
use crate::limits::HEARTBEAT_MS;
use crate::packet::schema::{Empty, Point, Send, Signal, Target, Typing};

const T0: u64 = 1_000_000;

struct Client {
    session: Session,
    names: Names,
    effects: Vec<SessionEffect<'static>>,
}

impl Client {
    fn new() -> Self {
        Self { session: Session::new(3, 77, T0), names: Names::default(), effects: Vec::new() }
    }

    fn connected() -> Self {
        let mut client = Self::new();
        client.request(1, connect());
        client.session.handle_opened(identity(), u64::MAX);
        client.session.handle_attached(ServerPacket::default(), &mut client.names, &mut client.effects);
        client.effects.clear();
        client
    }

    fn request(&mut self, id: u64, request: Request) {
        self.session.handle_request(Ok((id, request.into())), &mut self.names, &mut self.effects);
    }

    fn error(&self) -> Option<u32> {
        self.effects.iter().find_map(|effect| match effect {
            SessionEffect::Reply(packet) => packet.error.as_ref().map(|error| error.code),
            _ => None,
        })
    }

    fn closed(&self) -> Option<CloseCode> {
        self.effects.iter().find_map(|effect| if let SessionEffect::Close(code) = effect { Some(*code) } else { None })
    }
}

fn connect() -> Request {
    Request::Connect(Connect { token: "t".into(), device: "phone-1".into(), ..Connect::default() })
}

fn identity() -> Arc<Identity> {
    Arc::new(Identity { uid: Uid::parse("a").unwrap(), device: DeviceId::parse("phone-1").unwrap() })
}

fn send_to(user: &str, group: &str, client_msg_id: &str) -> Request {
    let to = Some(Target { user: user.into(), group: group.into() });
    Request::Send(Send { to, client_msg_id: client_msg_id.into(), body: "hi".into(), ..Send::default() })
}

#[test]
fn commands_before_connect_are_refused_and_the_connection_lives() {
    let mut client = Client::new();
    client.request(1, Request::Ping);
    assert_eq!((client.error(), client.closed()), (Some(ErrorCode::NotConnected.code()), None));
}

#[test]
fn commands_behind_connect_are_served_after_it_in_order() {
    let mut client = Client::new();
    client.request(1, connect());
    client.request(2, send_to("b", "", "m-1"));
    client.request(3, Request::Ping);
    client.session.handle_opened(identity(), u64::MAX);
    assert_eq!(client.effects.len(), 1, "only `Open` so far");
    let connected = ServerPacket { connected: Some(Default::default()), ..ServerPacket::default() };
    client.session.handle_attached(connected, &mut client.names, &mut client.effects);
    match &client.effects[1..] {
        [SessionEffect::Reply(connected), SessionEffect::Submit(message), SessionEffect::Reply(pong)] => {
            assert!(connected.connected.is_some() && connected.id == 1);
            assert_eq!(message.conv.as_str(), "p2p:a:b");
            assert_eq!(message.origin, Origin { shard: 3, connection: 77, command: 2, taken_us: 0 });
            assert_eq!((pong.id, pong.pong), (3, Some(Empty {})));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn bad_values_are_refused_each_with_its_code_and_the_connection_lives() {
    let cases = [
        (connect(), ErrorCode::AlreadyConnected),
        (send_to("", "", "m"), ErrorCode::InvalidArgument),
        (send_to("b", "g", "m"), ErrorCode::InvalidArgument),
        (send_to("B!", "", "m"), ErrorCode::InvalidArgument),
        (send_to("b", "", ""), ErrorCode::InvalidArgument),
        (send_to("b", "", "a\u{1}b"), ErrorCode::InvalidArgument),
        (Request::Send(Send { kind: "system".into(), ..as_send(send_to("b", "", "m")) }), ErrorCode::Forbidden),
        (Request::Send(Send { enc: "zip".into(), ..as_send(send_to("b", "", "m")) }), ErrorCode::InvalidArgument),
        (Request::Sync(Sync { conv: "p2p:b:c".into(), ..Sync::default() }), ErrorCode::NotAMember),
        (Request::Sync(Sync { conv: "nonsense".into(), ..Sync::default() }), ErrorCode::InvalidArgument),
        (Request::Typing(Typing { conv: "p2p:b:c".into(), ..Typing::default() }), ErrorCode::NotAMember),
        (Request::Ack(Point { conv: "x".into(), ..Point::default() }), ErrorCode::InvalidArgument),
        (
            Request::Signal(Signal {
                to: Some(Target { group: "g".into(), ..Target::default() }),
                ..Signal::default()
            }),
            ErrorCode::InvalidArgument,
        ),
    ];
    for (request, code) in cases {
        let mut client = Client::connected();
        client.request(9, request.clone());
        assert_eq!((client.error(), client.closed()), (Some(code.code()), None), "{request:?}");
    }
}

fn as_send(request: Request) -> Send {
    if let Request::Send(send) = request { send } else { unreachable!() }
}

#[test]
fn a_refused_token_closes_with_a_code_that_says_whether_to_come_back() {
    for (code, close) in [
        (ErrorCode::TokenRefused, CloseCode::TokenRefused),
        (ErrorCode::TokenExpired, CloseCode::TokenExpired),
        (ErrorCode::Unavailable, CloseCode::Overloaded),
    ] {
        let mut client = Client::new();
        client.request(1, connect());
        client.session.handle_refused(code, &mut client.effects);
        assert_eq!((client.error(), client.closed()), (Some(code.code()), Some(close)));
    }
}

#[test]
fn a_silent_device_is_pinged_then_taken_for_dead() {
    let mut client = Client::connected();
    client.session.handle_received(T0);
    assert_eq!(client.session.deadline_ms(), Some(T0 + HEARTBEAT_MS));
    client.session.handle_timer(T0 + HEARTBEAT_MS, &mut client.effects);
    assert!(matches!(client.effects[..], [SessionEffect::Ping]));
    assert_eq!(client.session.deadline_ms(), Some(T0 + HEARTBEAT_DEAD_MS));
    client.session.handle_timer(T0 + HEARTBEAT_DEAD_MS, &mut client.effects);
    assert_eq!(client.closed(), Some(CloseCode::HeartbeatTimeout));
}

#[test]
fn any_traffic_counts_as_a_heartbeat() {
    let mut client = Client::connected();
    client.session.handle_timer(T0 + HEARTBEAT_MS, &mut client.effects);
    client.session.handle_received(T0 + HEARTBEAT_MS + 10);
    client.session.handle_timer(T0 + HEARTBEAT_DEAD_MS, &mut client.effects);
    assert_eq!(client.closed(), None);
}

#[test]
fn a_connection_that_never_connects_is_closed() {
    let mut client = Client::new();
    client.session.handle_timer(T0 + AUTH_TIMEOUT_MS - 1, &mut client.effects);
    assert_eq!(client.closed(), None);
    client.session.handle_timer(T0 + AUTH_TIMEOUT_MS, &mut client.effects);
    assert_eq!(client.closed(), Some(CloseCode::AuthTimeout));
}

#[test]
fn an_expired_token_ends_the_session_unless_it_was_refreshed() {
    for refreshed in [false, true] {
        let mut client = Client::new();
        client.request(1, connect());
        client.session.handle_opened(identity(), T0 + 500);
        client.session.handle_attached(ServerPacket::default(), &mut client.names, &mut client.effects);
        if refreshed {
            client.session.handle_refreshed(T0 + 50_000);
        }
        client.session.handle_timer(T0 + 500, &mut client.effects);
        assert_eq!(client.closed(), (!refreshed).then_some(CloseCode::TokenExpired));
    }
}

#[test]
fn a_full_window_stops_the_reader_until_an_answer_comes() {
    let mut client = Client::connected();
    for n in 0..COMMANDS_INFLIGHT_MAX as u64 {
        assert!(!client.session.is_full());
        client.request(n + 1, send_to("b", "", "m"));
    }
    assert!(client.session.is_full());
    client.session.handle_answered();
    assert!(!client.session.is_full());
}

#[test]
fn reads_are_served_one_after_the_other_in_order() {
    let mut client = Client::connected();
    for id in 1..=5 {
        client.request(id, Request::Sync(Sync { conv: "p2p:a:b".into(), ..Sync::default() }));
    }
    assert_eq!(client.effects.len(), READS_INFLIGHT_MAX);
    for _ in 0..5 {
        client.session.handle_answered();
        client.session.handle_read_done(&mut client.effects);
    }
    let ids: Vec<u64> = client
        .effects
        .iter()
        .filter_map(|e| if let SessionEffect::Sync { id, .. } = e { Some(*id) } else { None })
        .collect();
    assert_eq!(ids, [1, 2, 3, 4, 5]);
    assert!(!client.session.has_inflight());
}

#[test]
fn typing_in_a_group_past_its_rate_is_dropped() {
    let mut client = Client::connected();
    for _ in 0..GROUP_TYPING_PER_SECOND_MAX * 3 {
        client.request(0, Request::Typing(Typing { conv: "group:g".into(), ..Typing::default() }));
    }
    assert_eq!(client.effects.len(), GROUP_TYPING_PER_SECOND_MAX as usize);
    client.session.handle_received(T0 + 1_000);
    client.request(0, Request::Typing(Typing { conv: "group:g".into(), ..Typing::default() }));
    assert_eq!(client.effects.len(), GROUP_TYPING_PER_SECOND_MAX as usize + 1);
}
