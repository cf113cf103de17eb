//! Upgrade requests: what is granted, and each refusal with its status.

use super::super::handshake::{HandshakeError, SUBPROTOCOL_JSON, Upgrade, parse, refusal};
use crate::{
    limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_HEADERS_MAX},
    packet::Format,
};

const LINES: [&str; 5] = [
    "Host: chat.example:7400",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

fn request_of(first: &str, lines: &[&str]) -> Vec<u8> {
    format!("{first}\r\n{}\r\n\r\n", lines.join("\r\n")).into_bytes()
}

/// A good request and some more lines.
fn with(more: &[&str]) -> Vec<u8> {
    request_of("GET /v1/ws HTTP/1.1", &[&LINES[..], more].concat())
}

/// A good request with the line that starts like `line` (up to its colon) replaced by it.
fn replaced(line: &str) -> Vec<u8> {
    let name = line.split_once(':').unwrap().0;
    let lines: Vec<&str> = LINES.iter().map(|old| if old.starts_with(name) { line } else { old }).collect();
    request_of("GET /v1/ws HTTP/1.1", &lines)
}

fn without(name: &str) -> Vec<u8> {
    let lines: Vec<&str> = LINES.into_iter().filter(|line| !line.starts_with(name)).collect();
    request_of("GET /v1/ws HTTP/1.1", &lines)
}

fn granted(request: &[u8]) -> Upgrade {
    let (upgrade, size) = parse(request).unwrap().unwrap();
    assert_eq!(size, request.len());
    upgrade
}

#[test]
fn a_browsers_request_is_read() {
    let upgrade = granted(&request_of(
        "GET /v1/ws?trace=1 HTTP/1.1",
        &[
            "host: chat.example",
            "user-agent: Mozilla/5.0 (X11; Linux) \u{e9}",
            "connection: keep-alive, Upgrade",
            "upgrade: WebSocket",
            "origin: https://chat.example",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-extensions: permessage-deflate; client_max_window_bits",
            "sec-websocket-protocol: other, ringway.v1.protobuf , ringway.v1.json",
            "authorization: bearer  abc.def",
            "x-forwarded-for: 203.0.113.9, 10.0.0.1",
            "x-forwarded-for: 10.0.0.2",
            "content-length: 0",
        ],
    ));
    let expected = Upgrade {
        path: "/v1/ws".into(),
        query: Some("trace=1".into()),
        format: Some(Format::Protobuf),
        key: "dGhlIHNhbXBsZSBub25jZQ==".into(),
        origin: Some("https://chat.example".into()),
        authorization: Some("abc.def".into()),
        forwarded_for: Some("203.0.113.9, 10.0.0.1, 10.0.0.2".into()),
        host: Some("chat.example".into()),
    };
    assert_eq!(upgrade, expected);
    assert!(!format!("{upgrade:?}").contains("abc.def"), "a token must not reach a log");
}

#[test]
fn the_clients_order_decides_the_format() {
    let format = |lines: &[&str]| granted(&with(lines)).format;
    assert_eq!(format(&[]), None);
    assert_eq!(format(&["Sec-WebSocket-Protocol: mqtt"]), None);
    assert_eq!(format(&["Sec-WebSocket-Protocol: RINGWAY.V1.JSON"]), None, "names are case-sensitive");
    assert_eq!(format(&["Sec-WebSocket-Protocol: ringway.v1.json,ringway.v1.protobuf"]), Some(Format::Json));
    let two_lines = ["Sec-WebSocket-Protocol: x", "Sec-WebSocket-Protocol: ringway.v1.protobuf"];
    assert_eq!(format(&two_lines), Some(Format::Protobuf));
}

#[test]
fn other_schemes_than_bearer_are_no_token() {
    assert_eq!(granted(&with(&["Authorization: Basic YTpi"])).authorization, None);
    assert_eq!(granted(&with(&["Authorization: Bearer"])).authorization, None);
    assert_eq!(granted(&with(&["Authorization: BEARER t"])).authorization, Some("t".into()));
}

#[test]
fn a_target_may_carry_scheme_and_authority() {
    let path =
        |target: &str| parse(&request_of(&format!("GET {target} HTTP/1.1"), &LINES)).map(|ok| ok.unwrap().0.path);
    assert_eq!(path("http://chat.example/v1/ws?x=/"), Ok("/v1/ws".into()));
    for bad in ["*", "v1/ws", "ftp://h/v1/ws", "http://chat.example"] {
        assert_eq!(path(bad), Err(HandshakeError::Malformed), "{bad}");
    }
}

#[test]
fn hostile_requests_get_their_documented_status() {
    use HandshakeError::*;
    let post = request_of("POST /v1/ws HTTP/1.1", &LINES);
    let old = request_of("GET /v1/ws HTTP/1.0", &LINES);
    let many: Vec<String> = (LINES.len()..=HANDSHAKE_HEADERS_MAX).map(|i| format!("X-{i}: v")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cookie = format!("Cookie: {}", "c".repeat(HANDSHAKE_BYTES_MAX));
    let table: &[(&str, Vec<u8>, HandshakeError, u16)] = &[
        ("TLS to a plain port", b"\x16\x03\x01\x02\x00\x01\x00\x01".to_vec(), Malformed, 400),
        ("control character in a value", with(&["X-A: a\x01b"]), Malformed, 400),
        ("folded line", with(&["X-A: a", " b"]), Malformed, 400),
        ("space before the colon", with(&["X-A : a"]), Malformed, 400),
        ("POST", post, Method, 405),
        ("HTTP/1.0", old, Version, 505),
        ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Version, 505),
        ("65 lines", with(&many), TooManyHeaders, 431),
        ("above 8 KiB", with(&[&cookie]), TooLarge, 431),
        ("body", with(&["Content-Length: 5"]), Body, 400),
        ("odd length", with(&["Content-Length: -0"]), Body, 400),
        ("empty length", with(&["Content-Length:"]), Body, 400),
        ("two lengths", with(&["Content-Length: 0", "Content-Length: 7"]), Body, 400),
        ("chunked", with(&["Transfer-Encoding: chunked"]), Body, 400),
        ("identity", with(&["transfer-encoding: identity"]), Body, 400),
        ("no Host", without("Host"), Missing("Host"), 400),
        ("two Hosts", with(&["host: other"]), Duplicate("Host"), 400),
        ("no Upgrade", without("Upgrade"), NotUpgrade, 426),
        ("h2c", replaced("Upgrade: h2c"), NotUpgrade, 426),
        ("no Connection", without("Connection"), NotUpgrade, 426),
        ("Connection: close", replaced("Connection: close"), NotUpgrade, 426),
        ("no version", without("Sec-WebSocket-Version"), WebSocketVersion, 426),
        ("version 8", replaced("Sec-WebSocket-Version: 8"), WebSocketVersion, 426),
        ("two versions", with(&["Sec-WebSocket-Version: 13"]), Duplicate("Sec-WebSocket-Version"), 400),
        ("no key", without("Sec-WebSocket-Key"), Missing("Sec-WebSocket-Key"), 400),
        ("two keys", with(&["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]), Duplicate("Sec-WebSocket-Key"), 400),
        ("short key", replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="), Invalid("Sec-WebSocket-Key"), 400),
        ("odd key", replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2!jZQ=="), Invalid("Sec-WebSocket-Key"), 400),
        ("two Origins", with(&["Origin: a", "Origin: b"]), Duplicate("Origin"), 400),
        ("Origin not ASCII", with(&["Origin: http://\u{e9}"]), Invalid("Origin"), 400),
        ("two tokens", with(&["Authorization: Bearer a", "Authorization: Bearer b"]), Duplicate("Authorization"), 400),
    ];
    for (what, request, error, status) in table {
        assert_eq!(parse(request), Err(*error), "{what}");
        assert_eq!(error.status(), *status, "{what}");
        let answer = String::from_utf8(error.response()).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {answer}");
        assert!(answer.contains("\r\nConnection: close"), "{what}: {answer}");
        check_is_whole_response(&answer);
        if *status == 426 {
            assert!(answer.contains("\r\nSec-WebSocket-Version: 13\r\n"), "{what}: {answer}");
        }
    }
}

fn check_is_whole_response(answer: &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    assert_eq!(length, body.len().to_string());
}

#[test]
fn a_request_may_come_byte_by_byte_with_frames_behind_it() {
    let mut bytes = with(&["Sec-WebSocket-Protocol: ringway.v1.json"]);
    let size = bytes.len();
    bytes.extend_from_slice(b"\x81\x80abcd");
    for end in 0..size {
        assert_eq!(parse(&bytes[..end]), Ok(None), "first {end} bytes");
    }
    for end in size..=bytes.len() {
        assert_eq!(parse(&bytes[..end]).unwrap().unwrap().1, size);
    }
}

#[test]
fn the_bounds_themselves_are_allowed() {
    let many: Vec<String> = (LINES.len()..HANDSHAKE_HEADERS_MAX).map(|i| format!("X-{i}: v")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    granted(&with(&many));

    let room = HANDSHAKE_BYTES_MAX - with(&["Cookie: "]).len();
    let largest = with(&[&format!("Cookie: {}", "c".repeat(room))]);
    assert_eq!(largest.len(), HANDSHAKE_BYTES_MAX);
    granted(&largest);
    assert_eq!(parse(&largest[..HANDSHAKE_BYTES_MAX - 1]), Ok(None));
    let larger = with(&[&format!("Cookie: {}", "c".repeat(room + 1))]);
    assert_eq!(parse(&larger[..HANDSHAKE_BYTES_MAX]), Err(HandshakeError::TooLarge), "seen when the bound is reached");
}

#[test]
fn a_granted_request_is_answered_with_the_rfcs_digest() {
    // RFC 6455 §1.3
    let upgrade = granted(&with(&[]));
    let answer = String::from_utf8(upgrade.response(Some(SUBPROTOCOL_JSON))).unwrap();
    assert_eq!(
        answer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: ringway.v1.json\r\n\r\n"
    );
    assert!(!String::from_utf8(upgrade.response(None)).unwrap().contains("Protocol:"));
}

#[test]
fn a_refusal_says_when_to_come_back() {
    let answer = String::from_utf8(refusal(503, Some(7), "full")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 7\r\n"));
    check_is_whole_response(&answer);
    assert!(!String::from_utf8(refusal(403, None, "origin")).unwrap().contains("Retry-After"));
}
