//! Bytes of one connection, from the socket to commands: PROXY header, TLS, upgrade, frames.
//!
//! The ring calls [`Intake`] with what came in, in a buffer of the shard's; an idle connection holds none. A
//! connection that may take in no more is paused; what the ring had already taken is held until it goes on.

use std::ops::ControlFlow;

use bytes::Bytes;
use ringway_engine::effect::SessionEffect;
use ringway_engine::errors::CloseCode;
use ringway_engine::limits::{DELIVERY_QUEUED_BYTES_MAX, HANDSHAKE_BYTES_MAX};
use ringway_engine::packet::{self, Format, NotTheProtocol};
use ringway_engine::websocket::handshake::{self, Upgrade};
use ringway_engine::websocket::{Incoming, Opcode, ProtocolError, frame};
use ringway_ring::proxy;
use ringway_ring::socket::Handler;

use super::connection::{Opening, Phase};
use super::{Shard, Shared, find};
use crate::clock;

/// How a connection goes on after bytes were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Go,
    End,
}

/// The shard, as the ring calls it.
pub(super) struct Intake(pub(super) Shared);

impl Handler for Intake {
    fn handle_received(&self, key: u64, bytes: &mut [u8]) {
        self.0.borrow_mut().handle_received(key, bytes);
    }

    fn handle_end(&self, key: u64) {
        let mut shard = self.0.borrow_mut();
        shard.remove(key);
        shard.settle();
    }

    fn handle_sent(&self, key: u64) {
        self.0.borrow_mut().handle_sent(key);
    }
}

impl Shard {
    pub(super) fn handle_received(&mut self, key: u64, bytes: &mut [u8]) {
        self.metrics.counters.reads.add(1);
        self.metrics.counters.bytes_in.add(bytes.len() as u64);
        let Some(connection) = self.connection(key) else { return };
        if connection.parked {
            self.held.entry(key).or_default().extend_from_slice(bytes);
            return;
        }
        self.take_in(key, bytes);
        self.settle();
    }

    /// Takes bytes in, and pauses the connection if that was enough.
    fn take_in(&mut self, key: u64, bytes: &mut [u8]) {
        if self.handle_bytes(key, bytes) == Flow::End {
            return self.remove(key);
        }
        if let Some(connection) = self.connection(key)
            && connection.is_full()
            && !connection.parked
        {
            connection.parked = true;
            connection.socket.pause();
        }
    }

    /// A paused connection may take in again: what is held first.
    pub(super) fn go_on(&mut self, key: u64) {
        let Some(connection) = self.connection(key) else { return };
        if !connection.parked || connection.is_full() {
            return;
        }
        connection.parked = false;
        if let Some(mut held) = self.held.remove(&key) {
            self.take_in(key, &mut held);
        }
        if let Some(connection) = self.connection(key)
            && !connection.parked
        {
            connection.socket.resume();
        }
    }

    fn handle_bytes(&mut self, key: u64, bytes: &mut [u8]) -> Flow {
        let now_ms = clock::steady_ms();
        let Some(connection) = self.connection(key) else { return Flow::End };
        connection.session.handle_received(now_ms);
        if matches!(connection.phase, Phase::Proxy(_)) {
            return self.handle_proxy(key, bytes);
        }
        let Some(mut tls) = connection.tls.take() else { return self.handle_plain(key, now_ms, bytes) };
        let mut plain = Vec::new();
        let fed = tls.feed(bytes, &mut plain);
        let ended = tls.is_peer_closed();
        connection.tls = Some(tls);
        self.mark_dirty(key);
        if let Err(error) = fed {
            tracing::debug!(%error, "TLS failed");
            self.close_after_output(key);
            return Flow::Go;
        }
        let flow = if plain.is_empty() { Flow::Go } else { self.handle_plain(key, now_ms, &mut plain) };
        if ended { Flow::End } else { flow }
    }

    fn handle_proxy(&mut self, key: u64, bytes: &mut [u8]) -> Flow {
        let Some(connection) = self.connection(key) else { return Flow::End };
        let Phase::Proxy(kept) = &mut connection.phase else { return Flow::End };
        let kept = kept.get_or_insert_default();
        kept.extend_from_slice(bytes);
        match proxy::parse(kept) {
            Ok(None) if kept.len() <= HANDSHAKE_BYTES_MAX => Flow::Go,
            Ok(Some((header, used))) => {
                let mut rest = kept.split_off(used);
                connection.phase = Phase::Upgrade(None);
                if let Some(source) = header.source {
                    self.readdress(key, source.ip());
                    if self.address_is_full(source.ip()) {
                        self.metrics.counters.refused.add(1);
                        return Flow::End;
                    }
                }
                if rest.is_empty() { Flow::Go } else { self.handle_bytes(key, &mut rest) }
            }
            Ok(None) | Err(_) => {
                self.metrics.counters.refused.add(1);
                Flow::End
            }
        }
    }

