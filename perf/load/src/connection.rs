//! One WebSocket connection of the generator: a non-blocking socket, what is left of its input, what waits to go out.
//!
//! ```text
//!  Upgrading --101--> Authenticating --connected--> Ready
//!      \__________________ end, error, close _________/----> Closed
//! ```

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Context as _;
use ringway_engine::packet::Format;
use ringway_engine::packet::schema::{Command, Connect};
use socket2::{Domain, Socket, Type};

use crate::people::{DEVICE, Person};
use crate::wire::{self, Packet, Unreadable, frames};

/// Connections from one source address; a server bounds them, and so do ports.
pub(crate) const PER_ADDRESS: usize = 10_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a connection goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Host and port.
    pub(crate) host: String,
    /// Path.
    pub(crate) path: String,
    /// The same, resolved.
    pub(crate) address: SocketAddr,
    /// Wire format.
    pub(crate) format: Format,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The upgrade was asked for.
    Upgrading,
    /// `connect` was sent.
    Authenticating,
    /// Packets go both ways.
    Ready,
    /// It is over.
    Closed,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    pub(crate) phase: Phase,
    /// Frames to be written, whole ones appended.
    pub(crate) out: Vec<u8>,
    /// Bytes of `out` that are written.
    written: usize,
    /// The start of something whose end has not come.
    partial: Vec<u8>,
    /// The kernel took no more: wait until it does.
    pub(crate) blocked: bool,
    /// In the list of those to flush.
    pub(crate) dirty: bool,
    /// Sent when the upgrade is granted.
    connect: Vec<u8>,
}

impl Connection {
    /// Connects and asks for the upgrade. `index` chooses the source address on loopback.
    ///
    /// # Errors
    /// The socket cannot be had or connected.
    pub(crate) fn open(target: &Target, index: usize, person: &Person) -> anyhow::Result<Self> {
        let socket = Socket::new(Domain::for_address(target.address), Type::STREAM, None).context("no socket")?;
        if target.address.is_ipv4() && target.address.ip().is_loopback() {
            // 127.0.1.1, 127.0.2.1, …: every one of them is this machine.
            let block = u8::try_from(index / PER_ADDRESS + 1).context("too many source addresses")?;
            socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, block, 1), 0)).into()).context("source address")?;
        }
        let address = target.address;
        socket
            .connect_timeout(&address.into(), CONNECT_TIMEOUT)
            .with_context(|| format!("cannot connect to {address}"))?;
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: cmluZ3dheS1sb2FkLWtleQ==\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            target.path,
            target.host,
            target.format.subprotocol(),
        );
        let connect = Connect {
            token: person.token.clone(),
            device: DEVICE.into(),
            platform: "load".into(),
            ..Connect::default()
        };
        let mut first = Vec::new();
        let command = Command { id: 1, connect: Some(connect), ..Command::default() };
        wire::append_command(target.format, &command, &mut first);
        Ok(Self {
            stream: socket.into(),
            phase: Phase::Upgrading,
            out: request.into_bytes(),
            written: 0,
            partial: Vec::new(),
            blocked: false,
            dirty: false,
            connect: first,
        })
    }

    /// Writes what waits, as far as the kernel takes it.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn flush(&mut self) -> std::io::Result<()> {
        self.blocked = false;
        while let Some(rest) = self.out.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        if self.phase == Phase::Ready && self.out.capacity() > 64 * 1024 {
            self.out = Vec::new();
        }
        Ok(())
    }

    /// Reads once; `None` when there was nothing, 0 at the end.
    ///
    /// # Errors
    /// The connection broke.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Option<usize>> {
        match self.stream.read(buffer) {
            Ok(count) => Ok(Some(count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes in what was read and calls `on` for every packet.
    ///
    /// # Errors
    /// Why the connection ends: refused, closed, or not the protocol.
    pub(crate) fn take_in(
        &mut self,
        format: Format,
        input: &[u8],
        on: &mut dyn FnMut(&Packet<'_>, &mut Vec<u8>),
    ) -> Result<(), String> {
        if self.partial.is_empty() {
            let rest = self.take_bytes(format, input, on)?;
            self.partial.extend_from_slice(rest);
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(input);
            let kept = self.take_bytes(format, &whole, on)?.len();
            whole.drain(..whole.len() - kept);
            self.partial = if whole.is_empty() { Vec::new() } else { whole };
        }
        Ok(())
    }

    fn take_bytes<'a>(
        &mut self,
        format: Format,
        mut input: &'a [u8],
        on: &mut dyn FnMut(&Packet<'_>, &mut Vec<u8>),
    ) -> Result<&'a [u8], String> {
        if self.phase == Phase::Upgrading {
            let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(input) };
            let (head, rest) = input.split_at_checked(end + 4).unwrap_or((input, b""));
            if !head.starts_with(b"HTTP/1.1 101 ") {
                let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                return Err(format!("upgrade refused: {}", String::from_utf8_lossy(line)));
            }
            self.phase = Phase::Authenticating;
            self.out.append(&mut std::mem::take(&mut self.connect));
            input = rest;
        }
        while let Some((frame, rest)) =
            frames::next(input).map_err(|Unreadable| "a frame no server sends".to_owned())?
        {
            self.take_frame(format, &frame, on)?;
            input = rest;
        }
        Ok(input)
    }

    fn take_frame(
        &mut self,
        format: Format,
        frame: &frames::Frame<'_>,
        on: &mut dyn FnMut(&Packet<'_>, &mut Vec<u8>),
    ) -> Result<(), String> {
        match frame.opcode {
            frames::PING => frames::append(&mut self.out, frames::PONG, frame.payload),
            frames::PONG => {}
            frames::CLOSE => {
                let (code, reason) = frame.payload.split_first_chunk::<2>().unwrap_or((&[0; 2], b""));
                let code = u16::from_be_bytes(*code);
                return Err(format!("closed by the server: {code} {}", String::from_utf8_lossy(reason)));
            }
            opcode if opcode == frames::data_opcode(format) => {
                let (phase, out) = (&mut self.phase, &mut self.out);
                let read = wire::read(format, frame.payload, &mut |packet| {
                    if matches!(packet, Packet::Connected) {
                        *phase = Phase::Ready;
                    }
                    on(packet, out);
                });
                return read.map_err(|Unreadable| "a packet that cannot be read".to_owned());
            }
            opcode => return Err(format!("a frame of opcode {opcode}")),
        }
        Ok(())
    }
}
