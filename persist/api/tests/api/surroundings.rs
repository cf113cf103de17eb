//! The admin listener, the page, the node's address and the headers of every answer.

use std::sync::atomic::Ordering;

use crate::harness::{Server, request};
use ringway_api::ServeLimits;
use ringway_store::ports::{ArchiveBatch, LogOffset};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_told_apart() {
    let server = Server::start().await;
    assert_eq!(request(server.admin, "GET", "/healthz", &[], None).await.status, 200);
    assert_eq!(
        request(server.admin, "GET", "/readyz", &[], None).await.json(),
        json!({ "ready": true, "reasons": [] })
    );
    server.gateway.ready.store(false, Ordering::Relaxed);
    assert_eq!(request(server.admin, "GET", "/healthz", &[], None).await.status, 200);
    let red = request(server.admin, "GET", "/readyz", &[], None).await;
    assert_eq!((red.status, red.json()["reasons"].as_array().unwrap().len()), (503, 1));
    assert_eq!(server.call("GET", "/v1/locate", None).await.json(), json!({ "items": [], "more": false }));
    for path in ["/healthz", "/readyz", "/metrics", "/admin/trace/1"] {
        assert_eq!(server.call("GET", path, None).await.status, 404, "{path} is not public");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_of_gateway_daemon_and_api() {
    let server = Server::start().await;
    server.call("GET", "/v1/users/ann", None).await;
    let answer = request(server.admin, "GET", "/metrics", &[], None).await;
    let text = answer.text();
    for line in [
        "gateway_connections 3",
        "daemon_archived 7",
        "ringway_api_requests_total{method=\"GET\",route=\"/v1/users/{uid}\",status=\"401\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_of_public_requests_by_route_and_status_alone() {
    let server = Server::start().await;
    server.call("GET", "/v1/users/zoe", None).await;
    let (told, heard) = std::sync::mpsc::channel();
    server.api.watch_requests(Box::new(move |one| {
        told.send((one.method, one.route.map(str::to_owned), one.status, one.took.is_zero())).unwrap();
    }));
    server.call("GET", "/v1/users/ann", None).await;
    server.call("POST", "/nowhere/ann", None).await;
    request(server.admin, "GET", "/metrics", &[], None).await;
    let heard: Vec<_> = heard.try_iter().collect();
    let of_user = ("GET", Some("/v1/users/{uid}".to_owned()), 401, false);
    assert_eq!(heard, [of_user, ("POST", None, 404, false)], "neither earlier ones nor the admin listener's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_shows_hops_and_the_archive_but_no_body() {
    let server = Server::start().await;
    let said = server.say("p2p:ann:bob", "ann", "private words").await;
    let batch = ArchiveBatch { messages: vec![said], next_offset: LogOffset(1), ..ArchiveBatch::default() };
    server.archive.commit(&batch).await.unwrap();
    let path = "/admin/trace/1";
    let token = [("authorization", "Bearer s3cret")];
    for headers in [&[][..], &[("authorization", "Bearer other")][..]] {
        assert_eq!(request(server.admin, "GET", path, headers, None).await.code(), 4012);
    }
    let answer = request(server.admin, "GET", path, &token, None).await;
    assert!(!answer.text().contains("private"));
    let json = answer.json();
    let hops: Vec<_> = json["hops"].as_array().unwrap().iter().map(|hop| (&hop["station"], &hop["id"])).collect();
    assert_eq!(json!(hops), json!([["batched", "1"], ["consumed", "1"], ["sent", "1"]]), "of all parts, by their time");
    assert_eq!(json["archived"]["seq"], 1);
    let unknown = request(server.admin, "GET", "/admin/trace/99", &token, None).await.json();
    assert!(unknown["archived"].is_null());
    assert_eq!(request(server.admin, "GET", "/admin/trace/x", &token, None).await.code(), 4002);
    let from_page = [("authorization", "Bearer s3cret"), ("origin", "http://evil.example")];
    assert_eq!(request(server.admin, "GET", path, &from_page, None).await.code(), 4030);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_once_and_then_known() {
    let server = Server::start().await;
    let page = server.call("GET", "/", None).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("Ringway"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'self'; connect-src 'self' ws: wss:"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let etag = page.header("etag").unwrap();
    let known = server.call_with("GET", "/", &[("if-none-match", etag)], None).await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(etag)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_located_under_the_name_it_was_asked_by() {
    let server = Server::start().await;
    let located = server.call("GET", "/v1/locate", None).await.json();
    assert_eq!(located, json!({ "items": [{ "ws": "ws://127.0.0.1:7400/v1/ws", "load": 0.25 }], "more": false }));
    let document = server.call("GET", "/v1/openapi.json", None).await.json();
    assert_eq!(document["openapi"], "3.1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_origins_get_in_and_every_answer_is_guarded() {
    let adapt = |config: &mut ringway_api::ApiConfig| config.allowed_origins = vec!["https://app.example".into()];
    let server = Server::start_with(adapt, ServeLimits::default()).await;
    let listed = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    let preflight = server.call_with("OPTIONS", "/v1/auth/login", &listed, None).await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("idempotency-key"));
    let own = format!("http://{}", server.public);
    let answer = server.call_with("GET", "/v1/locate", &[("origin", &own)], None).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, None));
    for path in ["/v1/locate", "/nothing", "/"] {
        let answer = server.call("GET", path, None).await;
        for (name, value) in
            [("x-content-type-options", "nosniff"), ("x-frame-options", "deny"), ("referrer-policy", "no-referrer")]
        {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
}
