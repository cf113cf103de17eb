//! The floors as programs, where sockets matter: frames larger than any buffer, readers that do not read, clients that
//! leave.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Nothing takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A floor on a free port; killed when dropped.
struct Floor {
    process: Child,
    address: String,
}

impl Floor {
    fn start(program: &str) -> Self {
        let mut process = Command::new(program).arg("0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let address = ready["ready"]["ws"].as_str().unwrap().trim_start_matches("ws://").trim_end_matches('/');
        Self { process, address: address.to_owned() }
    }

    /// A client that is where it says.
    fn client(&self, says: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: x\r\n\r\n").unwrap();
        send(&mut stream, says.as_bytes());
        let mut answer = Vec::new();
        while !answer.ends_with(b"\x81\x02ok") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        stream
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn send(stream: &mut TcpStream, payload: &[u8]) {
    let mut frame = Vec::new();
    ringway_floors::frames::append(&mut frame, 0x81, payload);
    let head = frame.len() - payload.len();
    frame[1] |= 0x80;
    frame.splice(head..head, [0; 4]);
    stream.write_all(&frame).unwrap();
}

fn receive(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let mut length = [0; 8];
    let bytes = match head[1] {
        126 => 2,
        127 => 8,
        short => {
            length[7] = short;
            0
        }
    };
    stream.read_exact(&mut length[8 - bytes..]).unwrap();
    let mut payload = vec![0; u64::from_be_bytes(length) as usize];
    stream.read_exact(&mut payload).unwrap();
    payload
}

fn check(program: &str) {
    let floor = Floor::start(program);
    // Larger than a buffer, a read and what a socket holds; nobody reads while it is sent.
    let (mut one, mut other) = (floor.client("pair:a"), floor.client("pair:a"));
    let letters: Vec<Vec<u8>> =
        [1, 70_000, 5_000_000, 2_047, 5_000_000, 3].map(|length| (0..length).map(|at| at as u8).collect()).into();
    let sender = {
        let letters = letters.clone();
        std::thread::spawn(move || {
            letters.iter().for_each(|letter| send(&mut one, letter));
            one
        })
    };
    let mut one = sender.join().unwrap();
    for letter in &letters {
        assert!(receive(&mut other) == *letter, "{program}: a letter of {} bytes", letter.len());
    }
    send(&mut other, b"back");
    assert_eq!(receive(&mut one), b"back", "{program}");

    // Whoever leaves is forgotten, and their place may be another's.
    let mut members: Vec<TcpStream> = (0..20).map(|_| floor.client("room:a")).collect();
    members.truncate(10);
    drop(other);
    let (mut two, mut late) = (floor.client("pair:b"), floor.client("pair:b"));
    send(&mut members[0], b"to all");
    for member in &mut members[1..] {
        assert_eq!(receive(member), b"to all", "{program}");
    }
    send(&mut two, b"new");
    assert_eq!(receive(&mut late), b"new", "{program}");
}

#[test]
fn the_epoll_floor_carries_large_frames_to_slow_readers_and_forgets_who_left() {
    check(env!("CARGO_BIN_EXE_floor_epoll"));
}

#[test]
fn the_io_uring_floor_carries_large_frames_to_slow_readers_and_forgets_who_left() {
    check(env!("CARGO_BIN_EXE_floor_uring"));
}
