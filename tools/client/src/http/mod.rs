//! The HTTP API: accounts, tokens, groups, conversations, history.

mod tokens;
mod types;

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};
use ringway_engine::errors::ErrorCode;
use ringway_engine::packet::schema::Conversations;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thiserror::Error;
use url::{Host, Url};

use crate::body;
pub use tokens::SessionTokens;
pub use types::{Account, From, Gateway, Group, History, List, Member, Session};

/// How long an answer may take.
const TIMEOUT_MS: u64 = 15_000;

/// Why a request failed.
#[derive(Debug, Error)]
pub enum ApiError {
    /// The address is no `http://` or `https://` URL.
    #[error("not an HTTP URL: {0:?}")]
    Url(String),
    /// No answer: not reached, cut off, or too slow.
    #[error("the API does not answer: {0}")]
    Unreachable(String),
    /// The API refused (RFC 9457).
    #[error("{detail} (HTTP {status}, {code})")]
    Problem {
        /// HTTP status.
        status: u16,
        /// The wire's error code; 0 when the answer was none of the API's.
        code: u32,
        /// For people.
        detail: String,
        /// When not 0: not before this many milliseconds.
        retry_after_ms: u64,
    },
    /// The answer is not what this request is answered with.
    #[error("the API's answer is not understood: {0}")]
    Unexpected(String),
}

impl ApiError {
    /// Whether the API refused with this code.
    #[must_use]
    pub fn is(&self, wanted: ErrorCode) -> bool {
        matches!(self, Self::Problem { code, .. } if *code == wanted.code())
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Problem { status, .. } => *status == 429 || *status >= 500,
            Self::Url(_) | Self::Unexpected(_) => false,
        }
    }
}

/// A client of the HTTP API. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Api {
    base: Url,
    http: reqwest::Client,
}

#[derive(Deserialize)]
struct ProblemBody {
    #[serde(default)]
    detail: String,
    #[serde(default)]
    code: u32,
    #[serde(default)]
    retry_after_ms: u64,
}

#[derive(Deserialize)]
struct Added {
    added: Vec<String>,
}

impl Api {
    /// An API at `http://host:port`.
    ///
    /// # Errors
    /// [`ApiError::Url`].
    pub fn new(base: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::Url(base.to_owned());
        let parsed = Url::parse(base).map_err(|_| wrong())?;
        if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
            return Err(wrong());
        }
        crate::tls::choose_provider();
        let mut builder = reqwest::Client::builder().timeout(Duration::from_millis(TIMEOUT_MS));
        if is_loopback(&parsed) {
            // A proxy of the environment does not reach this machine's own ports.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ApiError::Unreachable(error.to_string()))?;
        Ok(Self { base: parsed, http })
    }

    /// Registers a user and signs in.
    ///
    /// # Errors
    /// [`ErrorCode::Conflict`] when the name is taken.
    pub async fn register(&self, uid: &str, password: &str, device: &str, platform: &str) -> Result<Session, ApiError> {
        let body = json!({"user": uid, "password": password, "device": device, "platform": platform});
        self.ask(Method::POST, &["auth", "register"], &[], None, Some(body)).await
    }

    /// Signs in.
    ///
    /// # Errors
    /// [`ErrorCode::LoginFailed`]; [`ErrorCode::RateLimited`] after too many failures.
    pub async fn login(&self, uid: &str, password: &str, device: &str, platform: &str) -> Result<Session, ApiError> {
        let body = json!({"user": uid, "password": password, "device": device, "platform": platform});
        self.ask(Method::POST, &["auth", "login"], &[], None, Some(body)).await
    }

    /// Registers, or signs in when the name is taken.
    ///
    /// # Errors
    /// As for the two.
    pub async fn register_or_login(
        &self,
        uid: &str,
        password: &str,
        device: &str,
        platform: &str,
    ) -> Result<Session, ApiError> {
        match self.register(uid, password, device, platform).await {
            Err(error) if error.is(ErrorCode::Conflict) => self.login(uid, password, device, platform).await,
            other => other,
        }
    }

    /// Exchanges a refresh token, which is used up by that.
    ///
    /// # Errors
    /// [`ErrorCode::TokenRefused`].
    pub async fn refresh(&self, refresh_token: &str) -> Result<Session, ApiError> {
        let body = json!({"refresh_token": refresh_token});
        self.ask(Method::POST, &["auth", "refresh"], &[], None, Some(body)).await
    }

