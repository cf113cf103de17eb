//! What the relays of this crate share.
//!
//! Four programs speak one protocol over WebSocket, the trivial one of [`relay`]: two floors, which do nothing that
//! the kernel does not force on them ([`ring`] for io_uring, [`poll`] for epoll), and two built as an application on
//! a library would be. Single thread, no checks, nothing stored, nothing acknowledged.

pub mod faults;
pub mod frames;
pub mod guests;
pub mod handshake;
pub mod listen;
pub mod poll;
pub mod relay;
pub mod ring;
pub mod rooms;
