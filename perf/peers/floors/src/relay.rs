//! The relay itself, without sockets: bytes in, bytes out.
//!
//! The protocol: a client's first frame says `pair:NAME` or `room:NAME` and is answered by `ok`; every later frame goes
//! as it is to the partner, or to all others of the room. A ping is answered.
//!
//! ```text
//!  Upgrading --request--> Unnamed --pair:NAME, room:NAME--> Placed
//!      \______________________ end of the connection ______/--> Absent
//! ```
//!
//! Call [`Relay::enter`], then [`Relay::input`] for what comes, [`Relay::take_dirty`] once a turn and
//! [`Relay::output`] for each of those, [`Relay::leave`] at the end.

use crate::faults::Faults;
use crate::frames::{self, Frame};
use crate::handshake;
use crate::rooms::{Place, Rooms};

/// What waits for a client that does not read; past it the client is closed.
const OUT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// An output buffer larger than this is given back once it is empty.
const OUT_BYTES_KEPT: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No such connection.
    Absent,
    /// The request has not come whole.
    Upgrading,
    /// The first frame has not come.
    Unnamed,
    /// Frames go on; the number is the partner's of a pair, once there is one.
    Placed(Place, Option<usize>),
}

#[derive(Debug)]
struct Client {
    state: State,
    /// The start of a frame whose end has not come.
    partial: Vec<u8>,
    out: Vec<u8>,
    dirty: bool,
}

/// All connections; see the module's head.
#[derive(Debug)]
pub struct Relay {
    clients: Vec<Client>,
    rooms: Rooms<usize>,
    dirty: Vec<usize>,
    /// A frame for a room, made once.
    frame: Vec<u8>,
    /// What is done wrong on purpose.
    pub(crate) faults: Faults,
}

impl Default for Relay {
    fn default() -> Self {
        Self::with(Faults::default())
    }
}

impl Relay {
    /// Without connections yet, and with faults.
    pub fn with(faults: Faults) -> Self {
        Self { clients: Vec::new(), rooms: Rooms::new(), dirty: Vec::new(), frame: Vec::new(), faults }
    }

    /// A connection is there; its number may have been another's before.
    pub fn enter(&mut self, at: usize) {
        while self.clients.len() <= at {
            self.clients.push(Client { state: State::Absent, partial: Vec::new(), out: Vec::new(), dirty: false });
        }
        if let Some(client) = self.clients.get_mut(at) {
            client.state = State::Upgrading;
            client.partial = Vec::new();
            client.out = Vec::new();
        }
    }

    /// A connection is over.
    pub fn leave(&mut self, at: usize) {
        let Some(client) = self.clients.get_mut(at) else { return };
        if let State::Placed(place, partner) = std::mem::replace(&mut client.state, State::Absent) {
            self.rooms.leave(place, &at);
            if let Some(State::Placed(_, partner)) =
                partner.and_then(|partner| self.clients.get_mut(partner)).map(|partner| &mut partner.state)
            {
                *partner = None;
            }
        }
    }

    /// Takes in what came; `false`: the connection is to be closed.
    pub fn input(&mut self, at: usize, bytes: &mut [u8]) -> bool {
        let Some(client) = self.clients.get_mut(at) else { return false };
        if client.partial.is_empty() {
            let (taken, is_fine) = self.walk(at, bytes);
            if let (Some(rest), Some(client)) = (bytes.get(taken..), self.clients.get_mut(at)) {
                client.partial.extend_from_slice(rest);
            }
            return is_fine;
        }
        let mut whole = std::mem::take(&mut client.partial);
        whole.extend_from_slice(bytes);
        let (taken, is_fine) = self.walk(at, &mut whole);
        whole.drain(..taken.min(whole.len()));
        if let Some(client) = self.clients.get_mut(at).filter(|_| !whole.is_empty()) {
            client.partial = whole;
        }
        is_fine
    }

    /// Takes whole requests and frames; answers how many bytes, and whether the connection goes on.
    fn walk(&mut self, at: usize, bytes: &mut [u8]) -> (usize, bool) {
        let whole = bytes.len();
        let mut rest = bytes;
        if self.state(at) == State::Upgrading {
            let Some((length, response)) = handshake::answer(rest) else { return (0, true) };
            self.append(at, |out| out.extend_from_slice(&response));
            if let Some(client) = self.clients.get_mut(at) {
                client.state = State::Unnamed;
            }
            rest = rest.get_mut(length..).unwrap_or_default();
        }
        loop {
            let left = rest.len();
            let Some((frame, after)) = frames::next(rest) else { return (whole - left, true) };
            if !self.frame(at, &frame) {
                return (whole, false);
            }
            rest = after;
        }
    }

    fn state(&self, at: usize) -> State {
        self.clients.get(at).map_or(State::Absent, |client| client.state)
    }

    fn frame(&mut self, at: usize, frame: &Frame<'_>) -> bool {
        match (frame.opcode(), self.state(at)) {
            (frames::CLOSE, _) | (_, State::Absent | State::Upgrading) => return false,
            (frames::PING, _) => self.append(at, |out| frames::append(out, frames::PONG_HEAD, frame.payload)),
            (frames::PONG, _) => {}
            (_, State::Unnamed) => return self.place(at, frame.payload),
            (_, State::Placed(_, Some(partner))) => {
                if !self.faults.drops() {
                    self.append(partner, |out| frames::append(out, frame.head, frame.payload));
                }
            }
            (_, State::Placed(Place::Pair(_), None)) => {}
            (_, State::Placed(room, None)) => self.tell(room, at, frame),
        }
        true
    }

