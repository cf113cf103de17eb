//! The upgrade request (RFC 6455 §4.2.1), the 101 that grants it and the answers that refuse it.
//!
//! Called by the connection while its first bytes come in. Answers, each a whole HTTP response that
//! closes the connection:
//!
//! | Status | For |
//! |---|---|
//! | 400 | bytes that are not HTTP; no, two or an unusable `Host`, `Sec-WebSocket-Key`, …; a body or `Transfer-Encoding` |
//! | 405 | a method other than GET |
//! | 426 | no `Upgrade: websocket` with `Connection: upgrade`, or a WebSocket version other than 13 |
//! | 431 | above 8 KiB or 64 header lines |
//! | 505 | an HTTP version other than 1.1 |
//!
//! What depends on configuration (path, `Origin`, admission) is for the caller, with [`refusal`].

use std::{fmt, str};

use thiserror::Error;
use tungstenite::handshake::derive_accept_key;

use crate::{
    limits::{HANDSHAKE_BYTES_MAX, HANDSHAKE_HEADERS_MAX},
    packet::Format,
};

/// Subprotocol name of [`Format::Json`].
pub const SUBPROTOCOL_JSON: &str = "ringway.v1.json";
/// Subprotocol name of [`Format::Protobuf`].
pub const SUBPROTOCOL_PROTOBUF: &str = "ringway.v1.protobuf";

/// A valid upgrade request. Its `Debug` form leaves the token out.
#[derive(Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The path as it was sent, from the first `/`, not decoded.
    pub path: String,
    /// What follows `?`, not decoded.
    pub query: Option<String>,
    /// The first subprotocol of the client's list that we speak; `None` if it offered none of ours.
    pub format: Option<Format>,
    /// `Sec-WebSocket-Key`: 16 bytes in base64.
    pub key: String,
    /// `Origin`: sent by browsers, and they cannot lie about it.
    pub origin: Option<String>,
    /// The token of `Authorization: Bearer`; other schemes are ignored.
    pub authorization: Option<String>,
    /// `X-Forwarded-For` as it came, several lines joined by a comma. To be believed from listed peers only.
    pub forwarded_for: Option<String>,
    /// `Host`. Always present in a parsed request, though it may be empty.
    pub host: Option<String>,
}