    fn handle_plain(&mut self, key: u64, now_ms: u64, bytes: &mut [u8]) -> Flow {
        let Some(connection) = self.connection(key) else { return Flow::End };
        match &mut connection.phase {
            Phase::Frames => self.handle_frames(key, now_ms, bytes),
            Phase::Closing { .. } => Flow::Go,
            Phase::Proxy(_) => Flow::End,
            Phase::Upgrade(kept @ None) => match handshake::parse(bytes) {
                Ok(None) => {
                    *kept = Some(Box::new(bytes.to_vec()));
                    Flow::Go
                }
                Ok(Some((upgrade, used))) => {
                    self.upgrade(key, now_ms, upgrade, bytes.get_mut(used..).unwrap_or_default())
                }
                Err(error) => self.refuse_upgrade(key, error.response()),
            },
            Phase::Upgrade(kept) => {
                let mut all = kept.take().unwrap_or_default();
                all.extend_from_slice(bytes);
                match handshake::parse(&all) {
                    Ok(None) => {
                        *kept = Some(all);
                        Flow::Go
                    }
                    Ok(Some((upgrade, used))) => {
                        self.upgrade(key, now_ms, upgrade, all.get_mut(used..).unwrap_or_default())
                    }
                    Err(error) => self.refuse_upgrade(key, error.response()),
                }
            }
        }
    }

    fn upgrade(&mut self, key: u64, now_ms: u64, upgrade: Upgrade, rest: &mut [u8]) -> Flow {
        let live = self.live.config();
        let Some(connection) = self.connection(key) else { return Flow::End };
        if connection.behind_balancer
            && let Some(forwarded) = &upgrade.forwarded_for
            && let Some(address) = proxy::client_address(forwarded, &live.trusted_peers)
        {
            self.readdress(key, address);
            if self.address_is_full(address) {
                let text = "too many connections from this address";
                return self.refuse_upgrade(key, handshake::refusal(429, Some(30), text));
            }
        }
        let answer = if upgrade.path != "/v1/ws" {
            Err(handshake::refusal(404, None, "the WebSocket is at /v1/ws"))
        } else if !origin_allowed(&upgrade, &live.allowed_origins) {
            Err(handshake::refusal(403, None, "this origin is not allowed"))
        } else if self.draining_ms.is_some() {
            Err(handshake::refusal(503, Some(1), "the node is draining"))
        } else {
            upgrade.format.ok_or_else(|| {
                handshake::refusal(400, None, "offer the subprotocol ringway.v1.json or ringway.v1.protobuf")
            })
        };
        let format = match answer {
            Ok(format) => format,
            Err(refusal) => return self.refuse_upgrade(key, refusal),
        };
        let Some(connection) = self.connection(key) else { return Flow::End };
        connection.format = format;
        connection.push(Bytes::from(upgrade.response(Some(format.subprotocol()))));
        connection.opening =
            upgrade.authorization.map(|token| Box::new(Opening { bearer: Some(token), ..Opening::default() }));
        connection.phase = Phase::Frames;
        self.mark_dirty(key);
        self.schedule(key);
        if rest.is_empty() { Flow::Go } else { self.handle_frames(key, now_ms, rest) }
    }

    /// Answers the upgrade with an HTTP refusal and ends the connection.
    fn refuse_upgrade(&mut self, key: u64, response: Vec<u8>) -> Flow {
        self.metrics.counters.refused.add(1);
        if let Some(connection) = self.connection(key) {
            connection.push(Bytes::from(response));
            self.close_after_output(key);
        }
        Flow::Go
    }

    fn handle_frames(&mut self, key: u64, now_ms: u64, bytes: &mut [u8]) -> Flow {
        let Some(connection) = self.connection(key) else { return Flow::End };
        let mut decoder = std::mem::take(&mut connection.decoder);
        let fed = decoder.feed(bytes, now_ms, &mut |incoming| self.handle_incoming(key, incoming));
        let Some(connection) = self.connection(key) else { return Flow::End };
        connection.decoder = decoder;
        if let Err(error) = fed {
            self.protocol_error(key, &error);
        }
        Flow::Go
    }

