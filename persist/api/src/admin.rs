//! The admin listener: health, readiness, metrics, and the trace of one message.
//!
//! Meant for loopback. Health and metrics are open there; `/admin/…` asks for the admin token when one
//! is configured. Nothing here shows a body or a token.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ringway_engine::errors::ErrorCode;
use serde::Serialize;

use crate::auth::bearer;
use crate::body::{Segments, json};
use crate::clock::sha256;
use crate::problem::Problem;
use crate::shell;
use crate::state::Api;

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct Trace {
    msg_id: String,
    hops: serde_json::Value,
    archived: Option<Archived>,
}

/// An archived message without its body.
#[derive(Serialize)]
struct Archived {
    conv: String,
    epoch: u64,
    seq: u64,
    from: String,
    client_msg_id: String,
    r#type: String,
    body_bytes: usize,
    ts: u64,
    archived_at_ms: u64,
}

/// The admin router.
pub fn admin_router(api: &Arc<Api>) -> Router {
    let guarded = Router::new()
        .route("/admin/trace/{msg_id}", get(trace))
        .route_layer(from_fn_with_state(Arc::clone(api), admins_only));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .fallback(shell::no_such_path)
        .method_not_allowed_fallback(shell::no_such_method)
        .layer(from_fn_with_state(Arc::clone(api), shell::admin))
        .with_state(Arc::clone(api))
}

async fn admins_only(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if let Some(expected) = &api.config.admin_token {
        let given = bearer(request.headers()).unwrap_or_default();
        // Hashes are compared, so the time taken says nothing about the secret.
        if sha256(given.as_bytes()) != sha256(expected.as_bytes()) {
            return Problem::new(ErrorCode::TokenRefused, "expected the admin token").into_response();
        }
    }
    next.run(request).await
}

async fn readyz(State(api): State<Arc<Api>>) -> Result<Response, Problem> {
    let mut reasons = (api.parts.not_ready)();
    if !api.parts.gateways.ready() {
        reasons.push("gateway is starting or draining".to_owned());
    }
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Readiness { ready, reasons })
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let mut text = api.parts.gateways.metrics();
    let further = api.parts.metrics.iter().map(|metrics| metrics());
    for part in further.chain([api.stats.render()]) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&part);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn trace(State(api): State<Arc<Api>>, Segments(msg_id): Segments<String>) -> Result<Response, Problem> {
    let id = msg_id.parse::<u64>().map_err(|_| Problem::invalid("a message id is a decimal number"))?;
    let hops = serde_json::from_str(&api.parts.gateways.trace(id).await).map_err(Problem::internal)?;
    let archived = api.parts.archive.message(id).await?.map(|found| Archived {
        conv: found.message.conv.clone(),
        epoch: found.message.epoch,
        seq: found.message.seq,
        from: found.message.from.clone(),
        client_msg_id: found.message.client_msg_id.clone(),
        r#type: found.message.kind.clone(),
        body_bytes: found.message.body.len(),
        ts: found.message.ts,
        archived_at_ms: found.archived_at_ms,
    });
    json(StatusCode::OK, &Trace { msg_id, hops, archived })
}
