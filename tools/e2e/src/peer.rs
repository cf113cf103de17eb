//! A device that speaks protocol v1 by hand: one connection, no reconnect, nothing repeated, nothing dropped.
//!
//! Packets come in the order of the wire. What a wait passes over is kept for later waits, so a test may
//! ask for replies and pushes in any order; [`Peer::next`] gives the oldest that nobody took.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use ringway_engine::packet::schema::{
    Command, Connect, Connected, ErrorReply, Message, Messages, ResumePoint, Send, Sent, ServerPacket, Sync, Target,
};
use ringway_engine::packet::{self, Format};
use ringway_engine::websocket::Opcode;
use tokio::time::timeout;

use crate::wire::{Frame, PATIENCE, Wire};

/// The connection ended while something was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The close code, if a close frame came.
    pub code: Option<u16>,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection ended with {:?}", self.code)
    }
}

impl std::error::Error for Ended {}

/// What `connect` says.
#[derive(Debug, Clone)]
pub struct Login {
    /// Access token.
    pub token: String,
    /// Device.
    pub device: String,
    /// Resume points.
    pub resume: BTreeMap<String, ResumePoint>,
    /// Wire format.
    pub format: Format,
}

impl Login {
    /// A JSON device without resume points.
    #[must_use]
    pub fn new(token: &str, device: &str) -> Self {
        Self { token: token.into(), device: device.into(), resume: BTreeMap::new(), format: Format::Json }
    }

    /// The same in protobuf.
    #[must_use]
    pub fn protobuf(self) -> Self {
        Self { format: Format::Protobuf, ..self }
    }

    /// The same with a resume point.
    #[must_use]
    pub fn at(mut self, conv: &str, epoch: u64, seq: u64) -> Self {
        self.resume.insert(conv.to_owned(), ResumePoint { epoch, seq });
        self
    }
}

/// A connection; see the module's head.
#[derive(Debug)]
pub struct Peer {
    wire: Wire,
    format: Format,
    last_id: u64,
    waiting: VecDeque<ServerPacket>,
    ended: Option<Ended>,
}

impl Peer {
    /// Upgrades and says nothing more.
    ///
    /// # Errors
    /// Refused.
    pub async fn open(address: SocketAddr, format: Format) -> Result<Self> {
        Self::over(Wire::open(address).await?, address, format).await
    }

    /// Upgrades on a connection that is there.
    ///
    /// # Errors
    /// Refused.
    pub async fn over(mut wire: Wire, address: SocketAddr, format: Format) -> Result<Self> {
        wire.upgrade(address, format.subprotocol()).await?;
        Ok(Self { wire, format, last_id: 0, waiting: VecDeque::new(), ended: None })
    }