    fn handle_incoming(&mut self, key: u64, incoming: Incoming<'_>) -> ControlFlow<()> {
        let Some(connection) = self.connection(key) else { return ControlFlow::Break(()) };
        let format = connection.format;
        match incoming {
            Incoming::Text(text) if format == Format::Json => self.handle_payload(key, text.as_bytes()),
            Incoming::Binary(bytes) if format == Format::Protobuf => self.handle_payload(key, bytes),
            Incoming::Text(_) | Incoming::Binary(_) => self.close(key, CloseCode::UnsupportedData),
            Incoming::Ping(payload) => {
                // A client that pings but does not read gets no more pongs than its queue holds.
                if connection.queued() <= DELIVERY_QUEUED_BYTES_MAX {
                    connection.push(frame(Opcode::Pong, payload));
                    self.mark_dirty(key);
                }
            }
            Incoming::Pong(_) => {}
            Incoming::Close(code) => {
                let answer = code.map_or(CloseCode::Normal as u16, |(code, _)| code);
                connection.push(ringway_engine::websocket::close_frame(answer, ""));
                self.close_after_output(key);
            }
        }
        match self.connection(key) {
            Some(connection) if matches!(connection.phase, Phase::Frames) => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    }

    fn handle_payload(&mut self, key: u64, payload: &[u8]) {
        let mut effects: Vec<SessionEffect<'_>> = std::mem::take(&mut self.effects);
        let mut commands = 0;
        let Some(connection) = find(&mut self.connections, key) else { return };
        let (format, session) = (connection.format, &mut connection.session);
        let decoded = packet::read_commands(format, payload, &mut |request| {
            commands += 1;
            session.handle_request(request, &mut self.names, &mut effects);
        });
        self.metrics.counters.commands.add(commands);
        self.carry_out(key, &mut effects);
        // Nothing of the payload is left in it; collecting in place keeps its room.
        self.effects = effects.into_iter().map_while(|_| None).collect();
        if let Err(NotTheProtocol { .. }) = decoded {
            self.close(key, CloseCode::NotTheProtocol);
        }
    }

    fn protocol_error(&mut self, key: u64, error: &ProtocolError) {
        tracing::debug!(%error, key, "connection breaks the WebSocket protocol");
        let code = CloseCode::from_code(error.close_code()).unwrap_or(CloseCode::Protocol);
        self.close(key, code);
    }
}

/// No `Origin` (not a browser), the gateway's own host, or one of the list.
fn origin_allowed(upgrade: &Upgrade, allowed: &[String]) -> bool {
    let Some(origin) = &upgrade.origin else { return true };
    if allowed.iter().any(|entry| entry == "*" || entry.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let host_of = |text: &str| {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let end = if text.starts_with('[') { text.find(']').map(|at| at + 1) } else { text.find(':') };
        text.get(..end.unwrap_or(text.len())).unwrap_or(text).to_ascii_lowercase()
    };
    upgrade.host.as_ref().is_some_and(|host| host_of(host) == host_of(origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(origin: Option<&str>, host: &str, allowed: &[&str], expected: bool) {
        let upgrade = Upgrade {
            path: "/v1/ws".into(),
            query: None,
            format: None,
            key: String::new(),
            origin: origin.map(Into::into),
            authorization: None,
            forwarded_for: None,
            host: Some(host.into()),
        };
        let allowed: Vec<String> = allowed.iter().map(|&entry| entry.to_owned()).collect();
        assert_eq!(origin_allowed(&upgrade, &allowed), expected, "{origin:?} at {host}");
    }

    #[test]
    fn foreign_origins_are_refused_unless_listed() {
        check(None, "chat.example:7400", &[], true);
        check(Some("http://127.0.0.1:7480"), "127.0.0.1:7400", &[], true);
        check(Some("http://[::1]:7480"), "[::1]:7400", &[], true);
        check(Some("https://evil.example"), "chat.example", &[], false);
        check(Some("https://chat.example.evil.example"), "chat.example", &[], false);
        check(Some("null"), "chat.example", &[], false);
        check(Some("https://app.example"), "chat.example", &["https://app.example"], true);
    }
}
