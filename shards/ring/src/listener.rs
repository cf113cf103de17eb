//! Listening sockets, one for each shard on the same address; the kernel spreads the connections.
//!
//! [`bind`] runs anywhere (a process binds all before it starts a shard, so that a taken port is told at
//! the start); a [`Listener`] belongs to its shard. It waits for readiness and accepts without blocking,
//! so a dropped [`Listener::accept`] loses no connection and leaks no descriptor, unlike an accept that
//! is in flight in the ring. Dropping the listener closes it; the kernel resets what waited in its backlog.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, Type};

use crate::local::Local;
use crate::runtime;
use crate::socket::Accepted;

/// Connections accepted in a row before the rest of the shard has its turn.
const BURST_MAX: u32 = 64;
/// Pause when no descriptor or memory is left for a connection; it waits in the backlog meanwhile.
const EXHAUSTED_PAUSE_MS: u64 = 50;

/// Binds a listening socket; `reuse_port` lets the other shards bind the same address.
///
/// # Errors
///
/// What the kernel said, for example `AddrInUse`.
pub fn bind(address: SocketAddr, reuse_port: bool, backlog: i32) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    // Accepted sockets inherit this one, which saves a system call for each; not so `nonblocking`.
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

/// Binds one listening socket for each of `count` shards to the same address; with port 0 the first
/// one's port is taken for all.
///
/// # Errors
///
/// What the kernel said to the first one that failed.
pub fn bind_all(mut address: SocketAddr, count: usize, backlog: i32) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let listener = bind(address, true, backlog)?;
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The listening socket of one shard.
pub struct Listener {
    socket: OwnedFd,
    /// Whose ring polls it, and under which number.
    shard: Rc<Local>,
    poll: usize,
    local: SocketAddr,
    in_a_row: Cell<u32>,
    exhausted: Cell<bool>,
}

impl Listener {
    /// Takes a bound socket to this shard. Must be called on it.
    ///
    /// # Errors
    ///
    /// When it is not a socket that listens.
    ///
    /// # Panics
    ///
    /// Outside a shard.
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        let local = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let shard = Local::of_shard();
        let poll = shard.new_poll();
        Ok(Self { socket: listener.into(), shard, poll, local, in_a_row: Cell::new(0), exhausted: Cell::new(false) })
    }

    /// The address it listens on.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next connection, with Nagle's delay off. May be dropped at any time.
    ///
    /// Running out of descriptors or memory is logged once and waited out; a connection that died in the
    /// backlog is passed over.
    ///
    /// # Errors
    ///
    /// Only what makes the listening socket itself useless: give up and close it.
    pub async fn accept(&self) -> io::Result<Accepted> {
        loop {
            if self.in_a_row.get() >= BURST_MAX {
                self.in_a_row.set(0);
                runtime::turn().await;
            }
            // Blocking: on a non-blocking socket the ring would not wait for room in a send.
            match rustix::net::acceptfrom_with(&self.socket, SocketFlags::CLOEXEC) {
                Ok((fd, peer)) => {
                    self.in_a_row.set(self.in_a_row.get() + 1);
                    if self.exhausted.replace(false) {
                        tracing::info!(listener = %self.local, "connections are accepted again");
                    }
                    let Some(peer) = peer.and_then(|peer| SocketAddr::try_from(peer).ok()) else { continue };
                    return Ok(Accepted::new(fd, peer));
                }
                Err(Errno::AGAIN) => {
                    self.in_a_row.set(0);
                    let descriptor = self.socket.as_raw_fd();
                    std::future::poll_fn(|context| self.shard.poll_readable(self.poll, descriptor, context)).await;
                }
                Err(error) if is_exhausted(error) => {
                    if !self.exhausted.replace(true) {
                        tracing::error!(listener = %self.local, %error, "no connection can be accepted");
                    }
                    runtime::sleep(EXHAUSTED_PAUSE_MS).await;
                }
                Err(error) if is_fatal(error) => return Err(error.into()),
                // accept(2): the rest are the fate of one connection, already out of the backlog.
                Err(_) => self.in_a_row.set(self.in_a_row.get() + 1),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shard.end_poll(self.poll);
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Listener").field("local", &self.local).finish()
    }
}

fn is_exhausted(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

fn is_fatal(error: Errno) -> bool {
    matches!(error, Errno::BADF | Errno::INVAL | Errno::NOTSOCK | Errno::OPNOTSUPP | Errno::FAULT)
}