    /// Revokes the sign-in that the token belongs to.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn logout(&self, token: &str) -> Result<(), ApiError> {
        self.request(Method::POST, &["auth", "logout"], &[], Some(token), None).await.map(drop)
    }

    /// The user the token names.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn me(&self, token: &str) -> Result<Account, ApiError> {
        self.ask(Method::GET, &["me"], &[], Some(token), None).await
    }

    /// Another user.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`].
    pub async fn user(&self, token: &str, uid: &str) -> Result<Account, ApiError> {
        self.ask(Method::GET, &["users", uid], &[], Some(token), None).await
    }

    /// The gateways that can be tried; needs no token.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn locate(&self) -> Result<List<Gateway>, ApiError> {
        self.ask(Method::GET, &["locate"], &[], None, None).await
    }

    /// Creates a group; the caller owns it.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`] when a member does not exist.
    pub async fn create_group(&self, token: &str, name: &str, members: &[&str]) -> Result<Group, ApiError> {
        let body = json!({"name": name, "members": members});
        self.ask(Method::POST, &["groups"], &[], Some(token), Some(body)).await
    }

    /// A group the caller is in.
    ///
    /// # Errors
    /// [`ErrorCode::NotFound`], [`ErrorCode::NotAMember`].
    pub async fn group(&self, token: &str, id: &str) -> Result<Group, ApiError> {
        self.ask(Method::GET, &["groups", id], &[], Some(token), None).await
    }

    /// Members of a group after the user id `after`; `limit` 0 means the bound.
    ///
    /// # Errors
    /// As for [`Api::group`].
    pub async fn members(&self, token: &str, id: &str, after: &str, limit: u32) -> Result<List<Member>, ApiError> {
        let query = [("after", after.to_owned()), ("limit", limit.to_string())];
        self.ask(Method::GET, &["groups", id, "members"], &query, Some(token), None).await
    }

    /// Adds members; answers who was new.
    ///
    /// # Errors
    /// As for [`Api::group`].
    pub async fn add_members(&self, token: &str, id: &str, uids: &[&str]) -> Result<Vec<String>, ApiError> {
        let body = json!({"uids": uids});
        let added: Added = self.ask(Method::POST, &["groups", id, "members"], &[], Some(token), Some(body)).await?;
        Ok(added.added)
    }

    /// Removes a member.
    ///
    /// # Errors
    /// [`ErrorCode::Forbidden`].
    pub async fn remove_member(&self, token: &str, id: &str, uid: &str) -> Result<(), ApiError> {
        self.request(Method::DELETE, &["groups", id, "members", uid], &[], Some(token), None).await.map(drop)
    }

    /// Leaves a group.
    ///
    /// # Errors
    /// As for [`Api::group`].
    pub async fn leave(&self, token: &str, id: &str) -> Result<(), ApiError> {
        self.request(Method::POST, &["groups", id, "leave"], &[], Some(token), None).await.map(drop)
    }

    /// The user's conversations after the id `after`; `limit` 0 means the bound.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn conversations(&self, token: &str, after: &str, limit: u32) -> Result<Conversations, ApiError> {
        let query = [("after", after.to_owned()), ("limit", limit.to_string())];
        let mut list: Conversations = self.ask(Method::GET, &["conversations"], &query, Some(token), None).await?;
        list.items.iter_mut().filter_map(|conv| conv.last.as_mut()).for_each(body::open_in_place);
        Ok(list)
    }

    /// A page of a conversation, at most 100.
    ///
    /// # Errors
    /// [`ErrorCode::NotAMember`].
    pub async fn history(&self, token: &str, conv: &str, from: From, limit: u32) -> Result<History, ApiError> {
        let place = match from {
            From::After(seq) => ("after_seq", seq.to_string()),
            From::Before(seq) => ("before_seq", seq.to_string()),
        };
        let query = [place, ("limit", limit.to_string())];
        let path = ["conversations", conv, "messages"];
        let mut history: History = self.ask(Method::GET, &path, &query, Some(token), None).await?;
        history.items.iter_mut().for_each(body::open_in_place);
        Ok(history)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        token: Option<&str>,
        body: Option<Value>,
    ) -> Result<T, ApiError> {
        let response = self.request(method, path, query, token, body).await?;
        response.json().await.map_err(|error| ApiError::Unexpected(error.to_string()))
    }

    async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        token: Option<&str>,
        body: Option<Value>,
    ) -> Result<Response, ApiError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        // `without_url`: what a URL holds does not belong into logs.
        let response = request.send().await.map_err(|error| ApiError::Unreachable(causes(&error.without_url())))?;
        if response.status().is_success() { Ok(response) } else { Err(problem(response).await) }
    }
}

async fn problem(response: Response) -> ApiError {
    let status = response.status();
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after_ms = retry_after.and_then(|text| text.parse::<u64>().ok()).map_or(0, |s| s.saturating_mul(1_000));
    let body: Option<ProblemBody> = response.json().await.ok();
    let general = || status.canonical_reason().unwrap_or("refused").to_owned();
    ApiError::Problem {
        status: status.as_u16(),
        code: body.as_ref().map_or(0, |body| body.code),
        retry_after_ms: body.as_ref().map_or(0, |body| body.retry_after_ms).max(retry_after_ms),
        detail: body.map(|body| body.detail).filter(|detail| !detail.is_empty()).unwrap_or_else(general),
    }
}

/// The error with what lies under it: the top alone says only "error sending request".
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether a refused refresh means that the sign-in is over.
fn is_over(error: &ApiError) -> bool {
    matches!(error, ApiError::Problem { status, .. } if *status == StatusCode::UNAUTHORIZED.as_u16())
}
