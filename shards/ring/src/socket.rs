//! One TCP connection on a shard.
//!
//! Belongs to the shard's thread and to whoever holds it; what comes in goes to the [`Handler`] that it was attached
//! to. At most one buffer is on its way out, so the bytes of two never mix. Dropping it shuts the connection down and
//! closes it; what the kernel has accepted is still delivered if the peer reads it.

use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bytes::Bytes;
use rustix::net::SendFlags;

use crate::local::Local;
pub use crate::sockets::{Handler, HandlerId};

/// What a send carries.
#[derive(Debug)]
pub enum Chunk {
    /// A buffer that is perhaps shared with other connections.
    Shared(Bytes),
    /// A buffer of its own; it comes back through [`spare`].
    Owned(Vec<u8>),
}

impl Chunk {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Shared(bytes) => bytes,
            Self::Owned(buffer) => buffer,
        }
    }
}

/// A connection that was accepted, or made elsewhere, and is not attached yet. Dropping it closes it.
#[derive(Debug)]
pub struct Accepted {
    descriptor: OwnedFd,
    peer: SocketAddr,
}

impl Accepted {
    pub(crate) fn new(descriptor: OwnedFd, peer: SocketAddr) -> Self {
        Self { descriptor, peer }
    }

    /// The peer's address, as the kernel knows it.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Sends what the kernel takes at once, then ends the connection: a refusal that nobody may be reading.
    pub fn refuse(self, answer: &[u8]) {
        // There is nobody to tell that a refusal was not taken.
        let _ = rustix::net::send(&self.descriptor, answer, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
        let _ = rustix::net::shutdown(&self.descriptor, rustix::net::Shutdown::Write);
    }

    /// Takes it to this shard: from now on the handler is called with the token.
    ///
    /// # Errors
    ///
    /// The shard's table is full, or the kernel refuses.
    ///
    /// # Panics
    ///
    /// Outside a shard.
    pub fn attach(self, handler: HandlerId, token: u64) -> io::Result<Socket> {
        let slot = Local::on_sockets(|sockets, driver| sockets.attach(driver, self.descriptor, handler, token))?;
        Ok(Socket { slot, of_thread: PhantomData })
    }
}

impl AsFd for Accepted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A connected TCP socket of this shard.
#[derive(Debug)]
pub struct Socket {
    slot: u32,
    /// It belongs to the shard's thread.
    of_thread: PhantomData<*const ()>,
}

impl Socket {
    /// Hands a buffer over. It goes out with everything else of this turn, as a whole or, if the peer does not read,
    /// bit by bit; [`Handler::handle_sent`] tells of the latter. The error is the buffer, when the last one
    /// [is not out yet](Self::is_sending).
    ///
    /// # Errors
    ///
    /// The buffer, unsent.
    pub fn send(&self, chunk: Chunk) -> Result<(), Chunk> {
        Local::on_sockets(|sockets, driver| sockets.send(driver, self.slot, chunk))
    }

    /// Whether a buffer is on its way: until the end of the turn, or until there was room for all of it.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        Local::on_sockets(|sockets, _| sockets.is_sending(self.slot))
    }

    /// Whether a buffer waits for room.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        Local::on_sockets(|sockets, _| sockets.is_blocked(self.slot))
    }

    /// Receives nothing until `resume`: the peer must wait once the kernel's buffers are full. What came in before the
    /// kernel knows, a few buffers, is still told.
    pub fn pause(&self) {
        Local::on_sockets(|sockets, driver| sockets.pause(driver, self.slot));
    }

    /// Receives again.
    pub fn resume(&self) {
        Local::on_sockets(|sockets, driver| sockets.resume(driver, self.slot));
    }

    /// Ends both directions: the end is told, a send that waits fails. What the kernel has accepted is still delivered
    /// if the peer reads it. Harmless on a dead connection.
    pub fn shutdown(&self) {
        Local::on_sockets(|sockets, driver| sockets.shutdown(driver, self.slot, libc::SHUT_RDWR));
    }

    /// Ends our direction only: the peer sees the end after the last byte, and can still send. Not while a send waits
    /// for room: that would cut it off.
    pub fn shutdown_write(&self) {
        Local::on_sockets(|sockets, driver| sockets.shutdown(driver, self.slot, libc::SHUT_WR));
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A shard that is gone, after a panic, has leaked its ring.
        if Local::is_here() {
            Local::on_sockets(|sockets, driver| sockets.close(driver, self.slot));
        }
    }
}

/// An empty buffer to gather a send in, with the room of an earlier one if there is one.
///
/// # Panics
///
/// Outside a shard.
#[must_use]
pub fn spare() -> Vec<u8> {
    Local::on_sockets(|sockets, _| sockets.spare())
}
