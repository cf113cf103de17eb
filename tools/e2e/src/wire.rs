//! A WebSocket client down to its bytes: sends what it is told to, right or wrong, and shows what comes.
//!
//! Owns one socket. A call dropped half-way loses no received bytes; a write may be cut. Every wait has a
//! deadline, after which it is an error.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::{Buf as _, Bytes, BytesMut};
use ringway_engine::websocket::{Opcode, client_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long anything may take that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Masks need no secrecy here; a fixed one keeps runs alike.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What the server sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// A close frame: code and reason.
    Close(u16, String),
    /// The connection is over, in order or by a reset.
    End,
}

/// An HTTP answer to an upgrade.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// All header lines, in small letters.
    pub head: String,
}

/// A connection; see the module's head.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    received: BytesMut,
}

impl Wire {
    /// A TCP connection on which nothing was said.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.context("connecting took too long")??;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: BytesMut::new() })
    }

    /// The same with a receive buffer of as few bytes as the kernel gives: a peer that soon takes no more.
    ///
    /// # Errors
    /// As [`Wire::open`].
    pub async fn open_narrow(address: SocketAddr) -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(1)?;
        let stream = timeout(PATIENCE, socket.connect(address)).await.context("connecting took too long")??;
        Ok(Self { stream, received: BytesMut::new() })
    }

    /// The request of a well-behaved client, without its closing blank line.
    #[must_use]
    pub fn request(address: SocketAddr, subprotocol: &str) -> String {
        format!(
            "GET /v1/ws HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {subprotocol}\r\n"
        )
    }

    /// Upgrades the way a well-behaved client does.
    ///
    /// # Errors
    /// It was refused.
    pub async fn upgrade(&mut self, address: SocketAddr, subprotocol: &str) -> Result<()> {
        self.write(format!("{}\r\n", Self::request(address, subprotocol)).as_bytes()).await?;
        let answer = self.answer().await?;
        ensure!(answer.status == 101, "upgrade answered {}", answer.status);
        let agreed = format!("sec-websocket-protocol: {subprotocol}");
        ensure!(answer.head.lines().any(|line| line == agreed), "no subprotocol agreed: {}", answer.head);
        Ok(())
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// The connection is over, or the server takes nothing.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(timeout(PATIENCE, self.stream.write_all(bytes)).await.context("the server reads nothing")??)
    }

    /// Writes one frame as a client has to.
    ///
    /// # Errors
    /// As [`Wire::write`].
    pub async fn send(&mut self, opcode: Opcode, payload: &[u8]) -> Result<()> {
        self.write(&client_frame(opcode, payload, MASK)).await
    }

    /// The head of an HTTP answer.
    ///
    /// # Errors
    /// There is none.
    pub async fn answer(&mut self) -> Result<Answer> {
        timeout(PATIENCE, async {
            loop {
                if let Some(at) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                    let head = self.received.split_to(at + 4);
                    let head = String::from_utf8_lossy(&head).to_lowercase();
                    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
                    return Ok(Answer { status: status.with_context(|| format!("no status: {head}"))?, head });
                }
                if !self.fill().await {
                    bail!("closed without an answer");
                }
            }
        })
        .await
        .context("no answer in time")?
    }

    /// The next frame.
    ///
    /// # Errors
    /// None came in time, or what came breaks RFC 6455.
    pub async fn frame(&mut self) -> Result<Frame> {
        self.frame_within(PATIENCE).await
    }

    /// The next frame, if one comes within `limit`.
    ///
    /// # Errors
    /// As [`Wire::frame`].
    pub async fn frame_within(&mut self, limit: Duration) -> Result<Frame> {
        timeout(limit, async {
            loop {
                if let Some(frame) = self.parse()? {
                    return Ok(frame);
                }
                if !self.fill().await {
                    return Ok(Frame::End);
                }
            }
        })
        .await
        .context("no frame in time")?
    }

    /// The close frame that ends the connection, and then its end; other frames before it are dropped.
    /// `None`: it ended without one.
    ///
    /// # Errors
    /// It does not end.
    pub async fn close_code(&mut self) -> Result<Option<u16>> {
        timeout(PATIENCE, async {
            let mut code = None;
            loop {
                match self.frame().await? {
                    Frame::Close(found, _) if code.is_none() => code = Some(found),
                    Frame::End => return Ok(code),
                    other if code.is_some() => bail!("{other:?} behind the close frame"),
                    _ => {}
                }
            }
        })
        .await
        .context("the connection does not end")?
    }

    /// Reads and drops whatever comes until the connection ends.
    ///
    /// # Errors
    /// It does not end.
    pub async fn drained(&mut self) -> Result<()> {
        timeout(PATIENCE, async {
            while self.fill().await {
                self.received.clear();
            }
        })
        .await
        .context("the connection does not end")
    }

    /// Reads more; false at the end of the connection.
    async fn fill(&mut self) -> bool {
        self.received.reserve(16 * 1024);
        matches!(self.stream.read_buf(&mut self.received).await, Ok(1..))
    }

    /// A whole frame of what was received. The server neither masks nor fragments.
    fn parse(&mut self) -> Result<Option<Frame>> {
        let bytes = &self.received;
        let (Some(first), Some(second)) = (bytes.first().copied(), bytes.get(1).copied()) else { return Ok(None) };
        ensure!(first & 0xf0 == 0x80, "fragment or reserved bit: {first:#x}");
        let (head, length) = match second {
            126 => match bytes.get(2..4) {
                Some(long) => (4, long.iter().fold(0, |all, byte| all << 8 | usize::from(*byte))),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(long) => (10, long.iter().fold(0, |all, byte| all << 8 | usize::from(*byte))),
                None => return Ok(None),
            },
            short => (2, usize::from(short)),
        };
        ensure!(second & 0x80 == 0, "the server masked a frame");
        if bytes.len() < head + length {
            self.received.reserve(head + length - self.received.len());
            return Ok(None);
        }
        self.received.advance(head);
        let mut payload = self.received.split_to(length).freeze();
        Ok(Some(match first & 0x0f {
            1 => Frame::Text(payload),
            2 => Frame::Binary(payload),
            8 if payload.is_empty() => Frame::Close(1005, String::new()),
            8 => {
                ensure!(payload.len() >= 2, "close frame of one byte");
                let code = payload.get_u16();
                Frame::Close(code, String::from_utf8(payload.to_vec())?)
            }
            9 => Frame::Ping(payload),
            10 => Frame::Pong(payload),
            other => bail!("opcode {other}"),
        }))
    }
}