    /// Upgrades and connects.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub async fn connect(address: SocketAddr, login: &Login) -> Result<(Self, Connected)> {
        let mut peer = Self::open(address, login.format).await?;
        let connected = peer.log_in(login).await?;
        Ok((peer, connected))
    }

    /// Sends `connect` and waits for its answer.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub async fn log_in(&mut self, login: &Login) -> Result<Connected> {
        let connect = Connect {
            token: login.token.clone(),
            device: login.device.clone(),
            platform: "desktop".into(),
            resume: login.resume.clone(),
        };
        let id = self.command(Command { connect: Some(connect), ..Command::default() }).await?;
        let packet = self.reply(id).await?;
        match packet.error {
            // Not its turn yet: as good as no connection.
            Some(error) if error.temporary => Err(Ended { code: None }.into()),
            error => packet.connected.with_context(|| format!("connect answered by {error:?}")),
        }
    }

    /// Sends a command under the next id, which it returns.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn command(&mut self, command: Command) -> Result<u64> {
        self.last_id += 1;
        let id = self.last_id;
        self.commands(&[Command { id, ..command }]).await?;
        Ok(id)
    }

    /// Sends commands as they are in one WebSocket message.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn commands(&mut self, commands: &[Command]) -> Result<()> {
        let mut payload = Vec::new();
        for (n, command) in commands.iter().enumerate() {
            if n > 0 && self.format == Format::Json {
                payload.push(b'\n');
            }
            packet::encode_command(self.format, command, &mut payload);
        }
        self.wire.send(self.opcode(), &payload).await
    }

    /// Sends text as one WebSocket message.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn text(&mut self, text: &str) -> Result<()> {
        self.wire.send(Opcode::Text, text.as_bytes()).await
    }

    /// The connection itself, for bytes that are no commands.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// The oldest packet that nobody took.
    ///
    /// # Errors
    /// [`Ended`], or none came in time.
    pub async fn next(&mut self) -> Result<ServerPacket> {
        self.next_within(PATIENCE).await
    }

    /// The same with another bound.
    ///
    /// # Errors
    /// As [`Peer::next`].
    pub async fn next_within(&mut self, limit: Duration) -> Result<ServerPacket> {
        timeout(limit, async {
            loop {
                if let Some(packet) = self.waiting.pop_front() {
                    return Ok(packet);
                }
                self.take_frame().await?;
            }
        })
        .await
        .context("no packet in time")?
    }

    /// The first packet, of those that wait and those to come, of which `pick` makes something.
    ///
    /// # Errors
    /// [`Ended`], or none came in time.
    pub async fn wait<T>(&mut self, mut pick: impl FnMut(&ServerPacket) -> Option<T>) -> Result<T> {
        let mut looked = 0;
        timeout(PATIENCE, async {
            loop {
                while let Some(packet) = self.waiting.get(looked) {
                    if let Some(found) = pick(packet) {
                        self.waiting.remove(looked);
                        return Ok(found);
                    }
                    looked += 1;
                }
                self.take_frame().await?;
            }
        })
        .await
        .context("what was waited for did not come in time")?
    }

    /// The answer to a command.
    ///
    /// # Errors
    /// As [`Peer::wait`].
    pub async fn reply(&mut self, id: u64) -> Result<ServerPacket> {
        self.wait(|packet| (packet.id == id).then(|| packet.clone())).await
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// As [`Peer::wait`].
    pub async fn ask(&mut self, command: Command) -> Result<ServerPacket> {
        let id = self.command(command).await?;
        self.reply(id).await
    }

    /// Sends a command that is to be refused; why it was.
    ///
    /// # Errors
    /// It was not.
    pub async fn refused(&mut self, command: Command) -> Result<ErrorReply> {
        let packet = self.ask(command).await?;
        packet.error.clone().ok_or_else(|| anyhow!("not refused: {packet:?}"))
    }

    /// Sends a text message and waits for its number.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub async fn say(&mut self, to: &Target, client_msg_id: &str, body: &str) -> Result<Sent> {
        let packet = self.ask(send(to, client_msg_id, body)).await?;
        packet.sent.with_context(|| format!("send answered by {:?}", packet.error))
    }

    /// The next live message.
    ///
    /// # Errors
    /// As [`Peer::wait`].
    pub async fn message(&mut self) -> Result<Message> {
        self.wait(|packet| packet.message.clone()).await
    }

    /// A conversation's messages above `after`, page by page until its head.
    ///
    /// # Errors
    /// Refused, or a page that leads nowhere.
    pub async fn read_all(&mut self, conv: &str, after: u64) -> Result<Vec<Message>> {
        let mut items: Vec<Message> = Vec::new();
        loop {
            let after_seq = items.last().map_or(after, |last| last.seq);
            let page = self.page(conv, after_seq).await?;
            let came = page.items.len();
            items.extend(page.items);
            if !page.more {
                return Ok(items);
            }
            if came == 0 {
                // A hole that is still being filled; the page says to come again.
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn page(&mut self, conv: &str, after_seq: u64) -> Result<Messages> {
        let sync = Sync { conv: conv.to_owned(), after_seq, ..Sync::default() };
        let packet = self.ask(Command { sync: Some(sync), ..Command::default() }).await?;
        packet.messages.with_context(|| format!("sync answered by {:?}", packet.error))
    }

    /// Waits for the end of the connection; its close code.
    ///
    /// # Errors
    /// It does not end.
    pub async fn ended(&mut self) -> Result<Option<u16>> {
        timeout(PATIENCE, async {
            loop {
                if let Some(ended) = &self.ended {
                    return Ok(ended.code);
                }
                match self.take_frame().await {
                    Ok(()) => {}
                    Err(error) if error.is::<Ended>() => {}
                    Err(error) => return Err(error),
                }
            }
        })
        .await
        .context("the connection does not end")?
    }

    /// Packets that came and that nobody took, without waiting for more.
    pub fn untaken(&self) -> impl Iterator<Item = &ServerPacket> {
        self.waiting.iter()
    }

    async fn take_frame(&mut self) -> Result<()> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone().into());
        }
        let payload = match self.wire.frame().await? {
            Frame::Text(payload) if self.format == Format::Json => payload,
            Frame::Binary(payload) if self.format == Format::Protobuf => payload,
            Frame::Ping(payload) => return self.wire.send(Opcode::Pong, &payload).await,
            Frame::Pong(_) => return Ok(()),
            Frame::Close(code, _) => return Err(self.end(Some(code))),
            Frame::End => return Err(self.end(None)),
            other => bail!("a frame of the other kind: {other:?}"),
        };
        packet::decode_server(self.format, &payload, &mut |packet| self.waiting.push_back(packet))?;
        Ok(())
    }

    fn end(&mut self, code: Option<u16>) -> anyhow::Error {
        let ended = Ended { code };
        self.ended = Some(ended.clone());
        ended.into()
    }

    fn opcode(&self) -> Opcode {
        match self.format {
            Format::Json => Opcode::Text,
            Format::Protobuf => Opcode::Binary,
        }
    }
}

/// A `send` of text.
#[must_use]
pub fn send(to: &Target, client_msg_id: &str, body: &str) -> Command {
    let send = Send {
        to: Some(to.clone()),
        client_msg_id: client_msg_id.to_owned(),
        body: body.to_owned(),
        ..Send::default()
    };
    Command { send: Some(send), ..Command::default() }
}

/// A user as a target.
#[must_use]
pub fn user(uid: &str) -> Target {
    Target { user: uid.to_owned(), group: String::new() }
}

/// A group as a target, by its id or its conversation.
#[must_use]
pub fn group(id: &str) -> Target {
    Target { user: String::new(), group: id.strip_prefix("group:").unwrap_or(id).to_owned() }
}
