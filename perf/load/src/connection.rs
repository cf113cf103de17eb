//! One WebSocket connection of the generator: what is left of its input, what waits to go out. Its socket is the ring's.
//!
//! ```text
//!  Upgrading --101--> Authenticating --connected--> Ready
//!      \__________________ end, error, close _________/----> Closed
//! ```

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::Context as _;
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::people::Person;
use crate::protocol::{OnPacket, Protocol, Session};
use crate::wire::{Packet, Unreadable, frames};

/// Connections from one source address; a server bounds them, and so do ports.
pub(crate) const PER_ADDRESS: usize = 10_000;
/// Source addresses that are tried for one connection.
const SOURCES_MAX: u8 = 8;
/// Receive buffer of a narrow connection, in bytes.
const NARROW_BYTES: usize = 16 * 1024;
/// Segments that it takes, in bytes: with those of loopback the server's kernel alone would buffer megabytes.
const NARROW_SEGMENT_BYTES: u32 = 1_400;

/// Where a connection goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Host and port.
    pub(crate) host: String,
    /// Path, without its first slash; empty: the protocol's own.
    pub(crate) path: String,
    /// The same, resolved.
    pub(crate) address: SocketAddr,
    /// What is spoken there.
    pub(crate) protocol: &'static dyn Protocol,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The upgrade was asked for.
    Upgrading,
    /// Signing in.
    Authenticating,
    /// Packets go both ways.
    Ready,
    /// It is over.
    Closed,
}

/// Begins to connect from 127.0.1.1, 127.0.2.1, …, every one of which is this machine. Where runs of a moment ago still
/// hold all ports of one to this server, from 127.0.1.2 and so on.
fn connect(target: &Target, index: usize, person: &Person) -> anyhow::Result<Socket> {
    let address = target.address;
    let block = u8::try_from(index / PER_ADDRESS + 1).context("too many source addresses")?;
    let mut host = 1;
    loop {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).context("no socket")?;
        if address.is_ipv4() && address.ip().is_loopback() {
            ringway_perf_ring::choose_port_late(&socket).context("source address")?;
            let source = SocketAddr::from((Ipv4Addr::new(127, 0, block, host), 0));
            socket.bind(&source.into()).context("source address")?;
        }
        if person.narrow {
            socket.set_recv_buffer_size(NARROW_BYTES)?;
            socket.set_tcp_mss(NARROW_SEGMENT_BYTES)?;
        }
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable && host < SOURCES_MAX => host += 1,
            // The ring's first send waits until it is.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INPROGRESS) => return Ok(socket),
            connected => return connected.map(|()| socket).with_context(|| format!("cannot connect to {address}")),
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Its place in the ring.
    pub(crate) place: usize,
    pub(crate) phase: Phase,
    /// Frames to be written, whole ones appended.
    pub(crate) out: Vec<u8>,
    /// The start of something whose end has not come.
    partial: Vec<u8>,
    /// In the list of those to flush.
    pub(crate) dirty: bool,
    protocol: &'static dyn Protocol,
    session: Session,
}

impl Connection {
    /// Begins to connect and to ask for the upgrade; never waits. `index` chooses the source address on loopback. The
    /// socket goes to the ring, which says the place.
    ///
    /// # Errors
    /// The socket cannot be had, or is refused at once.
    pub(crate) fn open(target: &Target, index: usize, person: &Person) -> anyhow::Result<(Self, OwnedFd)> {
        let socket = connect(target, index, person)?;
        // The ring waits itself, where it has to.
        socket.set_nonblocking(false)?;
        let (path, subprotocol) = target.protocol.upgrade(&target.path, person);
        let subprotocol = subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /{path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: cmluZ3dheS1sb2FkLWtleQ==\r\n{subprotocol}\r\n",
            target.host,
        );
        let connection = Self {
            place: usize::MAX,
            phase: Phase::Upgrading,
            out: request.into_bytes(),
            partial: Vec::new(),
            dirty: false,
            protocol: target.protocol,
            session: Session::new(person.clone()),
        };
        Ok((connection, socket.into()))
    }

    /// Takes in what was read and calls `on` for every packet.
    ///
    /// # Errors
    /// Why the connection ends: refused, closed, or not the protocol.
    pub(crate) fn take_in(&mut self, input: &[u8], on: &mut OnPacket<'_>) -> Result<(), String> {
        if self.partial.is_empty() {
            let rest = self.take_bytes(input, on)?;
            self.partial.extend_from_slice(rest);
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(input);
            let kept = self.take_bytes(&whole, on)?.len();
            whole.drain(..whole.len() - kept);
            self.partial = if whole.is_empty() { Vec::new() } else { whole };
        }
        Ok(())
    }

    fn take_bytes<'a>(&mut self, mut input: &'a [u8], on: &mut OnPacket<'_>) -> Result<&'a [u8], String> {
        if self.phase == Phase::Upgrading {
            let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(input) };
            let (head, rest) = input.split_at_checked(end + 4).unwrap_or((input, b""));
            if !head.starts_with(b"HTTP/1.1 101 ") {
                let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
                return Err(format!("upgrade refused: {}", String::from_utf8_lossy(line)));
            }
            let is_ready = self.protocol.begin(&mut self.session, &mut self.out);
            self.phase = if is_ready { Phase::Ready } else { Phase::Authenticating };
            input = rest;
        }
        while let Some((frame, rest)) =
            frames::next(input).map_err(|Unreadable| "a frame no server sends".to_owned())?
        {
            self.take_frame(&frame, on)?;
            input = rest;
        }
        Ok(input)
    }

    fn take_frame(&mut self, frame: &frames::Frame<'_>, on: &mut OnPacket<'_>) -> Result<(), String> {
        match frame.opcode {
            frames::PING => frames::append(&mut self.out, frames::PONG, frame.payload),
            frames::PONG => on(&Packet::Pong, &mut self.out),
            frames::CLOSE => {
                let (code, reason) = frame.payload.split_first_chunk::<2>().unwrap_or((&[0; 2], b""));
                let code = u16::from_be_bytes(*code);
                return Err(format!("closed by the server: {code} {}", String::from_utf8_lossy(reason)));
            }
            frames::TEXT | frames::BINARY => {
                let phase = &mut self.phase;
                let on = &mut |packet: &Packet<'_>, out: &mut Vec<u8>| {
                    if matches!(packet, Packet::Connected) {
                        *phase = Phase::Ready;
                    }
                    on(packet, out);
                };
                return self.protocol.take(&mut self.session, frame.payload, &mut self.out, on);
            }
            opcode => return Err(format!("a frame of opcode {opcode}")),
        }
        Ok(())
    }
}
