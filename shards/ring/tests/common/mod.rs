//! What the tests of this crate share: a shard that runs one future, and plain sockets of the
//! standard library as peers.
#![allow(dead_code, reason = "each test file uses its part")]

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use ringway_ring::listener::{Listener, bind};
use ringway_ring::runtime::{self, ShardHandle, ShardThread, spawn, spawn_local, timeout};
use ringway_ring::socket::{Chunk, Handler, HandlerId, Socket};

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

/// What a handler was told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Received(u64, Vec<u8>),
    End(u64),
    Sent(u64),
}

/// A handler that keeps what it is told, for a task to read.
#[derive(Default)]
pub(crate) struct Events {
    told: RefCell<VecDeque<Event>>,
    waker: RefCell<Option<Waker>>,
}

impl Events {
    /// Registered on this shard.
    pub(crate) fn new() -> (Rc<Self>, HandlerId) {
        let events = Rc::new(Self::default());
        let handler = runtime::add_handler(events.clone());
        (events, handler)
    }

    fn tell(&self, event: Event) {
        self.told.borrow_mut().push_back(event);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) async fn next(&self) -> Event {
        let next = poll_fn(|context| match self.told.borrow_mut().pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                *self.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        });
        timeout(PATIENCE.as_millis() as u64, next).await.expect("nothing was told")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.borrow().is_empty()
    }

    /// All bytes until the end of the one connection.
    pub(crate) async fn bytes(&self) -> Vec<u8> {
        let mut received = Vec::new();
        loop {
            match self.next().await {
                Event::Received(_, bytes) => received.extend(bytes),
                Event::End(_) => return received,
                Event::Sent(_) => {}
            }
        }
    }
}

impl Handler for Events {
    fn handle_received(&self, token: u64, bytes: &mut [u8]) {
        self.tell(Event::Received(token, bytes.to_vec()));
    }

    fn handle_end(&self, token: u64) {
        self.tell(Event::End(token));
    }

    fn handle_sent(&self, token: u64) {
        self.tell(Event::Sent(token));
    }
}

/// The next connection, attached with token 0.
pub(crate) async fn accept_one(listener: &Listener, handler: HandlerId) -> Socket {
    listener.accept().await.unwrap().attach(handler, 0).unwrap()
}

/// A shard that waits for one connection and runs `main` with it, and where it listens.
pub(crate) fn serve_one<F, Fut, T>(main: F) -> (ShardHandle<T>, SocketAddr)
where
    F: FnOnce(Rc<Events>, Socket) -> Fut + Send + 'static,
    Fut: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let (listener, address) = listen();
    let server = shard(0, move || async move {
        let (events, handler) = Events::new();
        let socket = accept_one(&Listener::new(listener).unwrap(), handler).await;
        main(events, socket).await
    });
    (server, address)
}

/// Sends back all that comes on the next connection, until its end.
pub(crate) async fn echo_one(listener: TcpListener) {
    let (events, handler) = Events::new();
    let socket = accept_one(&Listener::new(listener).unwrap(), handler).await;
    while let Event::Received(_, bytes) = events.next().await {
        send(&socket, bytes).await;
    }
}

/// Sends once the last send is out.
pub(crate) async fn send(socket: &Socket, bytes: Vec<u8>) {
    while socket.is_sending() {
        runtime::turn().await;
    }
    socket.send(Chunk::Owned(bytes)).unwrap();
}

/// Sends back all that comes, on every connection, until its end.
#[derive(Clone, Default)]
struct Echo {
    connections: Rc<RefCell<Connections>>,
}

/// Each with what is to be sent.
type Connections = HashMap<u64, (Socket, Vec<u8>)>;

impl Echo {
    fn flush(&self, token: u64) {
        let mut connections = self.connections.borrow_mut();
        let Some((socket, out)) = connections.get_mut(&token) else { return };
        if out.is_empty() || socket.is_blocked() {
            return;
        }
        if !socket.is_sending() {
            socket.send(Chunk::Owned(std::mem::take(out))).unwrap();
            return;
        }
        let echo = self.clone();
        spawn_local(async move {
            runtime::turn().await;
            echo.flush(token);
        });
    }
}

impl Handler for Echo {
    fn handle_received(&self, token: u64, bytes: &mut [u8]) {
        if let Some((_, out)) = self.connections.borrow_mut().get_mut(&token) {
            out.extend_from_slice(bytes);
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

/// Accepts for ever, echoing on each connection; `on_accept` hears of each.
pub(crate) async fn serve_echo(listener: TcpListener, on_accept: impl Fn() + 'static) {
    let listener = Listener::new(listener).unwrap();
    let echo = Echo::default();
    let handler = runtime::add_handler(Rc::new(echo.clone()));
    for token in 0.. {
        let socket = listener.accept().await.unwrap().attach(handler, token).unwrap();
        echo.connections.borrow_mut().insert(token, (socket, Vec::new()));
        on_accept();
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

/// CPU time of this process in all its threads.
pub(crate) fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime writes the timespec to which the pointer leads.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
