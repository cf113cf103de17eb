//! One attempt: token, TCP, TLS, upgrade, `connect`.
//!
//! Dropping the future drops the half-made connection and leaves nothing behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use ringway_engine::errors::{CloseCode, ErrorCode, reconnect};
use ringway_engine::packet::schema::{Command, Connect, Connected, ErrorReply, ResumePoint, ServerPacket};
use ringway_engine::packet::{Format, decode_server};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message as Frame};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use super::frame;
use crate::limits::{CONNECT_TIMEOUT_MS, INBOUND_BYTES_MAX};
use crate::token::{TokenError, TokenSource};

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a connection, or the attempt at one, ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Come back, not before so many milliseconds.
    Lost { reason: String, at_least_ms: u64 },
    /// Come back with another token, if there can be one.
    Token { code: u16, reason: String },
    /// Do not come back.
    Closed { code: u16, reason: String },
}

impl End {
    pub(super) fn lost(reason: impl ToString) -> Self {
        Self::Lost { reason: reason.to_string(), at_least_ms: 0 }
    }

    /// What a close code asks for.
    pub(super) fn from_close(code: u16, reason: String) -> Self {
        match CloseCode::from_code(code) {
            Some(CloseCode::TokenRefused | CloseCode::TokenExpired) => Self::Token { code, reason },
            _ if reconnect(code) => Self::Lost { reason: format!("closed: {reason} ({code})"), at_least_ms: 0 },
            _ => Self::Closed { code, reason },
        }
    }

    /// What a refused `connect` asks for.
    fn from_error(error: ErrorReply) -> Self {
        match ErrorCode::from_code(error.code) {
            Some(ErrorCode::TokenRefused | ErrorCode::TokenExpired) => {
                Self::Token { code: CloseCode::TokenRefused.code(), reason: error.message }
            }
            _ if error.temporary => Self::Lost { reason: error.message, at_least_ms: error.retry_after_ms },
            _ => Self::Closed { code: CloseCode::NotTheProtocol.code(), reason: error.message },
        }
    }
}

/// What an attempt needs.
pub(super) struct Dial {
    pub(super) url: String,
    pub(super) token: Arc<dyn TokenSource>,
    pub(super) fresh_token: bool,
    pub(super) id: u64,
    pub(super) device: String,
    pub(super) platform: String,
    pub(super) resume: BTreeMap<String, ResumePoint>,
    pub(super) format: Format,
    pub(super) connector: Option<Connector>,
}

/// A connection that was answered with `connected`.
pub(super) struct Dialed {
    pub(super) socket: Socket,
    pub(super) connected: Connected,
    /// Packets that came in the same frame.
    pub(super) early: Vec<ServerPacket>,
}

/// Makes the attempt, within [`CONNECT_TIMEOUT_MS`].
pub(super) async fn dial(dial: Dial) -> Result<Dialed, End> {
    tokio::time::timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), attempt(dial))
        .await
        .unwrap_or_else(|_| Err(End::lost("no answer in time")))
}

async fn attempt(dial: Dial) -> Result<Dialed, End> {
    let token = dial.token.token(dial.fresh_token).await.map_err(|error| match error {
        TokenError::Temporary { reason, retry_after_ms } => End::Lost { reason, at_least_ms: retry_after_ms },
        TokenError::Permanent(reason) => End::Closed { code: CloseCode::TokenRefused.code(), reason },
    })?;
    let mut request = dial.url.as_str().into_client_request().map_err(End::lost)?;
    let protocol = HeaderValue::from_static(dial.format.subprotocol());
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    let config = WebSocketConfig::default()
        .max_message_size(Some(INBOUND_BYTES_MAX))
        .max_frame_size(Some(INBOUND_BYTES_MAX))
        .read_buffer_size(16 * 1024);
    crate::tls::choose_provider();
    let (mut socket, _) =
        connect_async_tls_with_config(request, Some(config), true, dial.connector).await.map_err(refused_upgrade)?;

    let connect = Connect { token, device: dial.device, platform: dial.platform, resume: dial.resume };
    let command = Command::connect(dial.id, connect);
    let first = frame::of_command(dial.format, &command)
        .ok_or_else(|| End::Closed { code: CloseCode::TooBig.code(), reason: "the token is too large".to_owned() })?;
    socket.send(first).await.map_err(End::lost)?;
    loop {
        let frame = socket.next().await.ok_or_else(|| End::lost("closed before `connected`"))?.map_err(End::lost)?;
        if let Frame::Close(close) = frame {
            let (code, reason) = frame::close_reason(close);
            return Err(End::from_close(code, reason));
        }
        let mut packets = Vec::new();
        let payload = frame::payload(&frame);
        decode_server(dial.format, payload, &mut |packet| packets.push(packet)).map_err(End::lost)?;
        let mut packets = packets.into_iter();
        while let Some(packet) = packets.next() {
            if let Some(connected) = packet.connected {
                return Ok(Dialed { socket, connected, early: packets.collect() });
            }
            if let Some(error) = packet.error {
                return Err(End::from_error(error));
            }
            if let Some(reconnect) = packet.reconnect {
                return Err(End::Lost { reason: "the server drains".to_owned(), at_least_ms: reconnect.after_ms });
            }
        }
    }
}

/// What an upgrade that was not done asks for.
fn refused_upgrade(error: SocketError) -> End {
    let SocketError::Http(response) = &error else { return End::lost(error) };
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        return End::Token { code: CloseCode::TokenRefused.code(), reason: format!("HTTP {status}") };
    }
    let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let seconds = retry_after.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0).min(3_600);
    End::Lost { reason: format!("HTTP {status}"), at_least_ms: seconds * 1_000 }
}
