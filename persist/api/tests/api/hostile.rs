//! Bad input at the public port: each with its documented answer.

use std::time::Duration;

use crate::harness::{PASSWORD, Server, raw, read_answer};
use ringway_api::ServeLimits;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

// Long because it is a table.
#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_has_its_status_and_code() {
    let server = Server::start().await;
    let ann = server.register("ann").await;
    let group = server.call_as(&ann, "POST", "/v1/groups", Some(json!({ "name": "g" }))).await.json();
    let members = format!("/v1/groups/{}/members", group["id"].as_str().unwrap());
    let credentials = |user: &str, password: &str| Some(json!({ "user": user, "password": password }));
    let long = "x".repeat(129);
    let many: Vec<String> = (0..10_001).map(|n| format!("u{n}")).collect();
    let with = |name: &str, value: Value| {
        let mut body = json!({ "user": "zed", "password": PASSWORD });
        body[name] = value;
        Some(body)
    };
    let cases: Vec<(&str, &str, Option<Value>, u16, u64)> = vec![
        ("GET", "/nothing", None, 404, 4040),
        ("GET", "/v1/", None, 404, 4040),
        ("GET", "/../etc/passwd", None, 404, 4040),
        ("PUT", "/v1/me", None, 405, 4050),
        ("BREW", "/v1/me", None, 405, 4050),
        ("OPTIONS", "/v1/me", None, 405, 4050),
        ("POST", "/v1/auth/register", credentials("Ann", PASSWORD), 400, 4002),
        ("POST", "/v1/auth/register", credentials("", PASSWORD), 400, 4002),
        ("POST", "/v1/auth/register", credentials(&"a".repeat(33), PASSWORD), 400, 4002),
        ("POST", "/v1/auth/register", credentials("a\u{0}b", PASSWORD), 400, 4002),
        ("POST", "/v1/auth/register", credentials("a:b", PASSWORD), 400, 4002),
        ("POST", "/v1/auth/register", credentials("zed", "short"), 400, 4002),
        ("POST", "/v1/auth/register", credentials("zed", &long), 400, 4002),
        ("POST", "/v1/auth/register", credentials("ann", PASSWORD), 409, 4090),
        ("POST", "/v1/auth/register", with("name", json!("bell\u{7}")), 400, 4002),
        ("POST", "/v1/auth/register", with("name", json!("  ")), 400, 4002),
        ("POST", "/v1/auth/register", with("device", json!("no spaces")), 400, 4002),
        ("POST", "/v1/auth/register", with("platform", json!("p".repeat(33))), 400, 4002),
        ("POST", "/v1/auth/register", Some(json!({ "user": "zed" })), 400, 4000),
        ("POST", "/v1/auth/register", Some(json!({ "user": 7, "password": PASSWORD })), 400, 4000),
        ("POST", "/v1/auth/register", Some(json!([])), 400, 4000),
        ("POST", "/v1/auth/login", credentials("ann", "wrong horse"), 401, 4014),
        ("POST", "/v1/auth/login", credentials("nobody", PASSWORD), 401, 4014),
        ("POST", "/v1/auth/refresh", Some(json!({ "refresh_token": "x" })), 401, 4012),
        ("POST", "/v1/auth/refresh", Some(json!({ "refresh_token": "x".repeat(200) })), 401, 4012),
        ("GET", "/v1/users/Ann", None, 400, 4002),
        ("GET", "/v1/users/nobody", None, 404, 4040),
        ("GET", "/v1/users/%ff", None, 400, 4000),
        ("GET", "/v1/users/a%00", None, 400, 4002),
        ("PATCH", "/v1/me", Some(json!({ "name": "n".repeat(65) })), 400, 4002),
        ("POST", "/v1/groups", Some(json!({ "name": "g", "members": ["nobody"] })), 404, 4040),
        ("POST", "/v1/groups", Some(json!({ "name": "g", "members": ["No Body"] })), 400, 4002),
        ("POST", "/v1/groups", Some(json!({ "name": "", "members": [] })), 400, 4002),
        ("POST", &members, Some(json!({ "uids": [] })), 400, 4002),
        ("POST", &members, Some(json!({ "uids": ["nobody"] })), 404, 4040),
        ("POST", &members, Some(json!({ "uids": many })), 413, 4130),
        ("GET", "/v1/groups/BIG", None, 400, 4002),
        ("GET", "/v1/groups/absent", None, 404, 4040),
        ("DELETE", "/v1/groups/absent/members/ann", None, 404, 4040),
        ("GET", "/v1/conversations?limit=-1", None, 400, 4000),
        ("GET", "/v1/conversations?limit=99999999999999999999", None, 400, 4000),
        ("GET", "/v1/conversations/room:1/messages", None, 400, 4002),
        ("GET", "/v1/conversations/p2p:b:a/messages", None, 400, 4002),
        ("GET", "/v1/conversations/p2p:bob:cat/messages", None, 403, 4031),
        ("GET", "/v1/conversations/group:absent/messages", None, 404, 4040),
        ("GET", "/v1/conversations/p2p:ann:ann/messages?after_seq=x", None, 400, 4000),
        ("GET", "/v1/conversations/p2p:ann:ann/messages?after_seq=1&before_seq=2", None, 400, 4002),
    ];
    for (method, path, body, status, code) in cases {
        let shown =
            format!("{method} {path} {}", body.clone().unwrap_or_default()).chars().take(160).collect::<String>();
        let answer = server.call_as(&ann, method, path, body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{shown}: {}", answer.text());
    }
    let answer = server.call_as(&ann, "PUT", "/v1/me", None).await;
    assert!(answer.header("allow").is_some_and(|allow| allow.contains("get") && allow.contains("patch")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_head_has_its_status_and_code() {
    let server = Server::start().await;
    let ann = server.register("ann").await;
    let none = {
        let payload = ann.access.split('.').nth(1).unwrap();
        format!("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")
    };
    let (bearer, tampered) = (ann.bearer(), format!("{}x", ann.bearer()));
    let long = format!("Bearer {}", "a".repeat(5_000));
    let key = "k".repeat(129);
    let body = || Some(json!({ "name": "x" }));
    type Headers<'a> = Vec<(&'a str, &'a str)>;
    let cases: Vec<(&str, Headers<'_>, Option<Value>, u16, u64)> = vec![
        ("GET", vec![], None, 401, 4010),
        ("GET", vec![("authorization", "Basic YTpi")], None, 401, 4010),
        ("GET", vec![("authorization", "Bearer x")], None, 401, 4012),
        ("GET", vec![("authorization", &none)], None, 401, 4012),
        ("GET", vec![("authorization", &tampered)], None, 401, 4012),
        ("GET", vec![("authorization", &long)], None, 401, 4012),
        ("GET", vec![("authorization", &bearer), ("origin", "http://evil.example")], None, 403, 4030),
        ("GET", vec![("authorization", &bearer), ("origin", "null")], None, 403, 4030),
        ("PATCH", vec![("authorization", &bearer), ("idempotency-key", "")], body(), 400, 4000),
        ("PATCH", vec![("authorization", &bearer), ("idempotency-key", &key)], body(), 400, 4000),
        ("PATCH", vec![("authorization", "Bearer x"), ("idempotency-key", "k")], body(), 401, 4012),
    ];
    for (method, headers, body, status, code) in cases {
        let answer = server.call_with(method, "/v1/me", &headers, body).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{headers:?}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_are_bounded_and_typed() {
    let server = Server::start().await;
    let post = |headers: &str, body: &[u8]| {
        let mut bytes =
            format!("POST /v1/auth/login HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n").into_bytes();
        bytes.extend_from_slice(body);
        bytes
    };
    let long = "x".repeat(70 * 1024);
    let json_type = "content-type: application/json\r\n";
    let chunk = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let cases: Vec<(Vec<u8>, u16, u64)> = vec![
        (post("content-length: 2\r\n", b"{}"), 415, 4150),
        (post("content-type: text/plain\r\ncontent-length: 2\r\n", b"{}"), 415, 4150),
        (post(&format!("{json_type}content-length: 1\r\n"), b"{"), 400, 4000),
        (post(&format!("{json_type}content-length: 2\r\n"), b"\xff\xfe"), 400, 4000),
        (post(&format!("{json_type}content-length: 0\r\n"), b""), 400, 4000),
        (post(&format!("{json_type}content-length: 300\r\n"), "[".repeat(300).as_bytes()), 400, 4000),
        // Refused by its length alone, before a byte of it came.
        (post(&format!("{json_type}content-length: 99999999\r\n"), b""), 413, 4130),
        (post(&format!("{json_type}transfer-encoding: chunked\r\n"), chunk.as_bytes()), 413, 4130),
    ];
    for (bytes, status, code) in cases {
        let answer = raw(server.public, &bytes).await;
        let head = String::from_utf8_lossy(&bytes).chars().take(160).collect::<String>();
        assert_eq!((answer.status, answer.code()), (status, code), "{head}: {}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_http_are_answered_and_closed() {
    let server = Server::start().await;
    let many_headers = "a: b\r\n".repeat(70);
    let big_header = format!("a: {}\r\n", "b".repeat(9_000));
    let cases: Vec<(String, u16)> = vec![
        ("nonsense\r\n\r\n".into(), 400),
        ("GET /v1/me HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n".into(), 400),
        ("POST /v1/me HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip\r\n\r\n".into(), 400),
        (format!("GET /v1/me HTTP/1.1\r\nhost: x\r\n{many_headers}\r\n"), 431),
        (format!("GET /v1/me HTTP/1.1\r\nhost: x\r\n{big_header}\r\n"), 431),
    ];
    for (bytes, status) in cases {
        let answer = raw(server.public, bytes.as_bytes()).await;
        assert_eq!(answer.status, status, "{}", bytes.chars().take(80).collect::<String>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_are_closed_and_slow_bodies_told() {
    let limits = ServeLimits { head_timeout_ms: 200, ..ServeLimits::default() };
    let server = Server::start_with(|config| config.body_timeout_ms = 200, limits).await;
    let mut head = TcpStream::connect(server.public).await.unwrap();
    head.write_all(b"GET /v1/me HT").await.unwrap();
    let mut body = TcpStream::connect(server.public).await.unwrap();
    let begun =
        b"POST /v1/auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    body.write_all(begun).await.unwrap();
    let answers = async { (read_answer(&mut head).await, read_answer(&mut body).await) };
    let (head, body) = tokio::time::timeout(Duration::from_secs(20), answers).await.expect("closed in time");
    assert_eq!((head.status, head.body.len()), (0, 0), "closed without a word");
    assert_eq!((body.status, body.code()), (408, 4000));
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_past_the_bound_are_turned_away() {
    let limits = ServeLimits { connections_max: 1, ..ServeLimits::default() };
    let server = Server::start_with(|_| {}, limits).await;
    let mut held = TcpStream::connect(server.public).await.unwrap();
    let locate = b"GET /v1/locate HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let refused = read_answer(&mut TcpStream::connect(server.public).await.unwrap()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    held.write_all(locate).await.unwrap();
    assert_eq!(read_answer(&mut held).await.status, 200, "the one inside is served");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_in_flight() {
    let mut server = Server::start().await;
    let ann = server.register("ann").await;
    let body = r#"{"name":"Late"}"#;
    let mut slow = TcpStream::connect(server.public).await.unwrap();
    let head = format!(
        "PATCH /v1/me HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\ncontent-type: application/json\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        ann.bearer(),
        body.len()
    );
    slow.write_all(head.as_bytes()).await.unwrap();
    // The interim answer says that the handler waits for the body.
    let mut interim = [0; 25];
    tokio::io::AsyncReadExt::read_exact(&mut slow, &mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    server.stop.take().unwrap().send(()).unwrap();
    while TcpStream::connect(server.public).await.is_ok() {
        tokio::task::yield_now().await;
    }
    slow.write_all(body.as_bytes()).await.unwrap();
    let answer = read_answer(&mut slow).await;
    assert_eq!((answer.status, answer.json()["name"].as_str()), (200, Some("Late")));
    server.served.take().unwrap().await.unwrap();
}
