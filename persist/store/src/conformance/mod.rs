//! What every adapter of a port must do, as functions that panic where it does not.
//!
//! Each takes fresh, empty adapters; an adapter's own tests call them, so that the embedded and the
//! production adapters are held to the same words.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a suite of assertions: a panic is its only answer"
)]

pub mod archive;
pub mod directory;
pub mod epochs;
pub mod event_log;
pub mod holes;
pub mod leases;
pub mod records;
pub mod routes;
pub mod shared_state;

use std::sync::Arc;

use ringway_engine::event::MessageEvent;
use ringway_engine::ids::{ConversationId, DeviceId, Uid};

use crate::ports::NumberedMessage;

/// A user id.
#[must_use]
pub fn uid(text: &str) -> Uid {
    Uid::parse(text).unwrap()
}

/// A device id.
#[must_use]
pub fn device(text: &str) -> DeviceId {
    DeviceId::parse(text).unwrap()
}

/// A conversation id.
#[must_use]
pub fn conv(text: &str) -> ConversationId {
    ConversationId::parse(text).unwrap()
}

/// A message event; its body names it.
#[must_use]
pub fn message(conv: &str, from: &str, client_msg_id: &str, msg_id: u64, ts_ms: u64) -> Arc<MessageEvent> {
    Arc::new(MessageEvent {
        conv: conv.into(),
        msg_id,
        from: from.into(),
        client_msg_id: client_msg_id.into(),
        kind: "text".into(),
        body: format!("message {msg_id}"),
        enc: "".into(),
        ts_ms,
    })
}

/// A message with a number.
#[must_use]
pub fn numbered(event: &Arc<MessageEvent>, seq: u64) -> NumberedMessage {
    NumberedMessage { event: Arc::clone(event), epoch: 1, seq }
}

fn seqs(items: &[Arc<ringway_engine::packet::schema::Message>]) -> Vec<u64> {
    items.iter().map(|item| item.seq).collect()
}
