//! The conformance echo: whole messages back, through the same socket and framing code as clients use.
//!
//! For protocol test suites only; its bounds are those that the suites need. Runs on a shard, beside the
//! shard's own connections, one task a connection.

use std::net::TcpListener;
use std::ops::ControlFlow;

use bytes::Bytes;
use ringway_engine::websocket::handshake;
use ringway_engine::websocket::{Decoder, Incoming, Limits, Opcode, close_frame, frame, write_frame_header};
use ringway_ring::listener::Listener;
use ringway_ring::runtime;
use ringway_ring::socket::Socket;

/// Largest message, fragments and pings that a suite sends.
const LIMITS: Limits =
    Limits { message_bytes_max: 64 * 1024 * 1024, fragments_max: u32::MAX, pings_per_second_max: u32::MAX };
/// How long the peer has to end a closed connection.
const LINGER_MS: u64 = 1_000;

/// Serves until the shard ends.
pub(crate) async fn run(listener: TcpListener) {
    let Ok(listener) = Listener::new(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((socket, _)) => runtime::spawn_local(serve(socket)),
            Err(error) => return tracing::error!(%error, "echo listener failed"),
        }
    }
}

async fn serve(socket: Socket) {
    let Some(rest) = upgrade(&socket).await else { return };
    let mut decoder = Decoder::with_limits(LIMITS);
    let mut input = rest;
    loop {
        let mut out = Vec::new();
        let mut closing = false;
        let fed = decoder.feed(&mut input, 0, &mut |incoming| {
            match incoming {
                Incoming::Text(text) => echo(&mut out, Opcode::Text, text.as_bytes()),
                Incoming::Binary(bytes) => echo(&mut out, Opcode::Binary, bytes),
                Incoming::Ping(payload) => echo(&mut out, Opcode::Pong, payload),
                Incoming::Pong(_) => {}
                Incoming::Close(code) => {
                    out.extend_from_slice(&match code {
                        Some((code, _)) => close_frame(code, ""),
                        None => frame(Opcode::Close, b""),
                    });
                    closing = true;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = fed {
            out.extend_from_slice(&close_frame(error.close_code(), ""));
            closing = true;
        }
        if !out.is_empty() && socket.send(Bytes::from(out)).await.is_err() {
            return;
        }
        if closing {
            return end(&socket).await;
        }
        match read(&socket).await {
            Some(bytes) => input = bytes,
            None => return,
        }
    }
}

async fn upgrade(socket: &Socket) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        bytes.extend(read(socket).await?);
        match handshake::parse(&bytes) {
            Ok(None) => {}
            Ok(Some((upgrade, used))) => {
                socket.send_vec(upgrade.response(None)).await.0.ok()?;
                return Some(bytes.split_off(used));
            }
            Err(error) => {
                socket.send_vec(error.response()).await.0.ok()?;
                end(socket).await;
                return None;
            }
        }
    }
}

async fn read(socket: &Socket) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        socket.readable().await.ok()?;
        match socket.try_read(&mut buffer) {
            Ok(None) => {}
            Ok(Some(0)) | Err(_) => return None,
            Ok(Some(count)) => {
                buffer.truncate(count);
                return Some(buffer);
            }
        }
    }
}

/// Half-closes and waits for the peer's end, so that the close frame is not lost to a reset.
async fn end(socket: &Socket) {
    socket.shutdown_write();
    let drained = async { while read(socket).await.is_some() {} };
    let _ = runtime::timeout(LINGER_MS, drained).await;
}

fn echo(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    write_frame_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}
