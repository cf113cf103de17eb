//! The Rust SDK: reconnects, resumes, repeats what was not answered, and shows every message once and
//! in order.
//!
//! [`Client::connect`] gives a handle and a stream of [`Event`]s. What can be wrong is decided in pure
//! modules ([`store`], [`outbox`], [`backoff`], [`body`] and the core that ties them together); one task
//! moves bytes. [`http`] speaks to the HTTP API: accounts, tokens, groups, history.
//! `examples/hello.rs` is a whole program in twenty lines.

pub mod backoff;
pub mod body;
pub mod http;
pub mod limits;
pub mod outbox;
pub mod store;

mod acks;
mod client;
mod core;
mod error;
mod event;
mod link;
mod message_id;
mod options;
mod tls;
mod token;

pub use acks::AckMode;
pub use client::{Client, Draft, Events, PendingSend, group, target_of, user};
pub use error::{OptionsError, RequestError};
pub use event::{Event, State};
pub use message_id::new_client_msg_id;
pub use options::Options;
pub use ringway_engine::packet::Format;
pub use ringway_engine::packet::schema;
pub use store::{MemoryStore, MessageStore, Saved};
pub use token::{TokenError, TokenSource};
