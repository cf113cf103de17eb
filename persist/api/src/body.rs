//! What a handler takes from a request: JSON bodies, query parameters and path segments, each refused
//! with a problem instead of axum's plain text.

use std::time::Duration;

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ringway_engine::errors::ErrorCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::BODY_BYTES_MAX;
use crate::problem::Problem;
use crate::state::Api;

/// A JSON body of at most `MAX` bytes. Unknown fields are ignored, so clients may be newer.
#[derive(Debug)]
pub(crate) struct JsonBody<T, const MAX: usize = BODY_BYTES_MAX>(pub(crate) T);

impl<T: DeserializeOwned, const MAX: usize> FromRequest<Arc<Api>> for JsonBody<T, MAX> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(ErrorCode::UnsupportedMediaType, "expected content-type application/json"));
        }
        let bytes = read_body(request.into_body(), MAX, api.config.body_timeout_ms).await?;
        // The text names fields and positions, and quotes a wrong value only to whoever sent it.
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Problem::malformed(error.to_string()))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Reads a whole body within its bounds.
///
/// # Errors
/// 408 when it comes too slowly, 413 when it is too large, 400 when it breaks off.
pub(crate) async fn read_body(body: Body, bytes_max: usize, timeout_ms: u64) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(ErrorCode::TooLarge, format!("the body is above {bytes_max} bytes"));
    if axum::body::HttpBody::size_hint(&body).lower() > bytes_max as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(Duration::from_millis(timeout_ms), to_bytes(body, bytes_max)).await {
        Err(_) => Err(Problem::timeout()),
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::malformed("the body could not be read")),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    // axum does not name the type; its text is that of http-body-util's `LengthLimitError`.
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string() == "length limit exceeded" {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Query parameters.
#[derive(Debug)]
pub(crate) struct Parameters<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(value)| Self(value))
            .map_err(|error| Problem::malformed(error.body_text()))
    }
}

/// Path segments, percent-decoded.
#[derive(Debug)]
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(error) => Err(Problem::malformed(error.body_text())),
        }
    }
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let bytes = serde_json::to_vec(value).map_err(Problem::internal)?;
    Ok((status, [(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// One page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    pub(crate) more: bool,
}
