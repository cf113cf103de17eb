//! The HTTP API by plain requests, one connection each.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::wire::PATIENCE;

/// Every account of the tests that has one.
pub const PASSWORD: &str = "correct horse battery";

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The body as JSON; `null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// A text field of the body.
    ///
    /// # Errors
    /// It is not there.
    pub fn field(&self, name: &str) -> Result<String> {
        let json = self.json();
        let found = json.get(name).and_then(Value::as_str).map(str::to_owned);
        found.with_context(|| format!("no {name} in {}: {}", self.status, self.text))
    }

    /// The wire's error code of a problem; 0 when there is none.
    #[must_use]
    pub fn code(&self) -> u64 {
        self.json().get("code").and_then(Value::as_u64).unwrap_or(0)
    }

    /// The answer, if its status is the expected one.
    ///
    /// # Errors
    /// Another status.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "expected {status}, got {}: {}", self.status, self.text);
        Ok(self)
    }
}

/// One request; `token` may be empty.
///
/// # Errors
/// No whole answer came.
pub async fn call(to: SocketAddr, token: &str, method: &str, path: &str, body: Option<Value>) -> Result<Answer> {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    if !token.is_empty() {
        request.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    if !body.is_empty() {
        request.push_str("content-type: application/json\r\n");
    }
    request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    let exchange = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        anyhow::Ok(String::from_utf8(bytes)?)
    };
    let text = timeout(PATIENCE, exchange).await.context("no answer in time")??;
    let (head, text) = text.split_once("\r\n\r\n").context("no whole head")?;
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).context("no status")?;
    Ok(Answer { status, text: text.to_owned() })
}

/// The tokens of a sign-in.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Access token.
    pub access: String,
    /// Refresh token.
    pub refresh: String,
}

impl Grant {
    /// Reads them.
    ///
    /// # Errors
    /// They are not there.
    pub fn of(answer: &Answer) -> Result<Self> {
        Ok(Self { access: answer.field("access_token")?, refresh: answer.field("refresh_token")? })
    }
}

/// Registers a user under [`PASSWORD`].
///
/// # Errors
/// Refused.
pub async fn register(api: SocketAddr, user: &str) -> Result<Grant> {
    let body = json!({"user": user, "password": PASSWORD});
    Grant::of(&call(api, "", "POST", "/v1/auth/register", Some(body)).await?.expect(201)?)
}

/// Creates a group; its conversation.
///
/// # Errors
/// Refused.
pub async fn create_group(api: SocketAddr, token: &str, members: &[String]) -> Result<String> {
    let body = json!({"name": "a group", "members": members});
    call(api, token, "POST", "/v1/groups", Some(body)).await?.expect(201)?.field("conv")
}
