//! Why the adapter does not start, and why a single request failed.

use thiserror::Error;

/// Why a log or its queues cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RocketError {
    /// A setting makes no sense.
    #[error("rocketmq: {0}")]
    Config(String),
    /// The topic has another number of queues than is configured. Keys would move to other queues.
    #[error(
        "rocketmq: topic {topic} has {found} queues and {expected} are configured: a conversation's queue depends on \
         the count, so the two must agree"
    )]
    Queues {
        /// The topic.
        topic: String,
        /// As configured.
        expected: usize,
        /// As the name server says.
        found: usize,
    },
    /// A broker's access control turns our requests away: signed with a wrong key, not signed, or without the right.
    #[error("rocketmq: {broker} refuses {who}: {why}")]
    Refused {
        /// The broker's name.
        broker: String,
        /// Which requests: those of an access key, or those without a signature.
        who: String,
        /// What the broker says.
        why: String,
    },
    /// Name servers or brokers do not answer, or do not know the topic: the same call may succeed later.
    #[error("rocketmq is unavailable: {0}")]
    Unavailable(String),
    /// The client's own threads cannot be started.
    #[error("rocketmq: the client does not start: {0}")]
    Client(String),
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct NoAnswer(pub(crate) String);
