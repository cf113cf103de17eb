//! One TCP connection on a shard: readiness and non-blocking reads in, whole sends out.
//!
//! Belongs to the shard's thread. A connection's reader and writer tasks share one `Socket` (it is all
//! `&self`), in an `Rc` or inside the connection's own state. The kernel holds a sent buffer until the
//! send completes; a dropped send is cancelled and its buffer kept until then, but how much of it went
//! out is unknown: after dropping a send only [`Socket::shutdown`] makes sense.
//!
//! Invariants: bytes are only read by [`Socket::try_read`], never by an operation in flight, so no bytes
//! can get lost in a dropped future; at most one send is in flight, so the bytes of two never mix.
//! Dropping the last reference closes the connection, after operations in flight have ended.

use std::cell::{Cell, UnsafeCell};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use bytes::{Buf, Bytes};
use monoio::buf::IoBuf;
use monoio::io::AsyncWriteRent;
use monoio::net::TcpStream;
use rustix::net::{RecvFlags, Shutdown};

/// A connected TCP socket of this shard.
pub struct Socket {
    stream: UnsafeCell<TcpStream>,
    sending: Cell<bool>,
}

impl Socket {
    /// Takes over a connected, *blocking* socket: on a non-blocking one the ring would not wait for
    /// room in a send. Must be called on a shard.
    pub(crate) fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let stream = TcpStream::from_std(std::net::TcpStream::from(fd))?;
        Ok(Self { stream: UnsafeCell::new(stream), sending: Cell::new(false) })
    }

    /// Takes over a connected socket of the standard library. Must be called on a shard.
    ///
    /// # Errors
    ///
    /// When the socket is not connected any more.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<Self> {
        stream.peer_addr()?;
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Self::from_fd(stream.into())
    }

    /// Connects to an address; for clients and load generators. Dropping it abandons the attempt.
    ///
    /// # Errors
    ///
    /// What connecting gave.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: UnsafeCell::new(stream), sending: Cell::new(false) })
    }

    /// Returns when a read would give bytes, the end or an error. May be dropped at any time.
    ///
    /// # Errors
    ///
    /// When the ring refuses to poll the socket.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream().readable(true).await
    }

    /// Reads what is there, without waiting: `None` when nothing is, `Some(0)` at the end (or for an
    /// empty buffer).
    ///
    /// # Errors
    ///
    /// What the connection died of, for example a reset.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match rustix::net::recv(self.borrow_fd(), &mut *buffer, RecvFlags::DONTWAIT) {
                Ok((_, read)) => return Ok(Some(read)),
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends all of `data`. One send at a time: a second one while it is in flight is refused, and so
    /// is every further one after a send was dropped half-way.
    ///
    /// Against a peer that does not read it does not end before [`Socket::shutdown`].
    ///
    /// # Errors
    ///
    /// `BrokenPipe` or `ConnectionReset` when the connection is gone, `ResourceBusy` for a second send.
    pub async fn send(&self, mut data: Bytes) -> io::Result<()> {
        self.begin_send()?;
        let mut result = Ok(());
        while result.is_ok() && !data.is_empty() {
            let (sent, rest) = self.write(data).await;
            data = rest;
            result = progress(sent, data.len()).map(|count| data.advance(count));
        }
        self.sending.set(false);
        result
    }

    /// Sends all of `data` like [`Socket::send`], and gives the buffer back to be filled again.
    pub async fn send_vec(&self, mut data: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        let mut result = self.begin_send();
        if result.is_err() {
            return (result, data);
        }
        let mut done = 0;
        while result.is_ok() && done < data.len() {
            let (sent, rest) = self.write(data.slice(done..)).await;
            data = rest.into_inner();
            result = progress(sent, data.len() - done).map(|count| done += count);
        }
        self.sending.set(false);
        (result, data)
    }

    /// Ends both directions: pending and later reads see the end, a send in flight fails. What the
    /// kernel has accepted is still delivered if the peer reads it. Harmless on a dead connection.
    pub fn shutdown(&self) {
        // The one failure is a connection that is not there any more.
        let _ = rustix::net::shutdown(self.borrow_fd(), Shutdown::Both);
    }

    /// Ends our direction only: the peer sees the end after the last byte, and can still send.
    pub fn shutdown_write(&self) {
        let _ = rustix::net::shutdown(self.borrow_fd(), Shutdown::Write);
    }

    /// The peer's address, as the kernel knows it. One system call, the first time.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream().peer_addr()
    }

    /// The socket's descriptor, for logs and for socket options.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.stream().as_raw_fd()
    }

    /// Bytes that the kernel has taken but the peer has not acknowledged (`SIOCOUTQ`). One system call.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        let mut count: libc::c_int = 0;
        // SAFETY: the descriptor is open while `self` lives, and TIOCOUTQ (the same number as SIOCOUTQ)
        // writes one int, to which the pointer leads.
        let result = unsafe { libc::ioctl(self.fd(), libc::TIOCOUTQ, &raw mut count) };
        if result == 0 { usize::try_from(count).unwrap_or(0) } else { 0 }
    }

    fn stream(&self) -> &TcpStream {
        // SAFETY: the only `&mut` to the stream is made in `write`, lives for a call that runs no code
        // of ours, and the type is not `Sync`; so no `&mut` is in use while this reference is.
        unsafe { &*self.stream.get() }
    }

    fn write<B: IoBuf>(&self, data: B) -> impl Future<Output = (io::Result<usize>, B)> {
        // SAFETY: monoio's `write` wants `&mut`, but only clones the stream's shared descriptor and
        // queues the operation before it returns; no other code of this thread runs meanwhile. A future
        // of `readable` that still holds a `&TcpStream` read through it on its first poll and does so
        // no more. monoio splits its own streams in this very way.
        unsafe { &mut *self.stream.get() }.write(data)
    }

    fn borrow_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream, which owns the descriptor, lives as long as the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.fd()) }
    }

    fn begin_send(&self) -> io::Result<()> {
        if self.sending.replace(true) {
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, "a send is in flight on this socket"));
        }
        Ok(())
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Socket").field("fd", &self.fd()).field("peer", &self.peer()).finish()
    }
}

/// Bytes that one write took, never more than were offered; an error for none.
fn progress(sent: io::Result<usize>, offered: usize) -> io::Result<usize> {
    match sent {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        Ok(sent) => Ok(sent.min(offered)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(error) => Err(error),
    }
}
