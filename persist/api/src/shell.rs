//! What surrounds every request: client address, origin check, deadline, headers, counters.
//!
//! Browsers may call from the API's own origin and from the configured ones; a request with another
//! `Origin` is refused before its handler runs. Programs send none and are not concerned.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ringway_engine::errors::ErrorCode;

use crate::address::{ClientAddress, Peer, client_address};
use crate::admin::Admin;
use crate::limits::REQUEST_TIMEOUT_MS;
use crate::problem::Problem;
use crate::state::Api;
use crate::stats::RequestStats;
use crate::watch::{Answered, Watch};

/// Of which kind the `Origin` of a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// None, or the API's own.
    Own,
    /// One from the allow-list.
    Listed(HeaderValue),
    /// Any other.
    Foreign,
}

/// The middleware of the public router.
pub(crate) async fn public(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let origin = origin(request.headers(), &api.config.allowed_origins);
    // Without `serve` around it nobody says who the peer is; all such requests then share their limits.
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(peer)| peer.ip());
    let client: ClientAddress = client_address(peer, request.headers(), &api.config.trusted_peers);
    request.extensions_mut().insert(client);
    let preflight = *request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && matches!(origin, Origin::Listed(_));
    let mut response = if origin == Origin::Foreign {
        Problem::new(ErrorCode::Forbidden, "this origin is not allowed").into_response()
    } else if preflight {
        preflight_answer()
    } else {
        measured(&api.parts.requests, Some(&api.watch), api.config.request_timeout_ms, request, next).await
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Origin::Listed(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("location, retry-after");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    secure(headers);
    response
}

/// The middleware of the admin router: no browser page may reach it, not even over a rebound name.
pub(crate) async fn admin(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    let mut response = if request.headers().contains_key(header::ORIGIN) {
        Problem::new(ErrorCode::Forbidden, "the admin listener does not answer browsers' cross-origin requests")
            .into_response()
    } else {
        measured(&admin.requests, None, REQUEST_TIMEOUT_MS, request, next).await
    };
    secure(response.headers_mut());
    response
}

async fn measured(
    stats: &RequestStats,
    watch: Option<&Watch>,
    timeout_ms: u64,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let method = method_name(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let matched = matched.as_ref().map(MatchedPath::as_str);
    let route = matched.unwrap_or("unmatched");
    let deadline = Duration::from_millis(timeout_ms);
    let response = match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable("the request took too long").into_response(),
    };
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    stats.record(method, route, status, took);
    if let Some(watch) = watch {
        watch.tell(&Answered { method, route: matched, status, took });
    }
    tracing::debug!(method, route, status, took_us = took.as_micros() as u64, "request");
    response
}

fn origin(headers: &HeaderMap, allowed: &[String]) -> Origin {
    let Some(value) = headers.get(header::ORIGIN) else { return Origin::Own };
    let Ok(text) = value.to_str() else { return Origin::Foreign };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if own.is_some_and(|own| own.eq_ignore_ascii_case(host)) {
        Origin::Own
    } else if allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(text)) {
        Origin::Listed(value.clone())
    } else {
        Origin::Foreign
    }
}

fn preflight_answer() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, PATCH, DELETE"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, idempotency-key"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}

/// Headers of every answer; what a handler set itself stays.
fn secure(headers: &mut HeaderMap) {
    let always: [(HeaderName, &'static str); 6] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in always {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// Answers paths that are not there.
pub(crate) async fn no_such_path() -> Problem {
    Problem::not_found("no such path")
}

/// Answers methods that a path does not have; the router adds `Allow`.
pub(crate) async fn no_such_method() -> Problem {
    Problem::new(ErrorCode::MethodNotAllowed, "this path does not take this method")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_own_listed_or_foreign() {
        let check = |value: Option<&'static str>, expected: Origin| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("chat.example:7480"));
            if let Some(value) = value {
                headers.insert(header::ORIGIN, HeaderValue::from_static(value));
            }
            assert_eq!(origin(&headers, &["https://app.example".into()]), expected, "{value:?}");
        };
        check(None, Origin::Own);
        check(Some("http://chat.example:7480"), Origin::Own);
        check(Some("https://app.example"), Origin::Listed(HeaderValue::from_static("https://app.example")));
        for foreign in ["null", "http://chat.example", "https://app.example.evil", "http://evil", "file://"] {
            check(Some(foreign), Origin::Foreign);
        }
    }
}
