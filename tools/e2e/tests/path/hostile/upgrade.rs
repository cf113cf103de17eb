//! Upgrade requests.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ringway_e2e::server::{Server, Settings};
use ringway_e2e::wire::{Frame, Wire};

use super::check_unharmed;

const JSON: &str = "ringway.v1.json";

/// The status that answers bytes, and that the connection ends behind it unless it was granted.
async fn check(address: SocketAddr, name: &str, bytes: &[u8], expected: u16) {
    let mut wire = Wire::open(address).await.unwrap();
    // One that is refused early may be closed before it was written to its end.
    let _ = wire.write(bytes).await;
    let answer = wire.answer().await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
    assert_eq!(answer.status, expected, "{name}");
    if expected != 101 {
        assert!(answer.head.contains("connection: close"), "{name}: {}", answer.head);
        wire.drained().await.unwrap_or_else(|error| panic!("{name}: {error:#}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_bad_upgrade_has_its_status() {
    let config = "[gateway]\nallowed_origins = [\"https://app.example\"]\n".to_owned();
    let server = Server::start_with(Settings { config, ..Settings::default() }).unwrap();
    let ws = server.addresses().ws;
    let good = Wire::request(ws, JSON);
    let with = |line: &str| format!("{good}{line}\r\n\r\n");
    let without = |name: &str| {
        let kept: Vec<&str> = good.lines().filter(|line| !line.starts_with(name)).collect();
        format!("{}\r\n\r\n", kept.join("\r\n"))
    };
    let instead = |from: &str, to: &str| format!("{}\r\n", good.replacen(from, to, 1));
    let lines = |count: usize| format!("{good}{}\r\n", "X-Line: y\r\n".repeat(count));
    let own = good.lines().count() - 1;
    let cases = [
        ("a good one", format!("{good}\r\n"), 101),
        ("64 lines", lines(64 - own), 101),
        ("65 lines", lines(65 - own), 431),
        ("above 8 KiB", with(&format!("X-Long: {}", "y".repeat(8 * 1024))), 431),
        (
            "8 KiB in many lines",
            with(&format!("{}X-Last: z", format!("X-Long: {}\r\n", "y".repeat(400)).repeat(25))),
            431,
        ),
        ("a body", with("Content-Length: 5"), 400),
        ("two lengths", with("Content-Length: 0\r\nContent-Length: 7"), 400),
        ("a chunked body", with("Transfer-Encoding: chunked"), 400),
        ("a foreign origin", with("Origin: https://evil.example"), 403),
        ("a hidden origin", with("Origin: null"), 403),
        ("an origin that begins alike", with("Origin: http://127.0.0.1.evil.example"), 403),
        ("the own origin", with(&format!("Origin: http://{ws}")), 101),
        ("a listed origin", with("Origin: https://app.example"), 101),
        ("no subprotocol", without("Sec-WebSocket-Protocol"), 400),
        ("a foreign subprotocol", instead(JSON, "chat.v9"), 400),
        ("one of several", instead(JSON, "chat.v9, ringway.v1.json"), 101),
        ("another path", instead("/v1/ws", "/v2/ws"), 404),
        ("a path that climbs", instead("/v1/ws", "/v1/../v1/ws"), 404),
        ("no upgrade", without("Upgrade"), 426),
        ("an old version", instead("Version: 13", "Version: 8"), 426),
        ("POST", instead("GET", "POST"), 405),
        ("HTTP/1.0", instead("HTTP/1.1", "HTTP/1.0"), 505),
        ("no host", without("Host"), 400),
        ("two hosts", with("Host: other.example"), 400),
        ("a short key", instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhl"), 400),
        ("no key", without("Sec-WebSocket-Key"), 400),
        ("a control character", with("X-Odd: a\u{1}b"), 400),
        ("a line without a colon", with("nonsense"), 400),
        ("no HTTP", "hello there\r\n\r\n".to_owned(), 400),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned(), 400),
    ];
    for (name, bytes, expected) in &cases {
        check(ws, name, bytes.as_bytes(), *expected).await;
    }
    check_unharmed(&server).await;
}

/// How long the server lets a connection be; `None`: it said something before it ended.
async fn silent_until(mut wire: Wire, trickle: bool) -> Duration {
    let began = Instant::now();
    loop {
        match wire.frame_within(Duration::from_millis(500)).await {
            Ok(Frame::End) => return began.elapsed(),
            Ok(other) => panic!("{other:?}"),
            // One more byte of a header that never ends; the last ones may meet a closed connection.
            Err(_) if trickle => drop(wire.write(b"x").await),
            Err(_) => assert!(began.elapsed() < Duration::from_secs(20), "left open"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_handshakes_end_after_five_seconds_and_missing_connects_after_ten() {
    let server = Server::start().unwrap();
    let ws = server.addresses().ws;
    let silent = Wire::open(ws).await.unwrap();
    let mut half = Wire::open(ws).await.unwrap();
    half.write(Wire::request(ws, JSON).as_bytes()).await.unwrap();
    let mut slow = Wire::open(ws).await.unwrap();
    slow.write(b"GET /v1/ws HTTP/1.1\r\nX-Slow: ").await.unwrap();
    let mut mute = Wire::open(ws).await.unwrap();
    mute.upgrade(ws, JSON).await.unwrap();
    let began = Instant::now();
    let (silent, half, slow, code) = tokio::join!(
        silent_until(silent, false),
        silent_until(half, false),
        silent_until(slow, true),
        mute.close_code()
    );
    for took in [silent, half, slow] {
        assert!((4_000..8_000).contains(&took.as_millis()), "{took:?}");
    }
    assert_eq!(code.unwrap(), Some(3004));
    assert!((9_000..14_000).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    check_unharmed(&server).await;
}
