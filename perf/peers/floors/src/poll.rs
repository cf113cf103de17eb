//! The epoll floor: level-triggered, one read and one write a connection and turn.

use std::io::{ErrorKind, Read as _, Result, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;

use rustix::event::epoll;
use rustix::fd::OwnedFd;

use crate::faults::Faults;
use crate::relay::Relay;

/// Connections served by one wait.
const EVENTS_MAX: usize = 1_024;
const READ_BYTES: usize = 64 * 1024;
/// Names the listener among connections.
const LISTENER: u64 = u64::MAX;

struct Sockets {
    epoll: OwnedFd,
    /// By descriptor, which is the relay's number of a connection too.
    streams: Vec<Option<TcpStream>>,
    relay: Relay,
}

/// Relays until the kernel refuses, with faults where they are wanted.
///
/// # Errors
/// The kernel refuses.
pub fn run(listener: &TcpListener, faults: Faults) -> Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
    let mut sockets = Sockets { epoll, streams: Vec::new(), relay: Relay::with(faults) };
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; READ_BYTES];
    let mut dirty = Vec::new();
    loop {
        events.clear();
        match epoll::wait(&sockets.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let (number, flags) = (event.data.u64(), event.flags);
            if number == LISTENER {
                sockets.accept(listener)?;
                continue;
            }
            let at = number as usize;
            if flags.contains(epoll::EventFlags::OUT) {
                sockets.write(at, true);
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                sockets.read(at, &mut buffer);
            }
        }
        // Before what came is answered: whoever sent it waits for as long as a stall is.
        sockets.relay.faults.turn_over();
        sockets.relay.take_dirty(&mut dirty);
        for at in &dirty {
            sockets.write(*at, false);
        }
    }
}

impl Sockets {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    let at = stream.as_raw_fd() as usize;
                    epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN)?;
                    if self.streams.len() <= at {
                        self.streams.resize_with(at + 1, || None);
                    }
                    if let Some(place) = self.streams.get_mut(at) {
                        *place = Some(stream);
                    }
                    self.relay.enter(at);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn read(&mut self, at: usize, buffer: &mut [u8]) {
        let Some(stream) = self.streams.get_mut(at).and_then(Option::as_mut) else { return };
        let goes_on = match stream.read(buffer) {
            Ok(0) => false,
            Ok(count) => buffer.get_mut(..count).is_some_and(|bytes| self.relay.input(at, bytes)),
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        };
        if !goes_on {
            self.end(at);
        }
    }

    /// Writes what the kernel takes; the rest waits until it takes more.
    fn write(&mut self, at: usize, was_blocked: bool) {
        let Some(stream) = self.streams.get_mut(at).and_then(Option::as_mut) else { return };
        let (goes_on, is_blocked) = match self.relay.output(at) {
            Ok(Some(out)) => match stream.write(out) {
                Ok(count) if count == out.len() => {
                    out.clear();
                    (true, false)
                }
                Ok(count) => {
                    out.drain(..count);
                    (true, true)
                }
                Err(error) => (matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted), true),
            },
            Ok(None) => (true, false),
            Err(_) => (false, false),
        };
        if goes_on && is_blocked != was_blocked {
            let flags = if is_blocked { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(at as u64);
            // Fails only for a descriptor that is not there, which the next read will tell.
            let _ = epoll::modify(&self.epoll, stream, data, epoll::EventFlags::IN | flags);
        }
        if !goes_on {
            self.end(at);
        }
    }

    fn end(&mut self, at: usize) {
        self.relay.leave(at);
        // Closing takes it out of the epoll too.
        if let Some(stream) = self.streams.get_mut(at) {
            *stream = None;
        }
    }
}
