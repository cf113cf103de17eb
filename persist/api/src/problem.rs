//! Refusals as RFC 9457 `application/problem+json`, each with its code from the wire's one table.
//!
//! ```json
//! {"type":"about:blank","title":"Conflict","status":409,"detail":"alice is taken","code":4090,"name":"conflict"}
//! ```
//!
//! The detail is for people and never holds a token, a password or a message body.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::IdError;
use ringway_store::ports::{DirectoryError, StoreError};
use serde::Serialize;

use crate::limiter::Refused;
use crate::limits::RETRY_AFTER_S;

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: ErrorCode,
    detail: Cow<'static, str>,
    retry_after_s: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: u32,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

impl Problem {
    /// With the status that the table gives the code.
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, detail: detail.into(), retry_after_s: None }
    }

    pub(crate) fn malformed(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Malformed, detail)
    }

    pub(crate) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidArgument, detail)
    }

    pub(crate) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::NotFound, detail)
    }

    pub(crate) fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Conflict, detail)
    }

    /// A bounded queue of the API is full.
    pub(crate) fn busy(detail: &'static str) -> Self {
        Self { retry_after_s: Some(RETRY_AFTER_S), ..Self::new(ErrorCode::Busy, detail) }
    }

    /// A part that the API needs did not answer.
    pub(crate) fn unavailable(detail: &'static str) -> Self {
        Self { retry_after_s: Some(RETRY_AFTER_S), ..Self::new(ErrorCode::Unavailable, detail) }
    }

    /// A body that did not come in time.
    pub(crate) fn timeout() -> Self {
        Self { status: StatusCode::REQUEST_TIMEOUT, ..Self::malformed("the body did not arrive in time") }
    }

    /// What must not happen: logged here, told in general terms.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(ErrorCode::Internal, "internal error")
    }

    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a store did not answer");
        Self::unavailable("a store did not answer")
    }
}

impl From<DirectoryError> for Problem {
    fn from(error: DirectoryError) -> Self {
        match error {
            DirectoryError::Taken => Self::conflict("already taken"),
            DirectoryError::NotFound => Self::not_found("no such user, group or member"),
            DirectoryError::Limit(what) => Self::new(ErrorCode::TooLarge, what),
            DirectoryError::Store(error) => error.into(),
        }
    }
}

impl From<IdError> for Problem {
    fn from(error: IdError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let problem = Self::new(ErrorCode::RateLimited, "too many attempts, try again later");
        Self { retry_after_s: Some(refused.retry_after_s), ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = Body {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code.code(),
            name: self.code.name(),
            retry_after_ms: self.retry_after_s.map(|s| s * 1_000),
        };
        // Strings and integers have no way to fail.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
