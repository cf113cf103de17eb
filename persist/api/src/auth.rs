//! Who asks: the bearer token of a request, checked for signature, expiry and revocation.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::Uid;
use ringway_engine::limits::TOKEN_BYTES_MAX;
use ringway_store::token::TokenError;

use crate::clock::now_ms;
use crate::problem::Problem;
use crate::state::Api;

/// The user a request speaks for.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// User.
    pub(crate) uid: Uid,
    /// Session of the token.
    pub(crate) sid: String,
    /// Unix milliseconds at which the token ends.
    pub(crate) expires_ms: u64,
}

/// The bearer token of a request, if it has one.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Checks the token of a request.
///
/// # Errors
/// 401 without one or with one that does not hold; 503 when revocations cannot be read.
pub(crate) async fn authenticate(api: &Api, headers: &HeaderMap) -> Result<Caller, Problem> {
    let refused = || Problem::new(ErrorCode::TokenRefused, "the token is not valid");
    let token = bearer(headers).ok_or_else(|| Problem::new(ErrorCode::NotConnected, "expected a bearer token"))?;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refused());
    }
    let now = now_ms();
    let claims = api.parts.tokens.verify(token, now / 1_000).map_err(|error| match error {
        TokenError::Expired => Problem::new(ErrorCode::TokenExpired, "the token has expired"),
        _ => refused(),
    })?;
    if api.revoked.contains(&claims.sid, &*api.parts.directory, now).await? {
        return Err(refused());
    }
    Ok(Caller { uid: claims.sub, sid: claims.sid, expires_ms: claims.exp.saturating_mul(1_000) })
}

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        authenticate(api, &parts.headers).await
    }
}
