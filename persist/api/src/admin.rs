//! The admin listener: health, readiness, metrics, and the trace of one message.
//!
//! Meant for loopback. Health and metrics are open there; `/admin/…` asks for the admin token when one
//! is configured. Nothing here shows a body or a token.
//!
//! It answers from a process's first moment, before its parts are there, so that `/readyz` can say what is
//! missing: what a trace needs is put in once it is there.

use std::fmt;
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use ringway_engine::errors::ErrorCode;
use ringway_store::ports::{Archive, Gateways};
use serde::Serialize;
use serde_json::Value;

use crate::auth::bearer;
use crate::body::{Segments, json};
use crate::clock::sha256;
use crate::problem::Problem;
use crate::shell;
use crate::stats::RequestStats;

/// A place for what is there later; filled once.
pub type Later<T> = Arc<OnceLock<Arc<T>>>;

/// What the admin listener shows.
pub struct Admin {
    /// Whom a trace asks for hops. Until it is put in there are none.
    pub gateways: Later<dyn Gateways>,
    /// Where a trace looks the message up. Until it is put in the message is unknown.
    pub archive: Later<dyn Archive>,
    /// Why the process is not ready; empty when nothing speaks against it.
    pub not_ready: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What the process's own parts remember of a message beside the gateways: JSON arrays of hops.
    pub hops: Box<dyn Fn(u64) -> Vec<String> + Send + Sync>,
    /// Prometheus texts of the process's parts.
    pub metrics: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The counters of all listeners of the process.
    pub requests: Arc<RequestStats>,
    /// When set, `/admin/…` wants `Authorization: Bearer` with this secret.
    pub token: Option<String>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    reasons: Vec<String>,
}

#[derive(Serialize)]
struct Trace {
    msg_id: String,
    hops: Vec<Value>,
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
pub fn admin_router(admin: &Arc<Admin>) -> Router {
    let guarded = Router::new()
        .route("/admin/trace/{msg_id}", get(trace))
        .route_layer(from_fn_with_state(Arc::clone(admin), admins_only));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(guarded)
        .fallback(shell::no_such_path)
        .method_not_allowed_fallback(shell::no_such_method)
        .layer(from_fn_with_state(Arc::clone(admin), shell::admin))
        .with_state(Arc::clone(admin))
}

async fn admins_only(State(admin): State<Arc<Admin>>, request: Request, next: Next) -> Response {
    if let Some(expected) = &admin.token {
        let given = bearer(request.headers()).unwrap_or_default();
        // Hashes are compared, so the time taken says nothing about the secret.
        if sha256(given.as_bytes()) != sha256(expected.as_bytes()) {
            return Problem::new(ErrorCode::TokenRefused, "expected the admin token").into_response();
        }
    }
    next.run(request).await
}

async fn readyz(State(admin): State<Arc<Admin>>) -> Result<Response, Problem> {
    let reasons = (admin.not_ready)();
    let ready = reasons.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json(status, &Readiness { ready, reasons })
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let mut text = String::new();
    for part in (admin.metrics)().into_iter().chain([admin.requests.render()]) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&part);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

/// Hops of several arrays, oldest first.
fn merged(arrays: impl Iterator<Item = String>) -> serde_json::Result<Vec<Value>> {
    let mut hops = Vec::new();
    for array in arrays {
        hops.extend(serde_json::from_str::<Vec<Value>>(&array)?);
    }
    hops.sort_by_key(|hop| hop.get("at_us").and_then(Value::as_u64).unwrap_or(u64::MAX));
    Ok(hops)
}

async fn trace(State(admin): State<Arc<Admin>>, Segments(msg_id): Segments<String>) -> Result<Response, Problem> {
    let id = msg_id.parse::<u64>().map_err(|_| Problem::invalid("a message id is a decimal number"))?;
    let of_gateways = match admin.gateways.get() {
        Some(gateways) => Some(gateways.trace(id).await),
        None => None,
    };
    let hops = merged((admin.hops)(id).into_iter().chain(of_gateways)).map_err(Problem::internal)?;
    let found = match admin.archive.get() {
        Some(archive) => archive.message(id).await?,
        None => None,
    };
    let archived = found.map(|found| Archived {
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
