//! Signing in and out: register, login, refresh, logout.
//!
//! An access token is a signed statement that any node checks by itself and lives an hour; the refresh
//! token that renews it is 32 random bytes, stored only as its SHA-256, and good for one exchange. A
//! second exchange of the same one revokes the whole session: one of the two holders is a thief.

use std::sync::Arc;

use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{DeviceId, Uid};
use ringway_store::ports::{Account, DirectoryError, NewSession};
use ringway_store::token::Claims;
use serde::{Deserialize, Serialize};

use super::accounts::check_name;
use crate::address::ClientAddress;
use crate::auth::Caller;
use crate::body::{JsonBody, json};
use crate::clock::{now_ms, random_text, sha256};
use crate::limits::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, PLATFORM_BYTES_MAX, REFRESH_TOKEN_BYTES_MAX};
use crate::problem::Problem;
use crate::state::Api;

/// Recorded for a session whose sign-in named no device; its tokens serve any device.
const NO_DEVICE: &str = "any";

#[derive(Deserialize)]
pub(crate) struct Credentials {
    user: String,
    password: String,
    /// Display name; register only.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    platform: String,
}

#[derive(Deserialize)]
pub(crate) struct RefreshToken {
    refresh_token: String,
}

#[derive(Serialize)]
struct Grant<'a> {
    uid: &'a str,
    access_token: String,
    refresh_token: String,
    expires_in: u64,
}

/// `POST /v1/auth/register`
pub(crate) async fn register(
    State(api): State<Arc<Api>>,
    Extension(address): Extension<ClientAddress>,
    JsonBody(body): JsonBody<Credentials>,
) -> Result<Response, Problem> {
    let uid = Uid::parse(&body.user)?;
    let device = check(&body)?;
    let name = body.name.unwrap_or_else(|| body.user.clone());
    check_name(&name)?;
    api.registrations.count(address.0, now_ms())?;
    let taken = || Problem::conflict(format!("user {uid} is taken"));
    if api.parts.directory.account(&uid).await?.is_some() {
        return Err(taken());
    }
    let permit = api.passwords.permit().await?;
    let hash = api.passwords.hash(permit, body.password).await?;
    let account = Account { uid: uid.clone(), name, created_ms: now_ms() };
    match api.parts.directory.create_account(&account, &hash).await {
        Err(DirectoryError::Taken) => return Err(taken()),
        other => other?,
    }
    tracing::info!(%uid, address = %address.0, "registered");
    let session = open_session(&api, &uid, device, body.platform).await?;
    json(StatusCode::CREATED, &session.grant(&api, &uid)?)
}

/// `POST /v1/auth/login`
pub(crate) async fn login(
    State(api): State<Arc<Api>>,
    Extension(address): Extension<ClientAddress>,
    JsonBody(body): JsonBody<Credentials>,
) -> Result<Response, Problem> {
    let uid = Uid::parse(&body.user)?;
    let device = check(&body)?;
    may_try(&api, address, &uid)?;
    let permit = api.passwords.permit().await?;
    // Again: those that waited for their turn beside this one may have used up the minute.
    may_try(&api, address, &uid)?;
    let stored = api.parts.directory.password_hash(&uid).await?;
    if !api.passwords.verify(permit, body.password, stored).await? {
        failed(&api, address, Some(&uid));
        return Err(Problem::new(ErrorCode::LoginFailed, "user or password is wrong"));
    }
    let session = open_session(&api, &uid, device, body.platform).await?;
    json(StatusCode::OK, &session.grant(&api, &uid)?)
}

