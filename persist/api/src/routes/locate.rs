//! Which gateways to try.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::body::{List, json};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Serialize)]
struct Node {
    ws: String,
    load: f64,
}

/// `GET /v1/locate`: this node, or nothing while it starts or drains. Needs no token: it is asked before
/// there is one.
pub(crate) async fn locate(State(api): State<Arc<Api>>, headers: HeaderMap) -> Result<Response, Problem> {
    let mut items = Vec::new();
    if api.parts.gateways.ready() {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let ws = reachable(&api.config.public_ws_url, host);
        items.push(Node { ws, load: (api.parts.load)().clamp(0.0, 1.0) });
    }
    json(StatusCode::OK, &List { items, more: false })
}

/// Puts the host that the client asked for in the place of a wildcard one.
fn reachable(url: &str, asked: Option<&str>) -> String {
    for wildcard in ["://0.0.0.0", "://[::]"] {
        let Some((scheme, rest)) = url.split_once(wildcard) else { continue };
        if let Some(host) = asked.map(host_alone).filter(|host| is_host(host)) {
            return format!("{scheme}://{host}{rest}");
        }
    }
    url.to_owned()
}

fn host_alone(authority: &str) -> &str {
    match authority.rfind(':') {
        Some(colon) if !authority.ends_with(']') => authority.get(..colon).unwrap_or_default(),
        _ => authority,
    }
}

fn is_host(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_becomes_the_host_asked_for() {
        let check = |url, asked, expected: &str| assert_eq!(reachable(url, asked), expected, "{asked:?}");
        check("ws://0.0.0.0:7400/v1/ws", Some("chat.example:7480"), "ws://chat.example:7400/v1/ws");
        check("ws://[::]:7400/v1/ws", Some("[fd00::1]:7480"), "ws://[fd00::1]:7400/v1/ws");
        check("ws://[::]:7400/v1/ws", Some("[fd00::1]"), "ws://[fd00::1]:7400/v1/ws");
        check("ws://0.0.0.0:7400/v1/ws", Some("evil/x?@"), "ws://0.0.0.0:7400/v1/ws");
        check("ws://0.0.0.0:7400/v1/ws", None, "ws://0.0.0.0:7400/v1/ws");
        check("wss://im.example/v1/ws", Some("other"), "wss://im.example/v1/ws");
    }
}
