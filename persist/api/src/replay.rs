//! `Idempotency-Key`: a repeated write is answered as the first one was, without being done again.
//!
//! The answers of successful writes are kept in this process for [`REPLAY_MS`], bounded in number and
//! bytes; a restart forgets them. The key counts per user; where there is no user yet (register, login,
//! refresh) it counts per body, so that nobody gets an answer without knowing what it was the answer to.
//!
//! State of one key:
//!
//! ```text
//! absent ──first request──▶ Running ──2xx──▶ Done ──REPLAY_MS, or room needed──▶ absent
//!                              └──refused, or the request was dropped──▶ absent
//! ```
//!
//! A request whose key is `Running`, or was used with another request, is refused with 409.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::auth::{authenticate, bearer};
use crate::body::read_body;
use crate::clock::{hex, now_ms, sha256};
use crate::limits::{
    IDEMPOTENCY_KEY_BYTES_MAX, MEMBER_LIST_BYTES_MAX, REPLAY_ANSWER_BYTES_MAX, REPLAY_BYTES_MAX, REPLAY_MS, REPLAYS_MAX,
};
use crate::problem::Problem;
use crate::state::Api;

const KEY: &str = "idempotency-key";

/// A kept answer.
#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

#[derive(Debug)]
enum Entry {
    Running { request: Vec<u8> },
    Done { request: Vec<u8>, answer: Answer, until_ms: u64 },
}

#[derive(Debug, Default)]
struct Table {
    entries: HashMap<String, Entry>,
    /// Keys that are `Done`, oldest first.
    order: VecDeque<String>,
    bytes: usize,
}

/// The answers kept.
#[derive(Debug, Default)]
pub(crate) struct Replays(Mutex<Table>);

enum Begin {
    First,
    Again(Answer),
    Busy,
    Other,
}

impl Replays {
    fn with<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn begin(&self, key: &str, request: &[u8], now_ms: u64) -> Begin {
        self.with(|table| {
            table.expire(now_ms);
            match table.entries.get(key) {
                None if table.entries.len() >= REPLAYS_MAX && table.order.is_empty() => Begin::Busy,
                None => {
                    table.make_room(0);
                    table.entries.insert(key.to_owned(), Entry::Running { request: request.to_vec() });
                    Begin::First
                }
                Some(Entry::Running { request: first } | Entry::Done { request: first, .. }) if first != request => {
                    Begin::Other
                }
                Some(Entry::Running { .. }) => Begin::Busy,
                Some(Entry::Done { answer, .. }) => Begin::Again(answer.clone()),
            }
        })
    }

    fn finish(&self, key: &str, answer: Answer, now_ms: u64) {
        self.with(|table| {
            let Some(Entry::Running { request }) = table.entries.remove(key) else { return };
            table.make_room(answer.body.len());
            table.bytes += answer.body.len();
            let until_ms = now_ms + REPLAY_MS;
            table.entries.insert(key.to_owned(), Entry::Done { request, answer, until_ms });
            table.order.push_back(key.to_owned());
        });
    }

    fn abandon(&self, key: &str) {
        self.with(|table| {
            if matches!(table.entries.get(key), Some(Entry::Running { .. })) {
                table.entries.remove(key);
            }
        });
    }
}

impl Table {
    fn expire(&mut self, now_ms: u64) {
        while let Some(Entry::Done { until_ms, .. }) = self.order.front().and_then(|key| self.entries.get(key)) {
            if *until_ms > now_ms {
                break;
            }
            self.drop_oldest();
        }
    }

    fn make_room(&mut self, bytes: usize) {
        while !self.order.is_empty() && (self.entries.len() >= REPLAYS_MAX || self.bytes + bytes > REPLAY_BYTES_MAX) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(Entry::Done { answer, .. }) = self.order.pop_front().and_then(|key| self.entries.remove(&key)) {
            self.bytes -= answer.body.len();
        }
    }
}

