//! The I/O layer of a shard: io_uring runtime, sockets, mailboxes, TLS.
//!
//! Owns everything that touches the kernel on a shard's thread, and every line of `unsafe` in the
//! project. It knows nothing of packets, sessions or conversations: bytes go in and out.
//!
//! Where to enter: [`runtime::spawn`] starts a shard's thread, [`mailbox::mesh`] joins the threads,
//! [`listener::Listener`] takes connections, [`socket::Socket`] carries their bytes.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod listener;
pub mod mailbox;
pub mod policy;
pub mod proxy;
pub mod runtime;
pub mod socket;
pub mod tls;

mod buffers;
mod driver;
mod executor;
mod local;
mod sockets;
mod support;
mod timers;
