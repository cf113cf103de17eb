//! Where an application keeps messages between runs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use ringway_engine::packet::schema::{Message, ResumePoint};

use crate::limits::KEPT_MESSAGES_MAX;

/// What a store knows of one conversation when the client starts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    /// Conversation id.
    pub conv: String,
    /// Everything up to here has been kept.
    pub point: (u64, u64),
    /// The newest messages kept, rising: (sequence, epoch, message id). They let the client drop what a
    /// new epoch sends a second time; [`REMEMBERED_MAX`](crate::limits::REMEMBERED_MAX) of them are enough.
    pub newest: Vec<(u64, u64, u64)>,
}

/// Keeps messages for the application. Called on the client's task: a slow store slows the client.
pub trait MessageStore: Send + 'static {
    /// What is known from earlier runs.
    fn load(&mut self) -> Vec<Saved>;

    /// A message, each one once, in the order of its conversation. It is acknowledged to the server
    /// after this returns.
    fn keep(&mut self, message: &Arc<Message>);

    /// Everything of `conv` up to `point` has been kept. May also move down, when a new epoch
    /// renumbers what was above.
    fn moved(&mut self, conv: &str, point: ResumePoint);
}

/// The default: a bounded number of messages of each conversation in memory. Points stay when
/// messages go. Clones share one content, so a second client can resume where a first one ended.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<HashMap<String, Kept>>>,
}

#[derive(Debug, Default)]
struct Kept {
    point: (u64, u64),
    messages: VecDeque<Arc<Message>>,
}

impl MemoryStore {
    /// The messages kept of a conversation, rising.
    #[must_use]
    pub fn messages(&self, conv: &str) -> Vec<Arc<Message>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.get(conv).map(|kept| kept.messages.iter().cloned().collect()).unwrap_or_default()
    }

    /// The highest (epoch, sequence) up to which a conversation is complete.
    #[must_use]
    pub fn point(&self, conv: &str) -> Option<(u64, u64)> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.get(conv).map(|kept| kept.point)
    }
}

impl MessageStore for MemoryStore {
    fn load(&mut self) -> Vec<Saved> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let saved = |(conv, kept): (&String, &Kept)| Saved {
            conv: conv.clone(),
            point: kept.point,
            newest: kept.messages.iter().map(|message| (message.seq, message.epoch, message.msg_id)).collect(),
        };
        inner.iter().filter(|(_, kept)| kept.point.1 > 0).map(saved).collect()
    }

    fn keep(&mut self, message: &Arc<Message>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = inner.entry(message.conv.clone()).or_default();
        kept.messages.push_back(Arc::clone(message));
        if kept.messages.len() > KEPT_MESSAGES_MAX {
            kept.messages.pop_front();
        }
    }

    fn moved(&mut self, conv: &str, point: ResumePoint) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.entry(conv.to_owned()).or_default().point = point.into();
    }
}