/// Frees the key when the request ends without an answer to keep, dropped requests included.
struct Claim<'a> {
    replays: &'a Replays,
    key: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.replays.abandon(&self.key);
    }
}

/// The middleware: passes on what has no key, answers repeats, keeps first answers.
pub(crate) async fn replay(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) || !request.headers().contains_key(KEY)
    {
        return next.run(request).await;
    }
    keyed(&api, request, next).await.unwrap_or_else(IntoResponse::into_response)
}

async fn keyed(api: &Api, request: Request, next: Next) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let key = parts.headers.get(KEY).and_then(|key| key.to_str().ok()).unwrap_or_default();
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        return Err(Problem::malformed("Idempotency-Key is empty, too long or not ASCII"));
    }
    let user = match bearer(&parts.headers) {
        Some(_) => Some(authenticate(api, &parts.headers).await?.uid),
        None => None,
    };
    let body = read_body(body, MEMBER_LIST_BYTES_MAX, api.config.body_timeout_ms).await?;
    let mut described = format!("{} {}\n", parts.method, parts.uri).into_bytes();
    described.extend_from_slice(&body);
    let described = sha256(&described);
    let key = match &user {
        Some(uid) => format!("{uid} {key}"),
        None => format!("{} {key}", hex(&described)),
    };
    match api.replays.begin(&key, &described, now_ms()) {
        Begin::First => {}
        Begin::Again(answer) => {
            let mut response = (answer.status, answer.body).into_response();
            *response.headers_mut() = answer.headers;
            return Ok(response);
        }
        Begin::Busy => return Err(Problem::conflict("a request with this Idempotency-Key is still running")),
        Begin::Other => return Err(Problem::conflict("this Idempotency-Key was used with another request")),
    }
    let claim = Claim { replays: &api.replays, key };
    let response = next.run(Request::from_parts(parts, Body::from(body))).await;
    keep(&claim, response).await
}

async fn keep(claim: &Claim<'_>, response: Response) -> Result<Response, Problem> {
    let size = axum::body::HttpBody::size_hint(response.body()).exact();
    if !response.status().is_success() || size.is_none_or(|size| size > REPLAY_ANSWER_BYTES_MAX as u64) {
        return Ok(response);
    }
    let (mut parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, REPLAY_ANSWER_BYTES_MAX).await.map_err(Problem::internal)?;
    parts.headers.remove(header::CONTENT_LENGTH);
    let answer = Answer { status: parts.status, headers: parts.headers.clone(), body: body.clone() };
    claim.replays.finish(&claim.key, answer, now_ms());
    Ok(Response::from_parts(parts, Body::from(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Answer {
        Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: vec![0; bytes].into() }
    }

    #[test]
    fn answers_are_bounded_in_bytes_and_time() {
        let replays = Replays::default();
        let each = REPLAY_BYTES_MAX / 2;
        for key in ["a", "b", "c"] {
            assert!(matches!(replays.begin(key, b"r", 0), Begin::First));
            replays.finish(key, answer(each), 0);
        }
        assert!(matches!(replays.begin("c", b"r", 1), Begin::Again(_)));
        assert!(matches!(replays.begin("c", b"other", 1), Begin::Other));
        assert!(matches!(replays.begin("a", b"r", 1), Begin::First), "the oldest made room");
        assert!(matches!(replays.begin("a", b"r", 1), Begin::Busy));
        assert!(matches!(replays.begin("c", b"r", REPLAY_MS), Begin::First), "its time is over");
        replays.with(|table| assert_eq!((table.bytes, table.order.len()), (0, 0)));
    }

    #[test]
    fn a_dropped_request_frees_its_key() {
        let replays = Replays::default();
        assert!(matches!(replays.begin("a", b"r", 0), Begin::First));
        drop(Claim { replays: &replays, key: "a".into() });
        assert!(matches!(replays.begin("a", b"r", 0), Begin::First));
    }
}
