//! The HTTP vendor against a real listener.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use ringway_push::{HttpVendor, HttpVendorConfig};
use ringway_store::conformance::{conv, uid};
use ringway_store::ports::{PushError, PushNotice, VendorPush as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Answers every request with one status, after a while; remembers how many it had at once.
struct Service {
    url: String,
    requests: mpsc::UnboundedReceiver<String>,
    most_at_once: Arc<AtomicUsize>,
}

async fn service(status: &'static str, after: Duration) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/notices", listener.local_addr().unwrap());
    let (seen, requests) = mpsc::unbounded_channel();
    let most_at_once = Arc::new(AtomicUsize::new(0));
    let (most, now) = (most_at_once.clone(), Arc::new(AtomicUsize::new(0)));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (seen, most, now) = (seen.clone(), most.clone(), now.clone());
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut socket).await {
                    most.fetch_max(now.fetch_add(1, Relaxed) + 1, Relaxed);
                    // The test may have seen enough.
                    let _ = seen.send(request);
                    tokio::time::sleep(after).await;
                    now.fetch_sub(1, Relaxed);
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nLocation: /elsewhere\r\n\r\n");
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Service { url, requests, most_at_once }
}

async fn read_request(socket: &mut TcpStream) -> Option<String> {
    let mut text = String::new();
    let mut bytes = [0; 4_096];
    loop {
        let count = socket.read(&mut bytes).await.ok().filter(|count| *count > 0)?;
        text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if body.len() >= length.parse().unwrap() {
            return Some(text);
        }
    }
}

fn notice() -> PushNotice {
    PushNotice {
        uid: uid("b"),
        conv: conv("p2p:a:b"),
        seq: 42,
        msg_id: u64::MAX,
        from: "a".into(),
        kind: "text".into(),
    }
}

fn vendor(service: &Service) -> HttpVendor {
    HttpVendor::new(&HttpVendorConfig::new(&service.url, "s3cret")).unwrap()
}

#[tokio::test]
async fn a_notice_is_posted_with_its_secret_and_without_a_body_of_the_message() {
    let mut service = service("204 No Content", Duration::ZERO).await;
    vendor(&service).push(&notice()).await.unwrap();
    let request = service.requests.recv().await.unwrap();
    assert!(request.starts_with("POST /notices HTTP/1.1\r\n"), "{request}");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.contains("\r\nauthorization: bearer s3cret") && head.contains("content-type: application/json"));
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let expected = serde_json::json!({
        "uid": "b", "conv": "p2p:a:b", "seq": 42, "msg_id": u64::MAX.to_string(), "from": "a", "kind": "text",
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_status_says_whether_to_come_again() {
    for (status, temporary) in [
        ("429 Too Many Requests", true),
        ("500 Internal Server Error", true),
        ("503 Service Unavailable", true),
        ("408 Request Timeout", true),
        ("400 Bad Request", false),
        ("401 Unauthorized", false),
        ("404 Not Found", false),
        ("302 Found", false),
    ] {
        let mut service = service(status, Duration::ZERO).await;
        let error = vendor(&service).push(&notice()).await.unwrap_err();
        assert_eq!(matches!(error, PushError::Temporary(_)), temporary, "{error}");
        assert!(error.to_string().contains(&status[..3]), "{error}");
        service.requests.recv().await.unwrap();
        assert!(service.requests.try_recv().is_err(), "a redirect is not followed");
    }
}

#[tokio::test]
async fn a_vendor_that_does_not_answer_is_given_up_in_time() {
    let service = service("200 OK", Duration::from_secs(60)).await;
    let config = HttpVendorConfig { timeout_ms: 50, ..HttpVendorConfig::new(&service.url, "") };
    let began = Instant::now();
    let error = HttpVendor::new(&config).unwrap().push(&notice()).await.unwrap_err();
    assert!(matches!(error, PushError::Temporary(_)) && began.elapsed() < Duration::from_secs(20), "{error}");
    // Nobody listens.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let vendor = HttpVendor::new(&HttpVendorConfig::new(format!("http://{gone}/?key=hidden"), "")).unwrap();
    let error = vendor.push(&notice()).await.unwrap_err();
    assert!(matches!(error, PushError::Temporary(_)) && !error.to_string().contains("hidden"), "{error}");
}

#[tokio::test]
async fn so_many_requests_are_made_at_once_and_no_more() {
    let service = service("200 OK", Duration::from_millis(20)).await;
    let config = HttpVendorConfig { at_once_max: 3, ..HttpVendorConfig::new(&service.url, "s3cret") };
    let vendor = Arc::new(HttpVendor::new(&config).unwrap());
    let pushes: Vec<_> = (0..12)
        .map(|_| {
            let vendor = vendor.clone();
            tokio::spawn(async move { vendor.push(&notice()).await })
        })
        .collect();
    for push in pushes {
        push.await.unwrap().unwrap();
    }
    assert!((2..=3).contains(&service.most_at_once.load(Relaxed)), "{:?}", service.most_at_once);
}

#[test]
fn an_address_that_is_none_is_refused_and_no_secret_is_shown() {
    for url in ["", "vendor", "ftp://vendor/", "file:///etc/passwd"] {
        let config = HttpVendorConfig::new(url, "s3cret");
        assert!(config.check().is_err() && HttpVendor::new(&config).is_err(), "{url}");
    }
    HttpVendorConfig::new("https://vendor/notices", "s3cret").check().unwrap();
    let error = HttpVendorConfig::new("http://vendor/", "s3\ncret").check().unwrap_err().to_string();
    assert_eq!(error, "the secret cannot stand in a header");
    assert!(!format!("{:?}", HttpVendorConfig::new("http://vendor/", "s3cret")).contains("s3cret"));
}
