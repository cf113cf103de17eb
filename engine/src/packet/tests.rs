//! Round trips, refusals and the examples of the design in both formats.

use proptest::prelude::*;
use prost::Message as Prost;

use super::asked::{CommandRef, Commanded};
use super::schema::*;
use super::*;
use crate::errors::ErrorCode;

type Decoded = Vec<Result<(u64, Request), Refusal>>;

fn decode(format: Format, payload: &[u8]) -> (Decoded, Result<(), NotTheProtocol>) {
    let mut decoded = Vec::new();
    let end = decode_commands(format, payload, &mut |command| decoded.push(command));
    (decoded, end)
}

fn decode_packets(format: Format, payload: &[u8]) -> Vec<ServerPacket> {
    let mut packets = Vec::new();
    decode_server(format, payload, &mut |packet| packets.push(packet)).unwrap();
    packets
}

fn request(command: &Command) -> (u64, Request) {
    match CommandRef::from(command.clone()).single() {
        (id, Commanded::One(asked)) => (id, asked.into_owned()),
        _ => panic!("a sample holds one command"),
    }
}

/// One command is read as itself; two in one payload, in order.
fn check_command(command: &Command) {
    let expected = request(command);
    assert_eq!(Command::from(expected.clone()), *command);
    for format in Format::ALL {
        let mut payload = Vec::new();
        encode_command(format, command, &mut payload);
        assert_eq!(decode(format, &payload), (vec![Ok(expected.clone())], Ok(())));
        if format.is_text() {
            payload.push(b'\n');
        }
        encode_command(format, &Command::ping(77), &mut payload);
        assert_eq!(decode(format, &payload), (vec![Ok(expected.clone()), Ok((77, Request::Ping))], Ok(())));
    }
}

fn check_packet(packet: &ServerPacket) {
    for format in Format::ALL {
        let mut payload = Vec::new();
        encode(format, packet, &mut payload);
        assert_eq!(decode_packets(format, &payload), std::slice::from_ref(packet));

        let frame = encode_frame(format, packet);
        let header_len = match payload.len() {
            0..126 => 2,
            126..=0xffff => 4,
            _ => 10,
        };
        assert_eq!(frame[0], if format.is_text() { 0x81 } else { 0x82 });
        assert_eq!(frame.len(), header_len + payload.len());
        assert_eq!(frame[header_len..], payload[..]);

        let mut two = b"before".to_vec();
        append_frame(format, packet, &mut two);
        append_frame(format, packet, &mut two);
        assert_eq!(two, [b"before", &frame[..], &frame[..]].concat());
    }
}

#[test]
fn every_packet_survives_both_formats() {
    samples::commands().iter().for_each(check_command);
    samples::server_packets().iter().for_each(check_packet);
}

#[test]
fn a_frame_has_the_shortest_header() {
    for body_len in [0, 1, 60, 100, 65_300, 65_536, 70_000] {
        let message = Message { body: "x".repeat(body_len), ..samples::message() };
        check_packet(&ServerPacket::message(message));
    }
    let packet = ServerPacket::resync("x".repeat(103));
    assert_eq!(encode_frame(Format::Json, &packet)[..2], [0x81, 125]);
    let packet = ServerPacket::resync("x".repeat(104));
    assert_eq!(encode_frame(Format::Json, &packet)[..4], [0x81, 126, 0, 126]);
}

#[test]
fn a_format_is_agreed_by_its_exact_name() {
    for format in Format::ALL {
        assert_eq!(Format::from_subprotocol(format.subprotocol()), Some(format));
    }
    for name in ["", "ringway.v1", "ringway.v2.json", "Ringway.v1.json", "ringway.v1.json "] {
        assert_eq!(Format::from_subprotocol(name), None, "{name:?}");
    }
}