/// Why a request is refused before anyone looks at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// Not HTTP, or a line of it that is malformed.
    #[error("malformed request")]
    Malformed,
    /// Not GET.
    #[error("only GET opens a WebSocket")]
    Method,
    /// Not HTTP/1.1.
    #[error("HTTP/1.1 is required")]
    Version,
    /// Above [`HANDSHAKE_BYTES_MAX`].
    #[error("request header too large")]
    TooLarge,
    /// Above [`HANDSHAKE_HEADERS_MAX`].
    #[error("too many header lines")]
    TooManyHeaders,
    /// A header line that may stand once stands twice.
    #[error("duplicate {0}")]
    Duplicate(&'static str),
    /// A header line that must be there is not.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A header line whose value cannot be used.
    #[error("invalid {0}")]
    Invalid(&'static str),
    /// An upgrade has no body.
    #[error("an upgrade request has no body")]
    Body,
    /// An ordinary request to the WebSocket port.
    #[error("this address speaks WebSocket only")]
    NotUpgrade,
    /// A version of the WebSocket protocol other than 13, or none.
    #[error("WebSocket version 13 is required")]
    WebSocketVersion,
}

/// Reads an upgrade request from all bytes that a connection has sent so far.
///
/// `Ok(None)`: it is not whole yet. Otherwise the request and its size: the bytes behind it are frames
/// already. Reads at most [`HANDSHAKE_BYTES_MAX`] bytes, so that is all a caller needs to keep.
///
/// # Errors
/// See [`HandshakeError`]. Bytes that cannot become a request are refused without waiting for its end.
pub fn parse(bytes: &[u8]) -> Result<Option<(Upgrade, usize)>, HandshakeError> {
    let bytes = bytes.get(..HANDSHAKE_BYTES_MAX).unwrap_or(bytes);
    let mut headers = [httparse::EMPTY_HEADER; HANDSHAKE_HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => Upgrade::check(&request).map(|upgrade| Some((upgrade, size))),
        Ok(httparse::Status::Partial) if bytes.len() >= HANDSHAKE_BYTES_MAX => Err(HandshakeError::TooLarge),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(HandshakeError::TooManyHeaders),
        Err(httparse::Error::Version) => Err(HandshakeError::Version),
        Err(_) => Err(HandshakeError::Malformed),
    }
}

/// A whole HTTP/1.1 response that refuses the upgrade and closes the connection.
///
/// `text` is for people. Statuses without a reason phrase here get an empty one.
#[must_use]
pub fn refusal(status: u16, retry_after_s: Option<u32>, text: &str) -> Vec<u8> {
    let retry = retry_after_s.map(|seconds| format!("Retry-After: {seconds}\r\n")).unwrap_or_default();
    response(status, &retry, text)
}

impl Upgrade {
    /// The 101 that grants the request. `subprotocol` must be one the client offered, or `None`.
    #[must_use]
    pub fn response(&self, subprotocol: Option<&str>) -> Vec<u8> {
        let mut out = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
            derive_accept_key(self.key.as_bytes())
        );
        if let Some(name) = subprotocol {
            out.push_str("Sec-WebSocket-Protocol: ");
            out.push_str(name);
            out.push_str("\r\n");
        }
        out.push_str("\r\n");
        out.into_bytes()
    }

    fn check(request: &httparse::Request<'_, '_>) -> Result<Self, HandshakeError> {
        if request.method != Some("GET") {
            return Err(HandshakeError::Method);
        }
        if request.version != Some(1) {
            return Err(HandshakeError::Version);
        }
        let headers = Headers(request.headers);
        headers.refuse_body()?;
        let host = headers.one("Host")?.ok_or(HandshakeError::Missing("Host"))?;
        let is_upgrade = headers.has_token("Upgrade", "websocket") && headers.has_token("Connection", "upgrade");
        if !is_upgrade {
            return Err(HandshakeError::NotUpgrade);
        }
        if headers.one("Sec-WebSocket-Version")? != Some("13") {
            return Err(HandshakeError::WebSocketVersion);
        }
        let key = headers.one("Sec-WebSocket-Key")?.ok_or(HandshakeError::Missing("Sec-WebSocket-Key"))?;
        if !is_key(key) {
            return Err(HandshakeError::Invalid("Sec-WebSocket-Key"));
        }
        let target = request.path.and_then(origin_form).ok_or(HandshakeError::Malformed)?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        Ok(Self {
            path: path.to_owned(),
            query,
            format: headers.tokens("Sec-WebSocket-Protocol").find_map(format_of),
            key: key.to_owned(),
            origin: headers.one("Origin")?.map(str::to_owned),
            authorization: headers.one("Authorization")?.and_then(bearer).map(str::to_owned),
            forwarded_for: headers.joined("X-Forwarded-For")?,
            host: Some(host.to_owned()),
        })
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade")
            .field("path", &self.path)
            .field("format", &self.format)
            .field("origin", &self.origin)
            .field("has_token", &self.authorization.is_some())
            .field("forwarded_for", &self.forwarded_for)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl HandshakeError {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed | Self::Duplicate(_) | Self::Missing(_) | Self::Invalid(_) | Self::Body => 400,
            Self::Method => 405,
            Self::NotUpgrade | Self::WebSocketVersion => 426,
            Self::TooLarge | Self::TooManyHeaders => 431,
            Self::Version => 505,
        }
    }

    /// The whole HTTP/1.1 response; the connection closes behind it.
    #[must_use]
    pub fn response(&self) -> Vec<u8> {
        let extra = match self {
            Self::Method => "Allow: GET\r\n",
            // RFC 9110 §15.5.22 wants Upgrade, RFC 6455 §4.2.2 the version.
            Self::NotUpgrade | Self::WebSocketVersion => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        response(self.status(), extra, &self.to_string())
    }
}

/// The header lines of one request.
struct Headers<'r>(&'r [httparse::Header<'r>]);

impl<'r> Headers<'r> {
    fn all(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        let lines = self.0.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        lines.map(|header| header.value.trim_ascii())
    }

    /// The value of a line that may stand at most once. ASCII only: nothing we read is more.
    fn one(&self, name: &'static str) -> Result<Option<&'r str>, HandshakeError> {
        let mut values = self.all(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(HandshakeError::Duplicate(name));
        }
        ascii(value).map(Some).ok_or(HandshakeError::Invalid(name))
    }

    fn joined(&self, name: &'static str) -> Result<Option<String>, HandshakeError> {
        let mut joined: Option<String> = None;
        for value in self.all(name) {
            let value = ascii(value).ok_or(HandshakeError::Invalid(name))?;
            match &mut joined {
                Some(list) => {
                    list.push_str(", ");
                    list.push_str(value);
                }
                None => joined = Some(value.to_owned()),
            }
        }
        Ok(joined)
    }

    /// The items of a list that may go over several lines.
    fn tokens(&self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.all(name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|item| item.eq_ignore_ascii_case(token.as_bytes()))
    }

    fn refuse_body(&self) -> Result<(), HandshakeError> {
        let is_empty = |value: &[u8]| !value.is_empty() && value.iter().all(|byte| *byte == b'0');
        if self.all("Transfer-Encoding").next().is_some() || !self.all("Content-Length").all(is_empty) {
            return Err(HandshakeError::Body);
        }
        Ok(())
    }
}

fn ascii(value: &[u8]) -> Option<&str> {
    if value.is_ascii() { str::from_utf8(value).ok() } else { None }
}

/// 16 bytes in base64: 22 characters of its alphabet and two of padding.
fn is_key(key: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    key.strip_suffix("==").is_some_and(|digits| digits.len() == 22 && digits.bytes().all(is_base64))
}

/// Path and query of a request target, which may carry scheme and authority (RFC 9112 §3.2.2).
fn origin_form(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let (scheme, rest) = target.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    rest.find('/').and_then(|start| rest.get(start..))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn format_of(name: &[u8]) -> Option<Format> {
    match str::from_utf8(name).ok()? {
        SUBPROTOCOL_JSON => Some(Format::Json),
        SUBPROTOCOL_PROTOBUF => Some(Format::Protobuf),
        _ => None,
    }
}

fn response(status: u16, extra: &str, text: &str) -> Vec<u8> {
    // A message that carries Upgrade must name it in Connection (RFC 9110 §7.8).
    let connection = if status == 426 { "close, Upgrade" } else { "close" };
    format!(
        "HTTP/1.1 {status} {}\r\nConnection: {connection}\r\n{extra}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\n\r\n{text}\n",
        reason(status),
        text.len() + 1,
    )
    .into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
