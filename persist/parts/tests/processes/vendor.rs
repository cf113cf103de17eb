//! A push vendor: takes every notice and hands it to the test, head and body. Its threads end with their sockets, the
//! listening one when the vendor is dropped.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::Value;

use crate::program::LIMIT;

/// A request that was answered with "taken".
pub(crate) struct Notice {
    /// Request line and headers.
    pub(crate) head: String,
    pub(crate) body: Value,
}

pub(crate) struct Vendor {
    address: SocketAddr,
    notices: Receiver<Notice>,
    over: Arc<AtomicBool>,
}

impl Vendor {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ((seen, notices), over) = (channel(), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&over);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::Acquire) {
                    return;
                }
                let seen = seen.clone();
                std::thread::spawn(move || serve(socket, &seen));
            }
        });
        Self { address, notices, over }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/notices", self.address)
    }

    /// Waits for the next notice.
    pub(crate) fn next(&self) -> Notice {
        self.notices.recv_timeout(LIMIT).unwrap()
    }

    /// Users whose notices nobody has waited for.
    pub(crate) fn rest(&self) -> Vec<Value> {
        self.notices.try_iter().map(|notice| notice.body["uid"].clone()).collect()
    }
}

impl Drop for Vendor {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // Wakes the thread that listens; it may be gone.
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers one connection's requests until it ends, or the test does.
fn serve(socket: TcpStream, seen: &Sender<Notice>) -> Option<()> {
    let mut lines = BufReader::new(socket.try_clone().ok()?);
    let mut socket = socket;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            lines.read_line(&mut line).ok().filter(|count| *count > 0)?;
            if line.trim_end().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        lines.read_exact(&mut body).ok()?;
        seen.send(Notice { head, body: serde_json::from_slice(&body).ok()? }).ok()?;
        socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}
