//! A vendor that takes notices by HTTP: an operator's own service, or a bridge to others.
//!
//! ```text
//! POST <url>
//! Authorization: Bearer <secret>
//! Content-Type: application/json
//!
//! {"uid":"b","conv":"p2p:a:b","seq":42,"msg_id":"7300…","from":"a","kind":"text"}
//! ```
//!
//! Any 2xx takes it. 408, 425, 429 and 5xx, and no answer in time, ask for another try; anything else refuses it.
//! Redirects are not followed: the secret goes to one address.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use ringway_store::ports::{PushError, PushNotice, VendorPush};
use serde::Serialize;
use thiserror::Error;
use tokio::sync::Semaphore;
use url::Url;

use crate::limits::{HTTP_TIMEOUT_MS, PUSHES_AT_ONCE};

/// Settings of an HTTP vendor.
#[derive(Clone)]
pub struct HttpVendorConfig {
    /// Where notices go, `http://` or `https://`.
    pub url: String,
    /// The bearer secret; empty: none is sent.
    pub secret: String,
    /// See [`HTTP_TIMEOUT_MS`].
    pub timeout_ms: u64,
    /// Requests at once (default [`PUSHES_AT_ONCE`]); more wait for their turn.
    pub at_once_max: usize,
}

impl HttpVendorConfig {
    /// The defaults for a vendor at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>, secret: impl Into<String>) -> Self {
        let (url, secret) = (url.into(), secret.into());
        Self { url, secret, timeout_ms: HTTP_TIMEOUT_MS, at_once_max: PUSHES_AT_ONCE }
    }

    /// Whether there can be such a vendor; nobody is asked.
    ///
    /// # Errors
    /// See [`HttpVendorError`].
    pub fn check(&self) -> Result<(), HttpVendorError> {
        self.parsed_url()?;
        self.authorization().map(drop)
    }

    fn parsed_url(&self) -> Result<Url, HttpVendorError> {
        let parsed = Url::parse(&self.url).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
        parsed.ok_or_else(|| HttpVendorError::Url(self.url.clone()))
    }

    fn authorization(&self) -> Result<Option<HeaderValue>, HttpVendorError> {
        if self.secret.is_empty() {
            return Ok(None);
        }
        let value = HeaderValue::try_from(format!("Bearer {}", self.secret));
        let mut value = value.map_err(|_| HttpVendorError::Secret)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl fmt::Debug for HttpVendorConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpVendorConfig").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Why there is no such vendor.
#[derive(Debug, Error)]
pub enum HttpVendorError {
    /// The URL is none, or of another kind.
    #[error("{0:?} is no URL that begins with http:// or https://")]
    Url(String),
    /// The secret has line breaks or other characters that no header may have.
    #[error("the secret cannot stand in a header")]
    Secret,
    /// The client cannot be made.
    #[error("push client: {0}")]
    Client(String),
}

/// See the module's doc.
pub struct HttpVendor {
    client: Client,
    url: Url,
    authorization: Option<HeaderValue>,
    turns: Semaphore,
}

#[derive(Serialize)]
struct Body<'a> {
    uid: &'a str,
    conv: &'a str,
    seq: u64,
    msg_id: String,
    from: &'a str,
    kind: &'a str,
}

impl HttpVendor {
    /// A vendor. Installs the process's provider of cryptography for TLS, unless it has one.
    ///
    /// # Errors
    /// See [`HttpVendorError`].
    pub fn new(config: &HttpVendorConfig) -> Result<Self, HttpVendorError> {
        let (url, authorization) = (config.parsed_url()?, config.authorization()?);
        let timeout = Duration::from_millis(config.timeout_ms);
        // An error means that there is one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder().timeout(timeout).redirect(Policy::none()).no_proxy();
        let client = builder.build().map_err(|error| HttpVendorError::Client(error.to_string()))?;
        Ok(Self { client, url, authorization, turns: Semaphore::new(config.at_once_max.max(1)) })
    }
}

#[async_trait]
impl VendorPush for HttpVendor {
    async fn push(&self, notice: &PushNotice) -> Result<(), PushError> {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let body = Body {
            uid: notice.uid.as_str(),
            conv: notice.conv.as_str(),
            seq: notice.seq,
            msg_id: notice.msg_id.to_string(),
            from: &notice.from,
            kind: &notice.kind,
        };
        let mut request = self.client.post(self.url.clone()).json(&body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        // The address is configuration, and known; what is in it may be secret.
        let answer = request.send().await.map_err(|error| PushError::Temporary(error.without_url().to_string()))?;
        judge(answer.status())
    }
}

fn judge(status: StatusCode) -> Result<(), PushError> {
    let asks_for_patience =
        [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_EARLY, StatusCode::TOO_MANY_REQUESTS].contains(&status);
    if status.is_success() {
        Ok(())
    } else if status.is_server_error() || asks_for_patience {
        Err(PushError::Temporary(status.to_string()))
    } else {
        Err(PushError::Refused(status.to_string()))
    }
}
