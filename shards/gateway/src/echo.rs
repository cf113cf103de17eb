//! The conformance echo: whole messages back, through the same socket and framing code as clients use.
//!
//! For protocol test suites only; its bounds are those that the suites need. Runs on a shard, beside the
//! shard's own connections.
//!
//! ```text
//!  Upgrade ──101──► Frames ──close──► closing (flush, half-close, linger) ──► gone
//! ```

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::rc::Rc;

use ringway_engine::websocket::handshake;
use ringway_engine::websocket::{Decoder, Incoming, Limits, Opcode, close_frame, frame, write_frame_header};
use ringway_ring::listener::Listener;
use ringway_ring::runtime;
use ringway_ring::socket::{Accepted, Chunk, Handler, HandlerId, Socket};

/// Largest message, fragments and pings that a suite sends.
static LIMITS: Limits =
    Limits { message_bytes_max: 64 * 1024 * 1024, fragments_max: u32::MAX, pings_per_second_max: u32::MAX };
/// How long the peer has to end a closed connection.
const LINGER_MS: u64 = 1_000;

/// Serves until the shard ends.
pub(crate) async fn run(listener: TcpListener) {
    let Ok(listener) = Listener::new(listener) else { return };
    let echo = Echo::default();
    let handler = runtime::add_handler(Rc::new(echo.clone()));
    loop {
        match listener.accept().await {
            Ok(accepted) => echo.enter(accepted, handler),
            Err(error) => return tracing::error!(%error, "echo listener failed"),
        }
    }
}

struct Connection {
    socket: Socket,
    /// The upgrade request, until it is whole; `None` after it.
    upgrade: Option<Vec<u8>>,
    decoder: Decoder,
    out: Vec<u8>,
    /// Half-close once `out` is gone; what comes is dropped.
    closing: bool,
}

/// All connections, by numbers that are never given again.
#[derive(Clone, Default)]
struct Echo {
    connections: Rc<RefCell<HashMap<u64, Connection>>>,
    last: Rc<Cell<u64>>,
}

impl Echo {
    fn enter(&self, accepted: Accepted, handler: HandlerId) {
        let key = self.last.get() + 1;
        self.last.set(key);
        match accepted.attach(handler, key) {
            Ok(socket) => {
                let decoder = Decoder::with_limits(&LIMITS);
                let upgrade = Some(Vec::new());
                let connection = Connection { socket, upgrade, decoder, out: Vec::new(), closing: false };
                self.connections.borrow_mut().insert(key, connection);
            }
            Err(error) => tracing::error!(%error, "an echo connection finds no place in the ring's table"),
        }
    }

    /// Sends what waits, as far as the socket is free; later the rest.
    fn flush(&self, key: u64) {
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(&key) else { return };
        if connection.socket.is_blocked() {
            return;
        }
        if !connection.socket.is_sending() {
            if connection.out.is_empty() {
                if connection.closing {
                    connection.socket.shutdown_write();
                }
                return;
            }
            let out = std::mem::take(&mut connection.out);
            if connection.socket.send(Chunk::Owned(out)).is_err() {
                return connection.socket.shutdown();
            }
        }
        let echo = self.clone();
        runtime::spawn_local(async move {
            runtime::turn().await;
            echo.flush(key);
        });
    }
}

impl Handler for Echo {
    fn handle_received(&self, token: u64, bytes: &mut [u8]) {
        if let Some(connection) = self.connections.borrow_mut().get_mut(&token)
            && !connection.closing
        {
            connection.take_in(bytes);
            if connection.closing {
                let echo = self.clone();
                runtime::spawn_local(async move {
                    runtime::sleep(LINGER_MS).await;
                    echo.handle_end(token);
                });
            }
        }
        self.flush(token);
    }

    fn handle_end(&self, token: u64) {
        self.connections.borrow_mut().remove(&token);
    }

    fn handle_sent(&self, token: u64) {
        self.flush(token);
    }
}

impl Connection {
    fn take_in(&mut self, bytes: &mut [u8]) {
        let Some(mut request) = self.upgrade.take() else { return self.take_frames(bytes) };
        request.extend_from_slice(bytes);
        match handshake::parse(&request) {
            Ok(None) => self.upgrade = Some(request),
            Ok(Some((upgrade, used))) => {
                self.out.extend_from_slice(&upgrade.response(None));
                self.take_frames(request.get_mut(used..).unwrap_or_default());
            }
            Err(error) => {
                self.out.extend_from_slice(&error.response());
                self.closing = true;
            }
        }
    }

    fn take_frames(&mut self, bytes: &mut [u8]) {
        let (out, closing) = (&mut self.out, &mut self.closing);
        let fed = self.decoder.feed(bytes, 0, &mut |incoming| {
            match incoming {
                Incoming::Text(text) => echo(out, Opcode::Text, text.as_bytes()),
                Incoming::Binary(bytes) => echo(out, Opcode::Binary, bytes),
                Incoming::Ping(payload) => echo(out, Opcode::Pong, payload),
                Incoming::Pong(_) => {}
                Incoming::Close(code) => {
                    out.extend_from_slice(&match code {
                        Some((code, _)) => close_frame(code, ""),
                        None => frame(Opcode::Close, b""),
                    });
                    *closing = true;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        });
        if let Err(error) = fed {
            self.out.extend_from_slice(&close_frame(error.close_code(), ""));
            self.closing = true;
        }
    }
}

fn echo(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    write_frame_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}