    fn place(&mut self, at: usize, says: &[u8]) -> bool {
        let Some(place) = self.rooms.join(says, at) else { return false };
        let mut partner = None;
        if let Place::Pair(_) = place {
            partner = self.rooms.members(place).iter().copied().find(|other| *other != at);
        }
        for (one, other) in [(Some(at), partner), (partner, Some(at))] {
            if let Some(client) = one.and_then(|one| self.clients.get_mut(one)) {
                client.state = State::Placed(place, other);
            }
        }
        self.append(at, |out| frames::append(out, frames::TEXT_HEAD, b"ok"));
        true
    }

    fn tell(&mut self, room: Place, from: usize, frame: &Frame<'_>) {
        self.frame.clear();
        frames::append(&mut self.frame, frame.head, frame.payload);
        for at in self.rooms.members(room).iter().copied().filter(|at| *at != from) {
            if let Some(client) = self.clients.get_mut(at).filter(|_| !self.faults.drops()) {
                client.out.extend_from_slice(&self.frame);
                if !client.dirty {
                    client.dirty = true;
                    self.dirty.push(at);
                }
            }
        }
    }

    fn append(&mut self, at: usize, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(client) = self.clients.get_mut(at) {
            write(&mut client.out);
            if !client.dirty {
                client.dirty = true;
                self.dirty.push(at);
            }
        }
    }

    /// Swaps in the connections that have something to write; `into` is emptied first.
    pub fn take_dirty(&mut self, into: &mut Vec<usize>) {
        into.clear();
        std::mem::swap(&mut self.dirty, into);
        for at in into {
            if let Some(client) = self.clients.get_mut(*at) {
                client.dirty = false;
            }
        }
    }

    /// What a connection has to write; `None` when that is nothing.
    ///
    /// # Errors
    /// So much that the connection is to be closed.
    pub fn output(&mut self, at: usize) -> Result<Option<&mut Vec<u8>>, TooMuch> {
        let Some(client) = self.clients.get_mut(at).filter(|client| client.state != State::Absent) else {
            return Ok(None);
        };
        match client.out.len() {
            0 => {
                if client.out.capacity() > OUT_BYTES_KEPT {
                    client.out = Vec::new();
                }
                Ok(None)
            }
            length if length > OUT_BYTES_MAX => Err(TooMuch),
            _ => Ok(Some(&mut client.out)),
        }
    }
}

/// The client does not read what it is sent.
#[derive(Debug, Clone, Copy)]
pub struct TooMuch;

#[cfg(test)]
mod tests {
    use super::*;

    fn client_frame(text: &str) -> Vec<u8> {
        let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        frame
    }

    fn server_frame(text: &str) -> Vec<u8> {
        let mut frame = vec![0x81, text.len() as u8];
        frame.extend_from_slice(text.as_bytes());
        frame
    }

    /// Two pairs' halves and three of a room, all placed, their outputs empty.
    fn relay() -> Relay {
        let mut relay = Relay::default();
        for (at, says) in ["pair:a", "pair:b", "pair:a", "room:a", "room:a", "room:a"].into_iter().enumerate() {
            relay.enter(at);
            assert!(relay.input(at, &mut b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n".to_vec()));
            assert!(relay.input(at, &mut client_frame(says)));
            let out = relay.output(at).unwrap().unwrap();
            assert!(out.starts_with(b"HTTP/1.1 101 ") && out.ends_with(b"ok"));
            out.clear();
        }
        relay.take_dirty(&mut Vec::new());
        relay
    }

    fn check(relay: &mut Relay, from: usize, expected: &[usize]) {
        let mut dirty = Vec::new();
        relay.take_dirty(&mut dirty);
        dirty.sort_unstable();
        assert_eq!(dirty, expected, "from {from}");
        for at in dirty {
            let out = relay.output(at).unwrap().unwrap();
            assert_eq!(*out, server_frame("hello"));
            out.clear();
        }
    }

    #[test]
    fn frames_go_to_the_partner_or_to_all_others_of_the_room() {
        let mut relay = relay();
        for (from, to) in [(0, vec![2]), (2, vec![0]), (1, vec![]), (4, vec![3, 5])] {
            assert!(relay.input(from, &mut client_frame("hello")));
            check(&mut relay, from, &to);
        }
    }

    #[test]
    fn a_frame_in_pieces_is_one_frame() {
        let mut relay = relay();
        for byte in client_frame("hello") {
            assert!(relay.input(0, &mut [byte]));
        }
        check(&mut relay, 0, &[2]);
    }

    #[test]
    fn whoever_left_is_sent_nothing_and_a_close_ends() {
        let mut relay = relay();
        relay.leave(2);
        relay.leave(5);
        for (from, to) in [(0, vec![]), (3, vec![4])] {
            assert!(relay.input(from, &mut client_frame("hello")));
            check(&mut relay, from, &to);
        }
        assert!(!relay.input(0, &mut [0x88, 0x80, 0, 0, 0, 0]));
        relay.enter(2);
        assert!(relay.input(2, &mut b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n".to_vec()));
        assert!(!relay.input(2, &mut client_frame("neither")));
    }
}