#[test]
fn the_examples_of_the_design_are_read_and_written_to_the_letter() {
    let resume = [("p2p:a:b".to_owned(), ResumePoint { epoch: 1, seq: 41 })].into();
    let connect = Connect { token: "t".into(), device: "phone-1".into(), platform: "ios".into(), resume };
    let to = Target { user: "b".into(), ..Target::default() };
    let send = Send {
        to: Some(to.clone()),
        client_msg_id: "c".into(),
        kind: "text".into(),
        body: "hi".into(),
        ..Send::default()
    };
    let sync = Sync { conv: "p2p:a:b".into(), after_seq: 30, limit: 100, before_seq: 0 };
    let signal = Signal { to: Some(to), call: "k".into(), body: "o".into(), from: String::new() };
    for (text, command) in [
        (
            r#"{"id":1,"connect":{"token":"t","device":"phone-1","platform":"ios","resume":{"p2p:a:b":[1,41]}}}"#,
            Command::connect(1, connect),
        ),
        (
            r#"{"id":2,"send":{"to":{"user":"b"},"client_msg_id":"c","type":"text","body":"hi"}}"#,
            Command::send(2, send),
        ),
        (r#"{"ack":{"conv":"p2p:a:b","epoch":1,"seq":42}}"#, Command::ack("p2p:a:b", 1, 42)),
        (r#"{"id":3,"read":{"conv":"p2p:a:b","seq":42}}"#, Command::read(3, "p2p:a:b", 42)),
        (r#"{"id":4,"sync":{"conv":"p2p:a:b","after_seq":30,"limit":100}}"#, Command::sync(4, sync)),
        (r#"{"id":5,"conversations":{}}"#, Command::conversations(5, ListConversations::default())),
        (r#"{"typing":{"conv":"p2p:a:b"}}"#, Command::typing("p2p:a:b")),
        (r#"{"signal":{"to":{"user":"b"},"call":"k","body":"o"}}"#, Command::signal(0, signal)),
        (r#"{"ping":{}}"#, Command::ping(0)),
    ] {
        assert_eq!(decode(Format::Json, text.as_bytes()), (vec![Ok(request(&command))], Ok(())), "{text}");
        let mut out = Vec::new();
        encode_command(Format::Json, &command, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}

#[test]
fn the_servers_examples_of_the_design_are_written_to_the_letter() {
    let recovered = [("p2p:a:b".to_owned(), true)].into();
    let connected = Connected {
        session: "s".into(),
        uid: "a".into(),
        heartbeat_s: 30,
        server_time_ms: 5,
        recovered,
        expires_in_s: 0,
    };
    let message =
        Message { body: "hi".into(), client_msg_id: "c".into(), enc: String::new(), ts: 6, ..samples::message() };
    let sent = Sent { conv: message.conv.clone(), msg_id: 7300, epoch: 1, seq: 42, ts: 6 };
    let page = Messages { conv: "p2p:a:b".into(), items: vec![], head: 42, more: false };
    let receipt = Receipt { conv: "p2p:a:b".into(), kind: "read".into(), uid: "b".into(), seq: 42 };
    for (packet, text) in [
        (
            ServerPacket::connected(1, connected),
            r#"{"id":1,"connected":{"session":"s","uid":"a","heartbeat_s":30,"server_time_ms":5,"recovered":{"p2p:a:b":true}}}"#,
        ),
        (
            ServerPacket::sent(2, sent),
            r#"{"id":2,"sent":{"conv":"p2p:a:b","msg_id":"7300","epoch":1,"seq":42,"ts":6}}"#,
        ),
        (
            ServerPacket::message(Message { msg_id: 7300, ..message }),
            r#"{"message":{"conv":"p2p:a:b","msg_id":"7300","epoch":1,"seq":42,"from":"a","client_msg_id":"c","type":"text","body":"hi","ts":6}}"#,
        ),
        (
            ServerPacket::messages(4, page),
            r#"{"id":4,"messages":{"conv":"p2p:a:b","items":[],"head":42,"more":false}}"#,
        ),
        (ServerPacket::receipt(receipt), r#"{"receipt":{"conv":"p2p:a:b","kind":"read","uid":"b","seq":42}}"#),
        (ServerPacket::reply_ok(3), r#"{"id":3,"ok":{}}"#),
        (
            ServerPacket::error(9, ErrorCode::Busy, "busy"),
            r#"{"id":9,"error":{"code":4291,"message":"busy","temporary":true,"retry_after_ms":500}}"#,
        ),
        (ServerPacket::reconnect(1800, vec!["w".into()]), r#"{"reconnect":{"after_ms":1800,"to":["w"]}}"#),
        (ServerPacket::kicked("same_device"), r#"{"kicked":{"reason":"same_device"}}"#),
        (ServerPacket::resync("p2p:a:b"), r#"{"resync":{"conv":"p2p:a:b"}}"#),
    ] {
        let mut out = Vec::new();
        encode(Format::Json, &packet, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
        assert_eq!(decode_packets(Format::Json, text.as_bytes()), [packet]);
    }
}

#[test]
fn a_malformed_command_is_refused_with_its_id_and_the_next_one_is_served() {
    let deep = format!(r#"{{"id":7,"send":{}1{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let deep_unknown = format!(r#"{{"id":7,"x":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    let long_name = format!(r#"{{"id":7,"{}":1}}"#, "x".repeat(33));
    for (line, id, code, detail) in [
        ("{}", 0, ErrorCode::Malformed, "the command is missing"),
        (r#"{"id":7}"#, 7, ErrorCode::Malformed, "the command is missing"),
        (r#"{"id":7,"ping":null}"#, 7, ErrorCode::Malformed, "the command is missing"),
        (r#"{"id":7,"recall":{"conv":"c"}}"#, 7, ErrorCode::UnknownCommand, "unknown command recall"),
        (r#"{"recall":{},"id":7}"#, 7, ErrorCode::UnknownCommand, "unknown command recall"),
        (r#"{"id":7,"a\u0000b":{}}"#, 7, ErrorCode::UnknownCommand, "unknown command"),
        (&long_name, 7, ErrorCode::UnknownCommand, "unknown command"),
        (&deep_unknown, 7, ErrorCode::UnknownCommand, "unknown command x"),
        (r#"{"id":7,"ping":{},"read":{}}"#, 7, ErrorCode::Malformed, "more than one command under one id"),
        (r#"{"id":7,"ping":{},"ping":{}}"#, 7, ErrorCode::Malformed, "more than one command under one id"),
        (r#"{"id":7,"ping":[]}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"typing":["p2p:a:b"]}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"send":{"to":["b"]}}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"send":"hi"}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"send":{"body":1}}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"send":{"body":"a","body":"b"}}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"read":{"seq":-1}}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"read":{"seq":1.5}}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"read":{"seq":18446744073709551616}}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"read":{"seq":1e999}}"#, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":7,"connect":{"resume":{"c":[1]}}}"#, 7, ErrorCode::Malformed, "at byte"),
        (&deep, 7, ErrorCode::Malformed, "at byte"),
        (r#"{"id":"7","ping":{}}"#, 0, ErrorCode::Malformed, "at byte"),
        (r#"{"id":-7,"ping":{}}"#, 0, ErrorCode::Malformed, "at byte"),
        (r#"{"id":{"a":[1]},"ping":{}}"#, 0, ErrorCode::Malformed, "at byte"),
        (r#"{"id":[1,{}],"ping":{}}"#, 0, ErrorCode::Malformed, "at byte"),
        (r#"{"id":1e999,"ping":{}}"#, 0, ErrorCode::Malformed, "the command cannot be read"),
        (r#"{"id":7,"\ud800":{}}"#, 0, ErrorCode::Malformed, "the command cannot be read"),
    ] {
        let (decoded, end) = decode(Format::Json, format!("{line}\r\n\n{{\"ping\":{{}}}}\n").as_bytes());
        let [Err(refusal), Ok((0, Request::Ping))] = decoded.as_slice() else { panic!("{line}: {decoded:?}") };
        assert_eq!((refusal.id, refusal.code, end), (id, code, Ok(())), "{line}");
        assert!(refusal.detail.contains(detail), "{line}: {}", refusal.detail);
        assert!(refusal.detail.len() < 100, "{line}: {}", refusal.detail);
        assert_eq!(refusal.reply(), ServerPacket::error(id, code, refusal.detail.clone()));
    }
}

#[test]
fn unknown_fields_of_a_newer_client_are_passed_over() {
    let (decoded, end) = decode(Format::Json, br#"{"trace":"t","id":7,"ping":{"since":[1,{"a":null}]}}"#);
    assert_eq!((decoded, end), (vec![Ok((7, Request::Ping))], Ok(())));
}

#[test]
fn bytes_that_are_no_protocol_end_the_connection_after_what_stood_before() {
    for line in
        ["x", "1", "null", "\"a\"", "[]", "[1]", "{", r#"{"id":1"#, r#"{"id":1}{"id":2}"#, "{\"id\":1,}", "\u{feff}{}"]
    {
        let (decoded, end) = decode(Format::Json, format!("{{\"ping\":{{}}}}\n{line}").as_bytes());
        assert_eq!(decoded, [Ok((0, Request::Ping))], "{line}");
        assert!(end.is_err(), "{line}");
    }
    for bytes in [&b"\xff{}"[..], b"{\"id\":\xff}", b"\0"] {
        assert!(decode(Format::Json, bytes).1.is_err());
    }
    for empty in [&b""[..], b"\n", b" \r\n\t\n"] {
        assert_eq!(decode(Format::Json, empty), (vec![], Ok(())));
    }
}

#[test]
fn malformed_protobuf_is_refused_when_its_fields_can_be_walked() {
    for (message, id, code) in [
        (&[][..], 0, ErrorCode::Malformed),
        (&[0x08, 7], 7, ErrorCode::Malformed),
        // field 40, an empty message
        (&[0x08, 7, 0xc2, 0x02, 0], 7, ErrorCode::UnknownCommand),
        // ping and typing
        (&[0x08, 7, 0x52, 0, 0x42, 0], 7, ErrorCode::Malformed),
        // ping as a varint
        (&[0x08, 7, 0x50, 1], 7, ErrorCode::Malformed),
        // a token that is not UTF-8
        (&[0x08, 7, 0x5a, 3, 0x0a, 1, 0xff], 7, ErrorCode::Malformed),
        // the id as bytes
        (&[0x0a, 1, 7, 0x52, 0], 0, ErrorCode::Malformed),
    ] {
        let mut payload = vec![message.len() as u8];
        payload.extend_from_slice(message);
        encode_command(Format::Protobuf, &Command::ping(8), &mut payload);
        let (decoded, end) = decode(Format::Protobuf, &payload);
        let [Err(refusal), Ok((8, Request::Ping))] = decoded.as_slice() else { panic!("{message:?}: {decoded:?}") };
        assert_eq!((refusal.id, refusal.code, end), (id, code, Ok(())), "{message:?}");
    }
}

#[test]
fn protobuf_that_cannot_be_walked_ends_the_connection() {
    let deep_groups = [&[200, 1][..], &[0x1b; 200]].concat();
    for payload in [
        &[5, 8, 7][..],
        &[0xff; 11],
        &[0x80],
        &[1, 0x08],
        &[2, 0x00, 0x00],
        &[2, 0x0f, 0x00],
        &[3, 0x08, 7, 0xff],
        &deep_groups,
        b"GET / HTTP/1.1\r\n\r\n",
        br#"{"id":1,"ping":{}}"#,
    ] {
        assert!(decode(Format::Protobuf, payload).1.is_err(), "{payload:?}");
    }
    assert_eq!(decode(Format::Protobuf, b""), (vec![], Ok(())));
}

#[test]
fn one_message_holds_a_bounded_number_of_commands() {
    for (format, one) in [(Format::Json, &b"{\"ping\":{}}\n"[..]), (Format::Json, b"{}\n"), (Format::Protobuf, b"\0")] {
        let (decoded, end) = decode(format, &one.repeat(COMMANDS_PER_MESSAGE_MAX));
        assert_eq!((decoded.len(), end), (COMMANDS_PER_MESSAGE_MAX, Ok(())));
        let (decoded, end) = decode(format, &one.repeat(COMMANDS_PER_MESSAGE_MAX + 1));
        assert_eq!(decoded.len(), COMMANDS_PER_MESSAGE_MAX);
        assert!(end.is_err());
    }
}

#[test]
fn a_packet_of_a_newer_server_is_handed_over_empty() {
    let json = decode_packets(Format::Json, b"{\"id\":3,\"novelty\":{\"a\":1}}");
    let protobuf = decode_packets(Format::Protobuf, &[5, 0x08, 3, 0xc2, 0x02, 0]);
    let expected = ServerPacket { id: 3, ..ServerPacket::default() };
    assert_eq!((json, protobuf), (vec![expected.clone()], vec![expected]));
    assert!(decode_server(Format::Json, b"[]", &mut |_| ()).is_err());
    assert!(decode_server(Format::Protobuf, &[9, 1], &mut |_| ()).is_err());
}

#[test]
fn tokens_and_bodies_stay_out_of_debug_output() {
    let secret = "s3cr3t";
    let connect = Connect { token: secret.into(), ..samples::connect() };
    let send = Send { body: secret.into(), ..samples::send() };
    let signal = Signal { body: secret.into(), ..samples::signal() };
    let message = Message { body: secret.into(), ..samples::message() };
    let page = Messages { items: vec![message.clone()], ..Messages::default() };
    for shown in [
        format!("{:?}", Command::connect(1, connect)),
        format!("{:?}", Command::refresh(1, secret)),
        format!("{:?}", Command::send(1, send)),
        format!("{:?}", Command::signal(1, signal)),
        format!("{:?}", ServerPacket::message(message)),
        format!("{:?}", ServerPacket::messages(1, page)),
    ] {
        assert!(shown.contains("<6 bytes>") && !shown.contains(secret), "{shown}");
    }
}

prop_compose! {
    fn any_message()(
        text in prop::array::uniform6("\\PC{0,20}|[\\x00-\\x7f]{0,9}"),
        numbers in any::<[u64; 4]>(),
    ) -> Message {
        let [conv, from, client_msg_id, kind, body, enc] = text;
        let [msg_id, epoch, seq, ts] = numbers;
        Message { conv, msg_id, epoch, seq, from, client_msg_id, kind, body, enc, ts }
    }
}

fn any_target() -> impl Strategy<Value = Option<Target>> {
    prop::option::of(("\\PC{0,8}", "\\PC{0,8}").prop_map(|(user, group)| Target { user, group }))
}

fn any_command() -> impl Strategy<Value = Command> {
    let text = || "\\PC{0,20}|[\\x00-\\x7f]{0,9}";
    let point = any::<(u64, u64)>().prop_map(ResumePoint::from);
    let connect = (text(), text(), text(), prop::collection::btree_map(text(), point, 0..4))
        .prop_map(|(token, device, platform, resume)| Connect { token, device, platform, resume });
    let send = (any_target(), text(), text(), text(), text(), any::<bool>())
        .prop_map(|(to, client_msg_id, kind, body, enc, retry)| Send { to, client_msg_id, kind, body, enc, retry });
    let signal =
        (any_target(), text(), text(), text()).prop_map(|(to, call, body, from)| Signal { to, call, body, from });
    let sync = (text(), any::<u64>(), any::<u32>(), any::<u64>())
        .prop_map(|(conv, after_seq, limit, before_seq)| Sync { conv, after_seq, limit, before_seq });
    let list = (text(), any::<u32>()).prop_map(|(after, limit)| ListConversations { after, limit });
    let command = prop_oneof![
        connect.prop_map(|connect| Command::connect(0, connect)),
        send.prop_map(|send| Command::send(0, send)),
        (text(), any::<u64>(), any::<u64>()).prop_map(|(conv, epoch, seq)| Command::ack(conv, epoch, seq)),
        (text(), any::<u64>()).prop_map(|(conv, seq)| Command::read(0, conv, seq)),
        sync.prop_map(|sync| Command::sync(0, sync)),
        list.prop_map(|list| Command::conversations(0, list)),
        text().prop_map(Command::typing),
        signal.prop_map(|signal| Command::signal(0, signal)),
        text().prop_map(|token| Command::refresh(0, token)),
    ];
    (any::<u64>(), command).prop_map(|(id, command)| Command { id, ..command })
}

proptest! {
    #[test]
    fn any_command_survives_both_formats(command in any_command()) {
        check_command(&command);
    }

    #[test]
    fn any_message_survives_both_formats(
        items in prop::collection::vec(any_message(), 0..4), id in any::<u64>(), head in any::<u64>(), more in any::<bool>(),
    ) {
        for message in &items {
            check_packet(&ServerPacket::message(message.clone()));
        }
        let page = Messages { conv: "group:g".into(), items, head, more };
        check_packet(&ServerPacket::messages(id, page));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for format in Format::ALL {
            let _ = decode(format, &bytes);
            let _ = decode_server(format, &bytes, &mut |_| ());
        }
    }

    /// Whatever a good payload is cut to or changed into, the two ends never disagree by a panic.
    #[test]
    fn a_damaged_payload_never_panics(command in any_command(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for format in Format::ALL {
            let mut payload = Vec::new();
            encode_command(format, &command, &mut payload);
            let at = at.index(payload.len());
            payload[at] = byte;
            let _ = decode(format, &payload);
            let _ = decode(format, &payload[..at]);
        }
    }
}

#[test]
fn the_length_before_a_protobuf_message_is_its_encoded_length() {
    let mut payload = Vec::new();
    let packet = ServerPacket::message(samples::message());
    encode(Format::Protobuf, &packet, &mut payload);
    assert_eq!(payload.len(), prost::length_delimiter_len(packet.encoded_len()) + packet.encoded_len());
}
