//! What the tests of this crate share: a shard that runs one future, and plain sockets of the
//! standard library as peers.
#![allow(dead_code, reason = "each test file uses its part")]

use std::future::Future;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ringway_ring::listener::{Listener, bind};
use ringway_ring::runtime::{ShardHandle, ShardThread, spawn, spawn_local};
use ringway_ring::socket::Socket;

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn shard<F, Fut, T>(index: usize, main: F) -> ShardHandle<T>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    spawn(ShardThread { index, core: None, entries: 4_096 }, main).unwrap()
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = bind(loopback(), false, 1_024).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

pub(crate) fn connect(address: SocketAddr) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends back all that comes, until the end.
pub(crate) async fn echo(socket: Socket) {
    let mut buffer = vec![0; 16 * 1024];
    while socket.readable().await.is_ok() {
        match socket.try_read(&mut buffer) {
            Ok(None) => {}
            Ok(Some(0)) | Err(_) => return,
            Ok(Some(read)) => {
                if socket.send(Bytes::copy_from_slice(&buffer[..read])).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Accepts for ever, echoing on each connection; `on_accept` hears of each.
pub(crate) async fn serve_echo(listener: TcpListener, on_accept: impl Fn() + 'static) {
    let listener = Listener::new(listener).unwrap();
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        on_accept();
        spawn_local(echo(socket));
    }
}

/// Reads to the end (or to a reset) and gives how much came.
pub(crate) fn read_to_end(mut stream: std::net::TcpStream) -> usize {
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return total,
            Ok(read) => total += read,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return total,
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn shared(socket: Socket) -> Rc<Socket> {
    Rc::new(socket)
}

/// CPU time of this process in all its threads.
pub(crate) fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes the timespec to which the pointer leads.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