/// `POST /v1/auth/refresh`
pub(crate) async fn refresh(
    State(api): State<Arc<Api>>,
    Extension(address): Extension<ClientAddress>,
    JsonBody(body): JsonBody<RefreshToken>,
) -> Result<Response, Problem> {
    let now = now_ms();
    let refused = || {
        failed(&api, address, None);
        Problem::new(ErrorCode::TokenRefused, "the refresh token is not valid")
    };
    api.failed_logins_by_address.check(&address.0, now)?;
    if body.refresh_token.len() > REFRESH_TOKEN_BYTES_MAX {
        return Err(refused());
    }
    let refresh_token = random_text::<32>()?;
    let (old, new) = (sha256(body.refresh_token.as_bytes()), sha256(refresh_token.as_bytes()));
    let expires_ms = now + api.config.refresh_ttl_ms;
    let session = match api.parts.directory.rotate_session(&old, &new, now, expires_ms).await {
        Err(DirectoryError::NotFound) => return Err(refused()),
        other => other?,
    };
    let device = Some(session.device).filter(|device| device.as_str() != NO_DEVICE);
    let granted = Session { sid: session.sid, device, refresh_token };
    json(StatusCode::OK, &granted.grant(&api, &session.uid)?)
}

/// `POST /v1/auth/logout`
pub(crate) async fn logout(State(api): State<Arc<Api>>, caller: Caller) -> Result<Response, Problem> {
    let now = now_ms();
    // A token that was made elsewhere may live longer than ours.
    let until_ms = caller.expires_ms.max(now + api.config.access_ttl_ms);
    match api.parts.directory.revoke_session(&caller.sid, now, until_ms).await {
        Err(DirectoryError::NotFound) => return Err(Problem::not_found("the token belongs to no recorded session")),
        other => other?,
    }
    api.revoked.insert(&caller.sid, until_ms);
    tracing::info!(uid = %caller.uid, sid = caller.sid, "logged out");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A sign-in whose tokens are about to be told.
struct Session {
    sid: String,
    device: Option<DeviceId>,
    refresh_token: String,
}

impl Session {
    fn grant<'a>(self, api: &Api, uid: &'a Uid) -> Result<Grant<'a>, Problem> {
        let expires_in = api.config.access_ttl_ms / 1_000;
        let iat = now_ms() / 1_000;
        let claims = Claims { sub: uid.clone(), iat, exp: iat + expires_in, sid: self.sid, dev: self.device };
        let access_token = api.parts.tokens.sign(&claims).map_err(Problem::internal)?;
        Ok(Grant { uid: uid.as_str(), access_token, refresh_token: self.refresh_token, expires_in })
    }
}

async fn open_session(api: &Api, uid: &Uid, device: Option<DeviceId>, platform: String) -> Result<Session, Problem> {
    let now = now_ms();
    let (sid, refresh_token) = (random_text::<16>()?, random_text::<32>()?);
    let recorded = match &device {
        Some(device) => device.clone(),
        None => DeviceId::parse(NO_DEVICE)?,
    };
    let session = NewSession {
        sid: sid.clone(),
        uid: uid.clone(),
        device: recorded,
        platform,
        refresh_hash: sha256(refresh_token.as_bytes()),
        created_ms: now,
        expires_ms: now + api.config.refresh_ttl_ms,
    };
    api.parts.directory.open_session(&session).await?;
    tracing::info!(%uid, sid, "session opened");
    Ok(Session { sid, device, refresh_token })
}

/// Checks password length, device and platform.
fn check(body: &Credentials) -> Result<Option<DeviceId>, Problem> {
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&body.password.len()) {
        let bounds = format!("a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes");
        return Err(Problem::invalid(bounds));
    }
    if body.platform.len() > PLATFORM_BYTES_MAX || body.platform.chars().any(char::is_control) {
        return Err(Problem::invalid("the platform is too long or has control characters"));
    }
    Ok(body.device.as_deref().map(DeviceId::parse).transpose()?)
}

fn may_try(api: &Api, address: ClientAddress, uid: &Uid) -> Result<(), Problem> {
    let now = now_ms();
    api.failed_logins_by_address.check(&address.0, now)?;
    Ok(api.failed_logins_by_account.check(&uid.to_string(), now)?)
}

fn failed(api: &Api, address: ClientAddress, uid: Option<&Uid>) {
    let now = now_ms();
    // A refusal here only says that the minute is used up already; the next try is told.
    let _ = api.failed_logins_by_address.count(address.0, now);
    if let Some(uid) = uid {
        let _ = api.failed_logins_by_account.count(uid.to_string(), now);
    }
    tracing::info!(address = %address.0, uid = uid.map(Uid::as_str), "sign-in refused");
}
